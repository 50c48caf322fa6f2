"""Codes as bytes by arithmetic coding with a prior: as long as the bits that the prior's score promises.

The range coder is constriction's (Bamler 2022, arXiv 2201.01741; the `coding` extra). Both sides go through the prior
code by code and compute each distribution alike: a prior that saw later codes could not decode. Networks compute in
floating point: bytes decode on the machine and software they were made with, and no other is promised.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from audiovq.errors import BadCodesError, ConfigError
from audiovq.prior import Prior
from audiovq.prior.base import Codes, positions


def encode_codes(prior: Prior, codes: Codes, label: str | None = None) -> bytes:
    """Codes `[Q, *space]` of an item as bytes, a multiple of 4. Errors: those of `Prior.bits`."""
    stream = _constriction()
    prior.check(codes)
    encoder = stream.queue.RangeEncoder()
    steps = prior.steps(1, codes.shape[1:], label)
    for position in codes.reshape(len(codes), -1).T:
        for code in position:
            encoder.encode(int(code), _model(stream, steps.log_probabilities()[0]))
            steps.push(np.array([code]))
    return bytes(encoder.get_compressed().astype("<u4").tobytes())


def decode_codes(prior: Prior, data: bytes, space: Sequence[int], label: str | None = None) -> Codes:
    """What `encode_codes` was given, int64 `[Q, *space]`.

    Args:
        prior: the same one.
        data: its bytes. Others give other codes: there is no checksum in them.
        space: (F,) or (H, W).
        label: the same one.

    Raises:
        BadCodesError: bytes that no encoder makes.
    """
    stream = _constriction()
    if len(data) % 4:
        raise BadCodesError(f"{len(data)} bytes of arithmetic-coded codes; they come in fours: the end is missing")
    decoder = stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    steps = prior.steps(1, space, label)
    levels, length = prior.spec.num_quantizers, positions(space)
    codes = np.zeros((levels, length), np.int64)
    for p in range(length):
        for level in range(levels):
            try:
                codes[level, p] = decoder.decode(_model(stream, steps.log_probabilities()[0]))
            except AssertionError:
                raise BadCodesError(
                    "the bytes are damaged, or another prior made them; encode the codes again"
                ) from None
            steps.push(codes[level, p : p + 1])
    return codes.reshape(levels, *space)


def _model(stream: Any, log_p: Any) -> Any:
    """A distribution in the coder's 24-bit arithmetic, where nothing is quite impossible."""
    return stream.model.Categorical(np.exp(log_p), lazy=True)


def _constriction() -> Any:
    try:
        return importlib.import_module("constriction").stream
    except ImportError:
        raise ConfigError("arithmetic coding needs constriction: pip install 'audiovq[coding]'") from None
