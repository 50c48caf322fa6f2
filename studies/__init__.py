"""Studies beside the package. Run them from the root of the repository."""
