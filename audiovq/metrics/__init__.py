"""Measures of sound and of scores: waveforms or numbers in, numbers out. No model; training uses them too."""
