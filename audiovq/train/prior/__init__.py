"""Training of priors over codes."""
