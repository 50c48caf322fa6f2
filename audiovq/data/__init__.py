"""Audio files, Kaldi data directories and corpora: everything that turns recordings into training batches.

Import the module you need: `audio` and `files`; `kaldi` (with `fix`, `select`, `combine`) and `archives`; `pack`,
`corpus` and `segments`. Only `segments` imports torch.
"""
