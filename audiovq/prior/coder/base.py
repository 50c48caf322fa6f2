"""What both coders share: the order of the codes, the loop of the range decoder, and how given codes are checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream.coder import Coding
from audiovq.errors import BadCodesError
from audiovq.prior.coder.integers import Ints, starts
from audiovq.prior.coder.rangecoder import TOTAL, RangeDecoder, encode_symbols


class IntegerCoder(ABC):
    """A `PacketCoder` whose frequencies are computed in whole numbers: channel after channel, frames, levels inside.

    Attributes:
        coding, fingerprint, codebook_sizes: see `PacketCoder`.
        tensors: the integers that it reads.
    """

    coding: Coding
    fingerprint: bytes
    codebook_sizes: tuple[int, ...]
    tensors: dict[str, NDArray[Any]]

    @abstractmethod
    def parts(self, codes: Ints) -> tuple[Ints, Ints]:
        """Start and frequency of the parts of TOTAL that belong to given codes `[C, Q, F]`, each of that shape."""

    @abstractmethod
    def walk(self, levels: int, frames: int) -> Generator[NDArray[Any], int, None]:
        """Starts `[K + 1]` of the parts of all values of one channel's next code; after each, `send` the code."""

    def encode(self, codes: Ints) -> bytes:
        """See `PacketCoder`; BadCodesError for codes beyond its codebooks or levels."""
        self._check(codes)
        begin, frequency = (part.transpose(0, 2, 1).ravel().tolist() for part in self.parts(codes))
        return encode_symbols(zip(begin, frequency, strict=True))

    def decode(self, data: bytes, channels: int, levels: int, frames: int) -> Ints:
        """See `PacketCoder`."""
        if not 1 <= levels <= len(self.codebook_sizes):
            raise ValueError(f"{levels} levels; the coder knows {len(self.codebook_sizes)}")
        decoder = RangeDecoder(data)
        codes = np.zeros((channels, frames, levels), np.int64)
        for channel in codes.reshape(channels, -1):  # views: what is written to them is written to codes
            steps = self.walk(levels, frames)
            code: int | None = None
            for place in range(len(channel)):
                begin = next(steps) if code is None else steps.send(code)
                code = int(begin.searchsorted(decoder.target(), side="right")) - 1
                start = int(begin[code])
                decoder.take(start, int(begin[code + 1]) - start)
                channel[place] = code
        decoder.finish()
        return codes.transpose(0, 2, 1).copy()

    def bits(self, codes: Ints) -> NDArray[np.float64]:
        """What codes `[C, Q, F]` cost, -log2 of their frequencies, of that shape; errors: those of `encode`."""
        self._check(codes)
        return -np.log2(self.parts(codes)[1] / TOTAL)

    def _check(self, codes: Ints) -> None:
        levels = codes.shape[1] if codes.ndim == 3 else 0
        if codes.dtype.kind not in "iu" or not 1 <= levels <= len(self.codebook_sizes):
            raise BadCodesError(
                f"codes {codes.dtype} of shape {codes.shape}; the coder takes integers [C, Q, F], Q up to"
                f" {len(self.codebook_sizes)}"
            )
        for level, size in enumerate(self.codebook_sizes[:levels]):
            own = codes[:, level]
            if own.size and (own.min() < 0 or own.max() >= size):
                raise BadCodesError(f"level {level} has codes {own.min()} to {own.max()}, its codebook has {size}")


def chosen(frequencies: Ints, codes: Ints) -> tuple[Ints, Ints]:
    """Start and frequency of codes `[...]` among frequencies `[..., K]`."""
    begin = starts(frequencies)
    place = codes[..., None]
    start = np.take_along_axis(begin, place, -1)[..., 0]
    return start, np.take_along_axis(frequencies, place, -1)[..., 0]


def checked_sizes(sizes: Sequence[int], most: int) -> tuple[int, ...]:
    """Codebook sizes that a coder can have; ValueError otherwise."""
    if not 1 <= len(sizes) <= 255 or min(sizes) < 2 or max(sizes) > most:
        raise ValueError(f"codebooks of {list(sizes)}; wanted 1 to 255, each of 2 to {most}")
    return tuple(sizes)
