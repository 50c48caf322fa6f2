"""`audiovq prior ...`."""
