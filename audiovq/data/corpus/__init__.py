"""Corpora that training reads segments from: packs, and data directories read directly."""
