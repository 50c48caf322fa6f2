"""Functions that commands share: options, batches of files, progress, messages, Kaldi archives."""
