"""Discrete codes of sound with VQ-VAEs (van den Oord, Vinyals and Kavukcuoglu 2017, arXiv 1711.00937).

The names below are imported when first used, so that `import audiovq` and `audiovq --help` don't wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiovq.audio import AudioVQVAE, load_model
    from audiovq.codec import Codec, ImageCodec
    from audiovq.quantize import FSQ, ResidualVQ, VectorQuantizer, VQOutput

__version__ = "0.1.0"

__all__ = [
    "FSQ",
    "AudioVQVAE",
    "Codec",
    "ImageCodec",
    "ResidualVQ",
    "VQOutput",
    "VectorQuantizer",
    "__version__",
    "load_model",
]

_HOME = {
    "AudioVQVAE": "audiovq.audio",
    "Codec": "audiovq.codec",
    "FSQ": "audiovq.quantize",
    "ImageCodec": "audiovq.codec",
    "ResidualVQ": "audiovq.quantize",
    "VQOutput": "audiovq.quantize",
    "VectorQuantizer": "audiovq.quantize",
    "load_model": "audiovq.audio",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
