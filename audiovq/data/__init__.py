"""Data for training and evaluation: audio files, Kaldi data directories, corpora and images.

Import the module you need: `audio` and `files`, or one of the sub-packages `kaldi`, `corpus` and `image`.
"""
