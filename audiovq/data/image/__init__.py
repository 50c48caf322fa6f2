"""Folders, arrays and packs of images, read as tensors of one size."""
