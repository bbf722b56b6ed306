"""The compiled part: only fastopt.engines.choice imports it."""
