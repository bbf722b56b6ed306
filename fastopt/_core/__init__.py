"""The compiled part: nothing outside fastopt.backend knows what is in it."""
