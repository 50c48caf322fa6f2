"""Training of audio models: data, objectives, discriminators and the Lightning module."""
