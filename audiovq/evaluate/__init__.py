"""Evaluation of trained models: likelihood, resynthesis, and codecs compared on the same files, with intervals."""
