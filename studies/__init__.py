"""Studies that stand beside the package: run from the root of the repository."""
