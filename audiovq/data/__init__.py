"""Audio files, Kaldi data directories, corpora and images: everything that becomes training batches.

Import the module you need: `audio`, `files` and `tables`, or one of `kaldi/`, `corpus/` (which stands on kaldi) and
`image/`. Only `corpus.segments` imports torch.
"""
