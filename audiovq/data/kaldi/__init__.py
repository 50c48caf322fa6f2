"""Kaldi's tables, archives and data directories: read, checked, mended, selected and written."""
