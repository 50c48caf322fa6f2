"""WaveNet decoding block by block, many streams in step, with the sampler's state carried: memory does not grow.

The sound must not depend on how the work is cut up. So blocks lie on a fixed grid and always have the same shape,
padded at both ends. The products behind their conditions are then the same to the last bit in every run; other shapes
may be rounded in another order, and one rounding error can change everything that is drawn after it. Every channel has
its own stream of uniform numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio import AudioVQVAE
from audiovq.audio.wavenet_decoder import LOOKAHEAD
from audiovq.audio.wavenet_sampler import WaveNetSampler
from audiovq.codec.conceal import Codes, Gains, fade, read_concealed
from audiovq.codec.part import Part
from audiovq.codec.source import FrameSource

BLOCK_FRAMES = 64


def sample_blocks(
    model: AudioVQVAE,
    sampler: WaveNetSampler,
    parts: Sequence[Part],
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """Samples begin .. end - 1 of each part at the model's rate, `[C, end - begin]`.

    They are drawn from the first frame on in any case. All channels of all parts are drawn in step, which costs hardly
    more than one; what is drawn does not depend on those beside it.

    Args:
        model: whose codes these are.
        sampler: of one of its WaveNet decoders.
        parts: of recordings of any lengths; one that is done leaves the others going on.
        seed: of the uniform numbers, with the channel's number.
        progress: called with the frames done and their total, those of the longest, after every block.
    """
    hop = model.hop_length
    order = sorted(range(len(parts)), key=lambda i: -parts[i].end)
    going = [parts[i] for i in order]  # the longest first, so that those who end are the last rows of the state
    sounds = [np.empty((part.frames.header.channels, part.end - part.begin), np.float32) for part in going]
    streams = [np.random.default_rng([seed, channel]) for sound in sounds for channel in range(len(sound))]
    state = sampler.start(len(streams))
    longest = -(-going[0].end // hop) if going else 0
    for begin in range(0, longest, BLOCK_FRAMES):
        count = min(BLOCK_FRAMES, longest - begin)
        going = [part for part in going if part.end > begin * hop]
        blocks = [_block(part.frames, begin, -(-part.end // hop)) for part in going]
        pairs = zip(going, (codes for codes, _ in blocks), strict=True)
        condition = torch.cat([_condition(model, sampler, row, part.speaker) for part, rows in pairs for row in rows])
        state = state.first(len(condition))
        uniforms = torch.from_numpy(np.stack([stream.random(count * hop) for stream in streams[: len(condition)]]))
        drawn = sampler.sample(condition[:, :count], uniforms.to(condition.device), state)[0].squeeze(1).cpu().numpy()
        fade(drawn, np.concatenate([gains[:, :count] for _, gains in blocks]))
        _put(drawn, begin * hop, going, sounds)
        if progress is not None:
            progress(begin + count, longest)
    return [sounds[order.index(i)] for i in range(len(parts))]


def _put(drawn: NDArray[np.float32], begin: int, parts: Sequence[Part], sounds: Sequence[NDArray[np.float32]]) -> None:
    """Copy what was drawn from sample `begin` on, `[B, T]`, to where it lies in each part's sound."""
    row = 0
    for part, sound in zip(parts, sounds, strict=False):  # sounds of parts that are done follow
        first, last = max(part.begin, begin), min(part.end, begin + drawn.shape[1])
        if first < last:
            own = drawn[row : row + len(sound), first - begin : last - begin]
            sound[:, first - part.begin : last - part.begin] = own
        row += len(sound)


def _block(frames: FrameSource, begin: int, total: int) -> tuple[Codes, Gains]:
    """Codes of a block and of `LOOKAHEAD` frames at either end, `[C, Q, F]`; -1 where there are none, or none count.

    And gains `[C, BLOCK_FRAMES, 2]` of the block alone. What follows frame `total` counts only as far as the sound
    before it depends on it.
    """
    first, last = begin - LOOKAHEAD, begin + BLOCK_FRAMES + LOOKAHEAD
    start = max(first, 0)
    codes, gains = read_concealed(frames, start, min(last, total + LOOKAHEAD))
    edges = start - first, last - start - codes.shape[2]
    codes = np.pad(codes, ((0, 0), (0, 0), edges), constant_values=-1)
    gains = np.pad(gains, ((0, 0), edges, (0, 0)), constant_values=1)
    return codes, gains[:, LOOKAHEAD:-LOOKAHEAD]


def _condition(model: AudioVQVAE, sampler: WaveNetSampler, codes: NDArray[np.int64], speaker: int | None) -> Tensor:
    """Codes of a channel `[Q, F]` -> `[1, F - 2 LOOKAHEAD, condition]`: the frames that have all their context."""
    device = next(model.parameters()).device
    index = None if speaker is None else torch.tensor([speaker], device=device)
    z_q = model.quantizer.decode(torch.from_numpy(codes).unsqueeze(0).to(device))  # -1 becomes 0, as beyond an end
    return sampler.condition(z_q, model.speaker_vector(index))[:, LOOKAHEAD:-LOOKAHEAD]
