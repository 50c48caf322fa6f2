"""WaveNet decoding block by block with the sampler's state carried: memory does not grow with the length.

What is drawn must not depend on how the work is cut up. So blocks lie on a fixed grid and always have the same shape,
padded at both ends: the products behind their conditions are then the same to the last bit in every run, where other
shapes may be rounded in another order, and one other rounding can change everything that is drawn after it. And every
channel has its own stream of uniform numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio import AudioVQVAE
from audiovq.audio.wavenet_decoder import LOOKAHEAD
from audiovq.audio.wavenet_sampler import WaveNetSampler
from audiovq.codec.source import FrameSource

BLOCK_FRAMES = 64


def sample_blocks(
    model: AudioVQVAE,
    sampler: WaveNetSampler,
    frames: FrameSource,
    start: int,
    stop: int,
    *,
    speaker: int | None,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Samples start .. stop - 1 at the model's rate, `[C, stop - start]`, drawn from the first frame on in any case.

    Args:
        model: whose codes these are.
        sampler: of one of its WaveNet decoders.
        frames: the codes.
        speaker: index of the voice; None for a model without speakers.
        seed: of the uniform numbers, with the channel's number.
        progress: called with the frames done and their total after every block.
    """
    hop, channels = model.hop_length, frames.header.channels
    total = -(-stop // hop)
    streams = [np.random.default_rng([seed, channel]) for channel in range(channels)]
    state = sampler.start(channels)
    sound = np.empty((channels, stop - start), np.float32)
    for begin in range(0, total, BLOCK_FRAMES):
        count = min(BLOCK_FRAMES, total - begin)
        codes = _padded(frames, begin - LOOKAHEAD, begin + BLOCK_FRAMES + LOOKAHEAD, total + LOOKAHEAD)
        inner = slice(LOOKAHEAD, LOOKAHEAD + count)
        condition = torch.cat([_condition(model, sampler, one, speaker)[:, inner] for one in codes])
        uniforms = torch.from_numpy(np.stack([stream.random(count * hop) for stream in streams]))
        part = sampler.sample(condition, uniforms.to(condition.device), state)[0].squeeze(1).cpu().numpy()
        lost = (codes[:, :, inner] < 0).all(axis=1)  # [C, count]
        part[lost.repeat(hop, axis=1)] = 0.0  # silence, as from any decoder
        first, last = max(start, begin * hop), min(stop, (begin + count) * hop)
        if first < last:
            sound[:, first - start : last - start] = part[:, first - begin * hop : last - begin * hop]
        if progress is not None:
            progress(begin + count, total)
    return sound


def _padded(frames: FrameSource, first: int, last: int, limit: int) -> NDArray[np.int64]:
    """Codes of frames first .. last - 1, `[C, Q, last - first]`; -1 before the beginning, past the end and `limit`."""
    codes = frames.read(max(first, 0), min(last, limit))
    before = max(-first, 0)
    after = last - first - before - codes.shape[2]
    return np.pad(codes, ((0, 0), (0, 0), (before, after)), constant_values=-1)


def _condition(model: AudioVQVAE, sampler: WaveNetSampler, codes: NDArray[np.int64], speaker: int | None) -> Tensor:
    """Codes of a channel `[Q, F]` -> `[1, F, condition]`, of which `LOOKAHEAD` frames at either end lack context."""
    device = next(model.parameters()).device
    index = None if speaker is None else torch.tensor([speaker], device=device)
    z_q = model.quantizer.decode(
        torch.from_numpy(codes).unsqueeze(0).to(device)
    )  # -1 becomes 0, as does what is not there
    return sampler.condition(z_q, model.speaker_vector(index))
