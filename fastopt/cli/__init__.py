"""The command line, the demo, and the timing that both use."""
