"""Evaluation of trained models: likelihood, and codecs compared on the same files, with intervals."""
