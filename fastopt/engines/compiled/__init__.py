"""The compiled part: only modules of fastopt.engines import it."""
