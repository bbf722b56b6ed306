"""The command line and the demo with its network; timing and plain NumPy, which bench/ uses too."""
