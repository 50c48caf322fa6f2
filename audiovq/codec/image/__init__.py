"""Codes of images: the codec, its files, and images cut into strips."""
