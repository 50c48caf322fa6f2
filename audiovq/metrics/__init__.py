"""Metrics of sound and statistics of scores: waveforms or numbers in, numbers out. No model. Training uses them too."""
