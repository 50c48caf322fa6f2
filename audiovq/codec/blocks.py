"""Networks run on blocks of some seconds, with the frames of context that they need on both sides.

Memory does not grow with the length, and the result is that of one pass over the whole. If only a part is asked for, it
equals that slice of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.audio import AudioVQVAE, Place
from audiovq.codec.part import Part

Waveform = NDArray[np.float32]
Progress = Callable[[int, int], None]


def encode_blocks(
    model: AudioVQVAE,
    sound: Waveform,
    num_quantizers: int,
    *,
    block_frames: int,
    device: torch.device,
    progress: Progress | None = None,
) -> NDArray[np.int64]:
    """Sound `[C, T]` at the model's rate -> codes `[C, Q, F]`; the channels are a batch."""
    hop, (left, right) = model.hop_length, model.encoder_context
    total = -(-sound.shape[1] // hop)
    codes = np.zeros((len(sound), num_quantizers, total), np.int64)
    for first, last in _blocks(0, total, block_frames):
        before = min(left, first)
        part = torch.from_numpy(sound[:, (first - before) * hop : (last + right) * hop]).to(device)
        block = model.encode(part.unsqueeze(1), num_quantizers)  # [C, 1, T'] -> [C, Q, F']
        codes[:, :, first:last] = block[:, :, before : before + last - first].cpu().numpy()
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
    """Samples begin .. end - 1 of the part at the model's rate, `[C, end - begin]`.

    `decoder` is a feed-forward one; `audiovq.codec.autoregressive` has the counterpart for the others. seed and
    pitch_shift: see `Place`; every channel has noise of its own.
    """
    hop, context = model.hop_length, model.decoder_context(decoder)
    if context is None:
        raise ValueError(f"decoder {decoder!r} is autoregressive: decode with sample_blocks")
    first, last = part.begin // hop, -(-part.end // hop)
    channels = part.frames.header.channels
    place = Place(seed=seed, channels=range(channels), pitch_shift=pitch_shift)
    sound = np.zeros((channels, (last - first) * hop), np.float32)
    for begin, end in _blocks(first, last, block_frames):
        before = min(context[0], begin)
        codes = part.frames.read(begin - before, end + context[1])
        block = _decode(model, codes, decoder, part.speaker, device, replace(place, first_frame=begin - before))
        wanted = slice(before * hop, (before + end - begin) * hop)
        sound[:, (begin - first) * hop : (end - first) * hop] = block[:, wanted]
        if progress is not None:
            progress(end - first, last - first)
    return sound[:, part.begin - first * hop : part.end - first * hop]


def _blocks(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    for begin in range(first, last, size):
        yield begin, min(last, begin + size)


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
