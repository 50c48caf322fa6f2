"""Networks run on blocks of some seconds, with the frames of context that they need on both sides.

Memory does not grow with the length, and the result is that of one pass over the whole. If only a part is asked for, it
equals that slice of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.audio import AudioVQVAE, Place
from audiovq.codec.loading import released
from audiovq.codec.part import Part
from audiovq.codec.sound import Waveform
from audiovq.errors import BadAudioError

Progress = Callable[[int, int], None]
_MOST_VALUES = 1 << 22  # samples of all channels held at once


def encode_blocks(
    model: AudioVQVAE,
    pieces: Iterable[Waveform],
    shape: tuple[int, int],
    num_quantizers: int,
    *,
    block_frames: int,
    device: torch.device,
    progress: Progress | None = None,
) -> Iterator[NDArray[np.int64]]:
    """Sound `[C, T]` = `shape` at the model's rate, in pieces `[C, n]` -> codes `[C, Q, f]`; channels are a batch."""
    hop, (left, right) = model.hop_length, model.encoder_context
    channels, num_samples = shape
    total = -(-num_samples // hop)
    window = _Window(pieces)
    for first, last in _blocks(0, total, _step(channels, hop, block_frames)):
        before = min(left, first)
        sound = window.read((first - before) * hop, min((last + right) * hop, num_samples))
        codes = np.empty((channels, num_quantizers, last - first), np.int64)
        for some in _groups(channels, -(-sound.shape[1] // hop), block_frames):
            with released(device):
                part = torch.from_numpy(sound[some]).to(device)
                block = model.encode(part.unsqueeze(1), num_quantizers)  # [C, 1, T'] -> [C, Q, F']
                codes[some] = block[:, :, before : before + last - first].cpu().numpy()
        yield codes
        if progress is not None:
            progress(last, total)
    window.check_end(num_samples)


def decode_blocks(
    model: AudioVQVAE,
    part: Part,
    *,
    decoder: str | None,
    block_frames: int,
    device: torch.device,
    seed: int = 0,
    pitch_shift: float = 0.0,
    progress: Progress | None = None,
) -> Iterator[Waveform]:
    """Samples begin .. end - 1 of the part at the model's rate, in pieces `[C, n]`.

    `decoder` is a feed-forward one; `audiovq.codec.autoregressive` has the counterpart for the others. seed and
    pitch_shift: see `Place`; every channel has noise of its own.
    """
    hop, context = model.hop_length, model.decoder_context(decoder)
    if context is None:
        raise ValueError(f"decoder {decoder!r} is autoregressive: decode with sample_blocks")
    first, last = part.begin // hop, -(-part.end // hop)
    channels = part.frames.header.channels
    place = Place(seed=seed, pitch_shift=pitch_shift)
    for begin, end in _blocks(first, last, _step(channels, hop, block_frames)):
        before = min(context[0], begin)
        codes = part.frames.read(begin - before, end + context[1])
        wanted = slice(before * hop, (before + end - begin) * hop)
        sound = np.empty((channels, (end - begin) * hop), np.float32)
        for some in _groups(channels, codes.shape[2], block_frames):
            here = replace(place, first_frame=begin - before, channels=range(channels)[some])
            with released(device):
                sound[some] = _decode(model, codes[some], decoder, part.speaker, device, here)[:, wanted]
        yield sound[:, max(0, part.begin - begin * hop) : part.end - begin * hop]
        if progress is not None:
            progress(end - first, last - first)


def _step(channels: int, hop: int, block_frames: int) -> int:
    """Frames of all channels at once: a block, or as many as make some MB of sound."""
    return max(1, min(block_frames, _MOST_VALUES // (channels * hop)))


def _blocks(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    for begin in range(first, last, size):
        yield begin, min(last, begin + size)


def _groups(channels: int, frames: int, most: int) -> Iterator[slice]:
    """Channels that are one batch: as many as have `most` frames together, so that memory does not grow with them."""
    step = max(1, most // frames)
    for first in range(0, channels, step):
        yield slice(first, min(channels, first + step))


class _Window:
    """Reads on through pieces of sound `[C, n]`, and keeps no more of them than the next read may want."""

    def __init__(self, pieces: Iterable[Waveform]) -> None:
        self._pieces = iter(pieces)
        self._held: list[Waveform] = []
        self._start = 0  # of the first piece held

    def read(self, start: int, stop: int) -> Waveform:
        """Samples start .. stop - 1; no later read may begin before `start`."""
        while self._held and self._start + self._held[0].shape[1] <= start:
            self._start += self._held.pop(0).shape[1]
        end = self._start + sum(piece.shape[1] for piece in self._held)
        while end < stop:
            if (piece := next(self._pieces, None)) is None:
                raise BadAudioError(f"the sound ends after {end} samples at the model's rate, not {stop}")
            self._held.append(piece)
            end += piece.shape[1]
        place, parts = self._start, []
        for piece in self._held:
            parts.append(piece[:, max(0, start - place) : max(0, stop - place)])
            place += piece.shape[1]
        return np.concatenate(parts, axis=1)

    def check_end(self, stop: int) -> None:
        """Read on to the end, where whoever gives the pieces may have something to say, as of a damaged file."""
        end = self._start + sum(piece.shape[1] for piece in self._held)
        end += sum(piece.shape[1] for piece in self._pieces)
        if end != stop:
            raise BadAudioError(f"the sound has {end} samples at the model's rate, not {stop}")


def _decode(
    model: AudioVQVAE,
    codes: NDArray[np.int64],
    decoder: str | None,
    speaker: int | None,
    device: torch.device,
    place: Place,
) -> Waveform:
    """Codes `[C, Q, F]` -> sound `[C, F * hop]`; silence where codes are lost (-1)."""
    speakers = None if speaker is None else torch.full((len(codes),), speaker, device=device)
    batch = torch.from_numpy(codes).to(device)
    sound = model.decode(batch, decoder=decoder, speaker=speakers, place=place)  # [C, 1, F * hop]
    samples = cast(Waveform, sound.squeeze(1).float().cpu().numpy())
    lost = (codes < 0).all(axis=1)  # [C, F]
    if lost.any():
        samples[lost.repeat(model.hop_length, axis=1)] = 0.0
    return samples
