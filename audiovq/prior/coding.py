"""Codes as bytes by arithmetic coding with a prior. The length is that of the prior's score in bits.

The range coder is constriction's (Bamler 2022, arXiv 2201.01741; the `coding` extra). Encoder and decoder go through
the prior code by code and compute each distribution alike, which fails for a prior that has seen later codes. Networks
compute in floating point, so bytes decode only on the machine and software they were made with.
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
    return encode_items(prior, [codes], [label])


def decode_codes(prior: Prior, data: bytes, space: Sequence[int], label: str | None = None) -> Codes:
    """What `encode_codes` was given, int64 `[Q, *space]`; see `decode_items`."""
    return decode_items(prior, data, [space], [label])[0]


def encode_items(prior: Prior, items: Sequence[Codes], labels: Sequence[str | None] | None = None) -> bytes:
    """Several items one behind the other: the end of a stream costs a few bytes, which small items would feel.

    Args:
        items: codes `[Q, *space]` of each; labels: of each. Errors: those of `Prior.bits`.
    """
    stream = _constriction()
    encoder = stream.queue.RangeEncoder()
    for codes, label in zip(items, labels or [None] * len(items), strict=True):
        prior.check(codes)
        steps = prior.steps(1, codes.shape[1:], label)
        for position in codes.reshape(len(codes), -1).T:
            for code in position:
                encoder.encode(int(code), _model(stream, steps.log_probabilities()[0]))
                steps.push(np.array([code]))
    return bytes(encoder.get_compressed().astype("<u4").tobytes())


def decode_items(
    prior: Prior, data: bytes, spaces: Sequence[Sequence[int]], labels: Sequence[str | None] | None = None
) -> list[Codes]:
    """What `encode_items` was given, int64 `[Q, *space]` each.

    Args:
        prior: the same one.
        data: its bytes. Others give other codes: there is no checksum in them.
        spaces: (F,) or (H, W) of each item.
        labels: the same ones.

    Raises:
        BadCodesError: bytes that no encoder makes.
    """
    stream = _constriction()
    if len(data) % 4:
        raise BadCodesError(f"{len(data)} bytes of arithmetic-coded codes; they come in fours: the end is missing")
    decoder = stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    found = []
    for space, label in zip(spaces, labels or [None] * len(spaces), strict=True):
        steps = prior.steps(1, space, label)
        codes = np.zeros((prior.spec.num_quantizers, positions(space)), np.int64)
        for place in codes.T:  # a view: what is written to it is written to codes
            for level in range(len(place)):
                try:
                    place[level] = decoder.decode(_model(stream, steps.log_probabilities()[0]))
                except AssertionError:
                    raise BadCodesError(
                        "the bytes are damaged, or another prior made them; encode the codes again"
                    ) from None
                steps.push(place[level : level + 1])
        found.append(codes.reshape(len(codes), *space))
    return found


def _model(stream: Any, log_p: Any) -> Any:
    """A distribution in the coder's 24-bit arithmetic, where nothing is quite impossible."""
    return stream.model.Categorical(np.exp(log_p), lazy=True)


def _constriction() -> Any:
    try:
        return importlib.import_module("constriction").stream
    except ImportError:
        raise ConfigError("arithmetic coding needs constriction: pip install 'audiovq[coding]'") from None
