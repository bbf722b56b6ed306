"""Parameters and gradients as arrays: which are accepted, where they lie, and the forms they come in."""
