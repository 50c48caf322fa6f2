"""WaveNet decoding block by block, many streams in step, with the sampler's state carried: memory does not grow.

The sound must not depend on how the work is cut up. So blocks lie on a fixed grid and always have the same shape,
padded at both ends. The products behind their conditions are then the same to the last bit in every run; other shapes
may be rounded in another order, and one rounding error can change everything that is drawn after it. Every channel has
its own stream of uniform numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio import AudioVQVAE
from audiovq.audio.wavenet_decoder import LOOKAHEAD
from audiovq.audio.wavenet_sampler import WaveNetSampler
from audiovq.audio.wavenet_sampler.state import SamplerState
from audiovq.codec.code_streams import Codes
from audiovq.codec.conceal import Gains, fade, read_concealed
from audiovq.codec.loading import released
from audiovq.codec.part import Part
from audiovq.codec.sound import Waveform
from audiovq.codec.source import FrameSource

BLOCK_FRAMES = 64


def sample_blocks(
    model: AudioVQVAE,
    sampler: WaveNetSampler,
    parts: Sequence[Part],
    *,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[list[Waveform]]:
    """Samples begin .. end - 1 of each part at the model's rate, block by block: of every part a piece `[C, n]`.

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
    streams = [
        np.random.default_rng([seed, channel]) for part in going for channel in range(part.frames.header.channels)
    ]
    with released(next(model.parameters()).device):
        state = sampler.start(len(streams))
    longest = -(-going[0].end // hop) if going else 0
    for begin in range(0, longest, BLOCK_FRAMES):
        count = min(BLOCK_FRAMES, longest - begin)
        going = [part for part in going if part.end > begin * hop]
        codes, gains = zip(*(_block(part.frames, begin, -(-part.end // hop)) for part in going), strict=True)
        speakers = [part.speaker for part, rows in zip(going, codes, strict=True) for _ in rows]
        state = state.first(len(speakers))
        sound = _draw(model, sampler, np.concatenate(codes), speakers, streams[: len(speakers)], state, count)
        fade(sound, np.concatenate(gains), hop)
        pieces = [np.zeros((part.frames.header.channels, 0), np.float32) for part in parts]
        for i, piece in zip(order, _pieces(sound, begin * hop, going), strict=False):  # those that are done follow
            pieces[i] = piece
        yield pieces
        if progress is not None:
            progress(begin + count, longest)


class SamplingStream:
    """Codes -> sound, as `SoundStream` says, with the samples that `sample_blocks` draws.

    Args:
        model: whose codes these are.
        sampler: of one of its WaveNet decoders.
        channels: C.
        speaker: index of the voice; None for a model without speakers.
        seed: of the uniform numbers, with the channel's number.
    """

    def __init__(
        self, model: AudioVQVAE, sampler: WaveNetSampler, channels: int, *, speaker: int | None, seed: int
    ) -> None:
        self.lookahead = (BLOCK_FRAMES + LOOKAHEAD - 1) * model.hop_length
        self._model, self._sampler, self._speakers = model, sampler, [speaker] * channels
        self._streams = [np.random.default_rng([seed, channel]) for channel in range(channels)]
        with released(next(model.parameters()).device):
            self._state = sampler.start(channels)
        self._codes: NDArray[np.int64] | None = None  # `LOOKAHEAD` frames that were drawn, and those to draw

    def push(self, codes: NDArray[np.int64]) -> Waveform:
        held = np.full((*codes.shape[:2], LOOKAHEAD), -1) if self._codes is None else self._codes
        self._codes = np.concatenate([held, codes], axis=2)
        drawn = [np.zeros((len(codes), 0), np.float32)]
        while self._codes.shape[2] >= BLOCK_FRAMES + 2 * LOOKAHEAD:
            drawn.append(self._next(BLOCK_FRAMES))
        return np.concatenate(drawn, axis=1)

    def flush(self) -> Waveform:
        drawn = [np.zeros((len(self._speakers), 0), np.float32)]
        while self._codes is not None and (left := self._codes.shape[2] - LOOKAHEAD) > 0:
            drawn.append(self._next(min(BLOCK_FRAMES, left)))
        return np.concatenate(drawn, axis=1)

    def _next(self, count: int) -> Waveform:
        assert self._codes is not None
        block = self._codes[:, :, : BLOCK_FRAMES + 2 * LOOKAHEAD]
        missing = BLOCK_FRAMES + 2 * LOOKAHEAD - block.shape[2]
        block = np.pad(block, ((0, 0), (0, 0), (0, missing)), constant_values=-1)
        self._codes = self._codes[:, :, count:]
        return _draw(self._model, self._sampler, block, self._speakers, self._streams, self._state, count)


def _draw(
    model: AudioVQVAE,
    sampler: WaveNetSampler,
    codes: NDArray[np.int64],
    speakers: Sequence[int | None],
    streams: Sequence[np.random.Generator],
    state: SamplerState,
    count: int,
) -> Waveform:
    """The first `count` frames of a block, `[B, count * hop]`; codes with `LOOKAHEAD` frames at either end."""
    hop = model.hop_length
    with released(next(model.parameters()).device):
        rows = zip(codes, speakers, strict=True)
        condition = torch.cat([_condition(model, sampler, row, speaker) for row, speaker in rows])
        uniforms = torch.from_numpy(np.stack([stream.random(count * hop) for stream in streams]))
        drawn = sampler.sample(condition[:, :count], uniforms.to(condition.device), state)[0]
        return drawn.squeeze(1).cpu().numpy()


def _pieces(sound: Waveform, begin: int, parts: Sequence[Part]) -> Iterator[Waveform]:
    """Of what was drawn from sample `begin` on, `[B, T]`, what belongs to each part."""
    row = 0
    for part in parts:
        rows = slice(row, row + part.frames.header.channels)
        yield sound[rows, max(0, part.begin - begin) : part.end - begin]
        row = rows.stop


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
