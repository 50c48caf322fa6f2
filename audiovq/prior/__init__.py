"""Learned priors over codes: fit, score, sample. Counts, WaveNet, gated PixelCNN and Transformer share one contract.

A prior is fitted to codes of the *encoder*, that is, to the aggregate posterior (arXiv 1711.00937, section 3.3).
"""

from audiovq.prior.base import CodeItem, Prior, Stepper
from audiovq.prior.config import COUNTED, KINDS, NETWORKS, CodeSpec, PriorConfig
from audiovq.prior.folder import check_same_codes, load_prior
from audiovq.prior.network import NetworkPrior
from audiovq.prior.ngram import NGramPrior
from audiovq.prior.sampling import sample
from audiovq.prior.score import Score, score_items, total

__all__ = [
    "COUNTED",
    "KINDS",
    "NETWORKS",
    "CodeItem",
    "CodeSpec",
    "NGramPrior",
    "NetworkPrior",
    "Prior",
    "PriorConfig",
    "Score",
    "Stepper",
    "check_same_codes",
    "load_prior",
    "sample",
    "score_items",
    "total",
]
