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
from audiovq.codec.conceal import fade, read_concealed
from audiovq.codec.part import Part

Waveform = NDArray[np.float32]
Progress = Callable[[int, int], None]


def encode_blocks(
    model: AudioVQVAE,
    pieces: Iterable[Waveform],
    shape: tuple[int, int],
    num_quantizers: int,
    *,
    block_frames: int,
    device: torch.device,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Sound `[C, T]` = `shape` at the model's rate, in pieces `[C, n]` -> codes `[C, Q, F]`; channels are a batch."""
    hop, (left, right) = model.hop_length, model.encoder_context
    channels, num_samples = shape
    total = -(-num_samples // hop)
    codes = np.zeros((channels, num_quantizers, total), np.int64)
    window = _Window(pieces)
    step = min(block_frames, max(block_frames // channels, 4 * (left + right + 1)))  # what many channels hold at once
    for first, last in _blocks(0, total, step):
        before = min(left, first)
        sound = window.read((first - before) * hop, min((last + right) * hop, num_samples))
        for some in _groups(channels, last - first, block_frames):
            part = torch.from_numpy(sound[some]).to(device)
            block = model.encode(part.unsqueeze(1), num_quantizers)  # [C, 1, T'] -> [C, Q, F']
            codes[some, :, first:last] = block[:, :, before : before + last - first].cpu().numpy()
        if progress is not None:
            progress(last, total)
    return codes


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
) -> Waveform:
    """Samples begin .. end - 1 of the part at the model's rate, `[C, end - begin]`; lost frames are concealed.

    `decoder` is a feed-forward one; `audiovq.codec.autoregressive` has the counterpart for the others. seed and
    pitch_shift: see `Place`; every channel has noise of its own.
    """
    hop, context = model.hop_length, model.decoder_context(decoder)
    if context is None:
        raise ValueError(f"decoder {decoder!r} is autoregressive: decode with sample_blocks")
    first, last = part.begin // hop, -(-part.end // hop)
    channels = part.frames.header.channels
    place = Place(seed=seed, pitch_shift=pitch_shift)
    sound = np.zeros((channels, (last - first) * hop), np.float32)
    for begin, end in _blocks(first, last, block_frames):
        before = min(context[0], begin)
        codes, gains = read_concealed(part.frames, begin - before, end + context[1])
        wanted = slice(before * hop, (before + end - begin) * hop)
        for some in _groups(channels, end - begin, block_frames):
            here = replace(place, first_frame=begin - before, channels=range(channels)[some])
            block = _decode(model, codes[some], decoder, part.speaker, device, here)
            sound[some, (begin - first) * hop : (end - first) * hop] = block[:, wanted]
        fade(sound[:, (begin - first) * hop : (end - first) * hop], gains[:, before : before + end - begin])
        if progress is not None:
            progress(end - first, last - first)
    return sound[:, part.begin - first * hop : part.end - first * hop]


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
            self._held.append(next(self._pieces))
            end += self._held[-1].shape[1]
        joined = self._held[0] if len(self._held) == 1 else np.concatenate(self._held, axis=1)
        return np.ascontiguousarray(joined[:, start - self._start : stop - self._start])


def _decode(
    model: AudioVQVAE,
    codes: NDArray[np.int64],
    decoder: str | None,
    speaker: int | None,
    device: torch.device,
    place: Place,
) -> Waveform:
    """Codes `[C, Q, F]` -> sound `[C, F * hop]`."""
    speakers = None if speaker is None else torch.full((len(codes),), speaker, device=device)
    batch = torch.from_numpy(codes).to(device)
    sound = model.decode(batch, decoder=decoder, speaker=speakers, place=place)  # [C, 1, F * hop]
    return cast(Waveform, sound.squeeze(1).float().cpu().numpy())
