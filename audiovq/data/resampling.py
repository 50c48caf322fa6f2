"""Sound at another rate, whole or as it comes: soxr resamples, and this module makes its lengths exact.

Arrays are `[C, T]`; rates are in Hz.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import soxr
from numpy.typing import NDArray

Waveform = NDArray[np.float32]

_BLOCK_VALUES = 1 << 18  # samples of all channels that are made at once
_MOST_AT_ONCE = 16  # times a rate; for more, soxr holds up to half a MB of each channel
_REACH = 256  # soxr HQ's filters reach about 110 samples of the lower rate to either side; farther ends don't matter


class Resampler:
    """Resamples sound that comes in pieces (soxr HQ, no delay). Joined, its output does not depend on the cuts.

    `n` samples become `ceil(n * rate_out / rate_in)`, the last of them on `flush`.

    Args:
        rate_in, rate_out: in Hz.
        channels: of every piece.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        if rate_in <= 0 or rate_out <= 0:
            raise ValueError(f"rates must be positive, got {rate_in} and {rate_out} Hz")
        self._rate_in, self._rate_out, self._channels = rate_in, rate_out, channels
        self._taken = self._given = 0
        self._stages: list[_Stage] = []
        while rate_out > _MOST_AT_ONCE * rate_in:
            self._stages.append(_Stage(rate_in, _MOST_AT_ONCE * rate_in, channels))
            rate_in *= _MOST_AT_ONCE
        if rate_in != rate_out:
            self._stages.append(_Stage(rate_in, rate_out, channels))

    def push(self, samples: Waveform) -> Waveform:
        """The next samples `[C, n]`; gives what can be made of all so far, `[C, m]`, and was not given yet."""
        return self._joined(self.blocks(samples))

    def flush(self) -> Waveform:
        """The rest, `[C, m]`, as if silence followed. Nothing can be pushed after it."""
        return self._joined(self.last_blocks())

    def blocks(self, samples: Waveform) -> Iterator[Waveform]:
        """What `push` gives, in pieces of some MB: a few samples at 1 Hz are hours at 16 kHz. To be used up."""
        self._taken += samples.shape[1]
        return self._run(self._stages, samples.T, last=False)

    def last_blocks(self) -> Iterator[Waveform]:
        """What `flush` gives, in such pieces."""
        left = -(-self._taken * self._rate_out // self._rate_in) - self._given
        if self._stages:
            # soxr rounds the length; silence at the end makes it at least as long as wanted
            missing, step = 2 + 2 * self._rate_in // self._rate_out, self._stages[0].step
            silence = np.zeros((min(missing, step), self._channels), np.float32)
            for start in range(0, missing, step):
                for block in self._run(self._stages, silence[: missing - start], last=start + step >= missing):
                    wanted = block[:, :left]
                    left -= wanted.shape[1]
                    if wanted.shape[1]:
                        yield wanted
            self._stages = []
        assert not left, f"{left} samples were not made"

    def _run(self, stages: list[_Stage], block: Waveform, last: bool) -> Iterator[Waveform]:
        """`[n, C]` through stages, in blocks `[C, m]`."""
        if not stages:
            self._given += len(block)
            if len(block):
                yield block.T
            return
        stage, *rest = stages
        for start in range(0, max(last, len(block)), stage.step):
            ended = last and start + stage.step >= len(block)
            part = np.ascontiguousarray(block[start : start + stage.step], np.float32)
            yield from self._run(rest, stage.stream.resample_chunk(part, last=ended), ended)

    def _joined(self, blocks: Iterator[Waveform]) -> Waveform:
        return np.concatenate([np.zeros((self._channels, 0), np.float32), *blocks], axis=1)


class _Stage:
    """A change of rate that soxr makes at once, and how many samples it takes for a block."""

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self.stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="HQ")
        self.step = max(1, _BLOCK_VALUES * min(rate_in, rate_out) // (channels * rate_out))


def resample(waveform: Waveform, rate_in: int, rate_out: int) -> Waveform:
    """`[C, T]` at `rate_in` Hz to `[C, ceil(T * rate_out / rate_in)]` at `rate_out` Hz, as `Resampler` does."""
    channels, samples = waveform.shape
    resampler = Resampler(rate_in, rate_out, channels)
    if rate_in == rate_out:
        return waveform
    resampled = np.empty((channels, -(-samples * rate_out // rate_in)), np.float32)
    place = 0
    for block in chain(resampler.blocks(waveform), resampler.last_blocks()):
        resampled[:, place : place + block.shape[1]] = block
        place += block.shape[1]
    return resampled


def resampled_blocks(pieces: Iterable[Waveform], rate_in: int, rate_out: int, channels: int) -> Iterator[Waveform]:
    """`resample` of sound in pieces `[C, n]`, itself in pieces: no more than some MB are held at once."""
    resampler = Resampler(rate_in, rate_out, channels)
    for piece in pieces:
        yield from resampler.blocks(piece)
    yield from resampler.last_blocks()


def resampling_range(start: int, stop: int, rate: int, source_rate: int, num_samples: int) -> tuple[int, int]:
    """The samples at `source_rate` from which `resample` makes samples start .. stop - 1 of `num_samples` at `rate`.

    The first falls on a sample of both rates, so that a part is resampled in step with the whole.
    """
    if rate == source_rate:
        return start, stop
    step = source_rate // math.gcd(source_rate, rate)
    reach = math.ceil(_REACH * max(1.0, source_rate / rate))
    total = -(-num_samples * source_rate // rate)
    first = max(0, start * source_rate // rate - reach) // step * step
    return first, min(total, -(-stop * source_rate // rate) + reach)


@functools.cache
def resampling_delay(rate_in: int, rate_out: int) -> float:
    """The longest that a `Resampler` holds a sample back, seconds. It is measured: soxr does not say, and it varies."""
    resampler = Resampler(rate_in, rate_out, 1)
    step = max(1, rate_in // 1000)
    taken, given, longest = 0, 0, 0.0
    while rate_in != rate_out and min(taken / rate_in * rate_out, taken) < 4000:
        taken += step
        given += resampler.push(np.zeros((1, step), np.float32)).shape[1]
        longest = max(longest, taken / rate_in - given / rate_out)
    return longest
