"""Fits the integer coders of `audiovq.prior.coder`: floats train them, no float is left in what they read."""
