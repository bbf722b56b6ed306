"""What runs the steps: the engines, in NumPy and compiled, the choice among them, and what compiles formulas."""
