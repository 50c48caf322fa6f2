"""Audio files, Kaldi data directories and corpora, and pictures: everything that becomes training batches.

Import the module you need: `audio` and `files`; `kaldi` (with `fix`, `select`, `combine`) and `archives`; `pack`,
`corpus` and `segments`; `images` and what it consists of. Only `segments` imports torch.
"""
