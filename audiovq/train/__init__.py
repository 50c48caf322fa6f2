"""Training on Lightning: configuration, objectives, the module, and the run."""
