"""Learned priors over codes: fit, score, sample. Counts, WaveNet, gated PixelCNN and Transformer share one contract.

A prior is fitted to codes of the *encoder*, that is, to the aggregate posterior (arXiv 1711.00937, section 3.3). The
names below are imported when first used, as the integer coders in `audiovq.prior.coder` run without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOME = {
    "base": ("CodeItem", "Prior", "Stepper"),
    "config": ("COUNTED", "KINDS", "NETWORKS", "CodeSpec", "PriorConfig"),
    "folder": ("check_same_codes", "load_prior"),
    "network": ("NetworkPrior",),
    "ngram": ("NGramPrior",),
    "sampling": ("sample",),
    "score": ("Score", "score_items", "total"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOME.items():
        if name in names:
            value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            globals()[name] = value  # the next use finds it without coming here
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
