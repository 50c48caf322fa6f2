"""Priors of every kind over the same codes, with controls: `python -m studies.prior_ablation`."""
