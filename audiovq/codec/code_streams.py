"""Streams of codes: sound at the model's rate -> codes, and codes -> sound, piece by piece, for all channels.

Everything that encodes or decodes goes through them. Pieces joined equal the whole, and memory does not grow with the
length. `audiovq.codec.autoregressive` has the counterpart of `SoundStream` for a WaveNet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.audio import AudioVQVAE, FeedForwardDecoder, Place
from audiovq.codec.loading import as_released
from audiovq.codec.sound import Waveform
from audiovq.errors import BadAudioError

Codes = NDArray[np.int64]
Progress = Callable[[int, int], None]
LEAST_FRAMES = 16  # of a piece, however many channels there are


class SoundStream(Protocol):
    """Codes -> sound, whatever the decoder."""

    @property
    def lookahead(self) -> int:
        """Samples by which the sound may lag behind whole codes."""

    def push(self, codes: Codes) -> Waveform:
        """The next codes `[C, Q, F]`, any F; -1 is a lost code.

        Returns the samples that no later code can change, `[C, n]`.
        """

    def flush(self) -> Waveform:
        """The rest, as the codes end here; nothing may follow. All that was given has F * hop_length samples then."""


class CodesStream:
    """Sound -> codes.

    Args:
        model: at whose rate the sound is.
        channels: C, coded one by one.
        num_quantizers: levels Q.
        most_frames: frames of all channels together that the network sees at once.

    Attributes:
        lookahead: samples after its own hop that a frame of codes waits for.
    """

    def __init__(self, model: AudioVQVAE, channels: int, num_quantizers: int, *, most_frames: int) -> None:
        self.device = next(model.parameters()).device
        self.lookahead = model.encoder.lookahead
        self._model, self._levels = model, num_quantizers
        self._groups, frames = _groups(channels, most_frames)
        self._step = frames * model.hop_length
        self._states = [model.encoder.initial_state(group.stop - group.start) for group in self._groups]
        self._pushed = 0

    def push(self, sound: Waveform) -> Codes:
        """The next samples `[C, n]`, any n -> the codes that no later sample can change, `[C, Q, f]`."""
        return _joined(list(self.blocks(sound)))

    def blocks(self, sound: Waveform) -> Iterator[Codes]:
        """The same in pieces, as many as the network is run; to be used up."""
        for piece in _pieces(sound, self._step):
            self._pushed += piece.shape[1]
            yield self._run(piece)

    def flush(self) -> Codes:
        """The rest, as the sound ends here; nothing may follow. There is a frame for every hop begun."""
        missing = -self._pushed % self._model.hop_length
        return self._run(np.zeros((self._groups[-1].stop, missing), np.float32), last=True)

    @as_released
    def _run(self, sound: Waveform, *, last: bool = False) -> Codes:
        found = []
        for i, group in enumerate(self._groups):
            part = torch.from_numpy(np.ascontiguousarray(sound[group])).to(self.device).unsqueeze(1)  # [C', 1, n]
            z_e, self._states[i] = self._model.encoder.stream(part, self._states[i], last=last)
            codes = z_e.new_zeros(len(z_e), self._levels, 0, dtype=torch.int64)
            if z_e.shape[-1]:
                codes = self._model.quantizer.encode(z_e, self._levels)
            found.append(codes.cpu().numpy())
        return np.concatenate(found)


class FeedForwardStream:
    """Codes -> sound, by a feed-forward decoder.

    Args:
        model: whose codes these are.
        decoder: name of one of its feed-forward decoders.
        channels: C; every channel has noise of its own.
        speaker: index of the voice; None for a model without speakers.
        place: of the first frame pushed.
        most_frames: as of `CodesStream`.
    """

    def __init__(
        self,
        model: AudioVQVAE,
        decoder: FeedForwardDecoder,
        channels: int,
        *,
        speaker: int | None,
        place: Place,
        most_frames: int,
    ) -> None:
        self.device = next(model.parameters()).device
        self.lookahead = decoder.lookahead
        self._model, self._decoder, self._place = model, decoder, place
        self._speaker = None if speaker is None else torch.tensor([speaker], device=self.device)
        self._groups, self._step = _groups(channels, most_frames)
        self._states: list[Any] = []

    @as_released
    def push(self, codes: Codes) -> Waveform:
        return _joined([self._run(piece) for piece in _pieces(codes, self._step)])

    @as_released
    def flush(self) -> Waveform:
        if not self._states:  # not one frame was pushed
            return np.zeros((self._groups[-1].stop, 0), np.float32)
        return self._run(np.zeros((self._groups[-1].stop, self._levels, 0), np.int64), last=True)

    def _run(self, codes: Codes, *, last: bool = False) -> Waveform:
        if not self._states:
            self._start(codes.shape[1])
        found = []
        for i, group in enumerate(self._groups):
            part = torch.from_numpy(np.ascontiguousarray(codes[group])).to(self.device)
            z_q = self._model.quantizer.decode(part)
            vector = None
            if self._speaker is not None:
                vector = self._model.speaker_vector(self._speaker.expand(len(part)))
            sound, self._states[i] = self._decoder.stream(z_q, self._states[i], vector, last=last)
            found.append(sound.squeeze(1).float().cpu().numpy())
        return np.concatenate(found)

    def _start(self, levels: int) -> None:
        """Only codes tell how many levels there are, and the state depends on it."""
        self._levels = levels
        for group in self._groups:
            place = replace(self._place, channels=range(group.start, group.stop), num_levels=levels)
            self._states.append(self._decoder.initial_state(group.stop - group.start, place))


def codes_of(
    model: AudioVQVAE,
    pieces: Iterable[Waveform],
    shape: tuple[int, int],
    num_quantizers: int,
    *,
    most_frames: int,
    progress: Progress | None = None,
) -> Iterator[Codes]:
    """Sound `[C, T]` = `shape` at the model's rate, in pieces `[C, n]` -> codes `[C, Q, f]`, as from a `CodesStream`.

    Raises BadAudioError, at the end, if it is not so long. `progress` hears of the frames done and their total.
    """
    channels, num_samples = shape
    stream = CodesStream(model, channels, num_quantizers, most_frames=most_frames)
    taken = done = 0
    for piece in pieces:  # to their end, where whoever gives them may have something to say, as of a damaged file
        taken += piece.shape[1]
        for codes in stream.blocks(piece) if taken <= num_samples else ():
            done += codes.shape[2]
            yield codes
            if progress is not None and codes.shape[2]:
                progress(done, -(-num_samples // model.hop_length))
    if taken != num_samples:
        raise BadAudioError(f"the sound has {taken} samples at the model's rate, not {num_samples}")
    yield (rest := stream.flush())
    if progress is not None and rest.shape[2]:
        progress(done + rest.shape[2], done + rest.shape[2])


def _groups(channels: int, most_frames: int) -> tuple[list[slice], int]:
    """Channels that are one batch, and the frames of a piece: memory grows with neither of them."""
    frames = max(1, most_frames // channels, min(most_frames, LEAST_FRAMES))
    step = max(1, most_frames // frames)
    return [slice(first, min(channels, first + step)) for first in range(0, channels, step)], frames


def _pieces(x: NDArray[Any], step: int) -> Iterator[NDArray[Any]]:
    """Along the last axis; one at least."""
    for start in range(0, max(1, x.shape[-1]), step):
        yield x[..., start : start + step]


def _joined(pieces: list[NDArray[Any]]) -> NDArray[Any]:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=-1)
