"""The compiled part: only fastopt.backend imports it."""
