"""What an image model is worth: likelihood, collapse, formats beside it, samples."""
