"""The command line, the demo with its network, and the timing that bench/ uses too."""
