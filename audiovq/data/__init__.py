"""Audio files, Kaldi data directories and packed corpora: everything that turns recordings into training batches.

Import the module you need (`audiovq.data.audio`, `.kaldi`, `.pack`, `.segments`); only `segments` imports torch.
"""
