"""Evaluation of image models: likelihood, collapse, other image formats, samples."""
