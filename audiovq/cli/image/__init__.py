"""`audiovq image ...`."""
