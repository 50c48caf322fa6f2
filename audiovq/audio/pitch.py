"""F0 and the phase of the fundamental of a recording, by autocorrelation and the best path over time.

Frames are hops of 10 ms, and a frame's pitch is that at its end. The method is Boersma's (1993: autocorrelation divided
by the window's) with a Viterbi search over candidates a quarter of a semitone apart. It needs numpy alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]

F0_MIN, F0_MAX = 60.0, 500.0  # Hz
FRAMES_PER_SECOND = 100
STEP = 0.25  # semitones between candidates
REACH = 12  # candidates that a track may move by from frame to frame: three semitones
WINDOW_SECONDS = 0.048
HIGHEST = 1500.0  # Hz that the autocorrelation looks at
UNVOICED = 0.6  # what a frame scores that has no pitch; a perfect period scores 1
SILENT = 2.0  # the same where the frame is 30 dB under the loud ones
JUMP_COST, VOICING_COST = 0.03, 0.3  # of moving by a candidate, of a voice's beginning or end
OCTAVE_COST = 0.02  # for each octave that a candidate lies lower
PHASE_WINDOW_SECONDS = 0.04
MAX_CORRECTION = 0.12  # cycles a frame by which the fundamental's phase may correct F0


@dataclass(frozen=True)
class PitchTrack:
    """Pitch of a recording of F frames.

    Attributes:
        f0: `[F]`, Hz, 0 where there is no voice.
        running: `[F]`, the same without gaps, before it was made finer.
        correction: `[F]`, cycles by which the fundamental is ahead of the sum of `running`.
        hop, sample_rate: samples per frame; Hz.
    """

    f0: Array
    running: Array
    correction: Array
    hop: int
    sample_rate: int

    @cached_property
    def _cycles_before(self) -> Array:
        """`[F]`: the sum of `running` up to a frame."""
        total = np.cumsum(_at_samples(self.running, self.hop)) / self.sample_rate
        return np.append(0.0, total[self.hop - 1 : -1 : self.hop])

    def cycles(self, start: int, count: int) -> Array:
        """Phase of the fundamental at samples start .. start + count - 1, which may lie beyond the end.

        In cycles that add up, whole where a pulse stands that is in step with the recording. It runs on where there is
        no voice. start: a multiple of the hop.
        """
        return (
            self._cycles_before[start // self.hop]
            + np.cumsum(_at_samples(self.running, self.hop, start, count)) / self.sample_rate
            + _at_samples(self.correction, self.hop, start, count)
        )

    def between(self, start: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """F0 without gaps and voicing, 0 or 1, of the frames, and cycles -0.5 to 0.5 of the samples, of a piece.

        start, count: samples, multiples of the hop; beyond the end there is no voice.
        """
        frames = start // self.hop + np.arange(count // self.hop)
        inside = np.minimum(frames, len(self.f0) - 1)
        voiced = (self.f0[inside] > 0) & (frames == inside)
        cycles = self.cycles(start, count)
        f0 = np.where(voiced, self.f0[inside], self.running[inside])
        return f0.astype(np.float32), voiced.astype(np.float32), (cycles - np.round(cycles)).astype(np.float32)


def track_pitch(waveform: NDArray[np.float32], sample_rate: int) -> PitchTrack:
    """waveform: `[T]`; of a last hop that is not whole nothing is said."""
    hop = sample_rate // FRAMES_PER_SECOND
    waveform = waveform[: len(waveform) // hop * hop]
    if not len(waveform):
        return PitchTrack(np.zeros(1), np.full(1, 120.0), np.zeros(1), hop, sample_rate)
    return in_step(waveform, track_f0(waveform, sample_rate), sample_rate)


def track_f0(waveform: NDArray[np.float32], sample_rate: int) -> Array:
    """F0 in Hz of `[F * hop]` samples: `[F]`, 0 where there is no voice."""
    candidates = F0_MIN * 2 ** (np.arange(int(12 / STEP * math.log2(F0_MAX / F0_MIN)) + 1) * STEP / 12)
    lags = sample_rate / candidates
    correlation, energy = _autocorrelation(waveform, sample_rate, math.ceil(lags[0]) + 5)
    whole = np.floor(lags).astype(int)
    share = lags - whole
    periodic = correlation[:, whole] * (1 - share) + correlation[:, whole + 1] * share
    periodic += OCTAVE_COST * np.log2(candidates / 100)
    quiet = energy < 1e-3 * np.percentile(energy, 95)
    path = _best_path(periodic, np.where(quiet, SILENT, UNVOICED))
    voiced = path < len(candidates)
    chosen = np.minimum(path, len(candidates) - 1)
    return np.where(voiced, sample_rate / _nearest_peak(correlation, lags[chosen]), 0.0)


def in_step(waveform: NDArray[np.float32], f0: Array, sample_rate: int) -> PitchTrack:
    """F0 made finer by the phase of the fundamental, which is found by demodulation at F0."""
    hop, voiced = len(waveform) // len(f0), f0 > 0
    running = _without_gaps(f0)
    cycles = np.cumsum(_at_samples(running, hop)) / sample_rate
    window = round(PHASE_WINDOW_SECONDS * sample_rate)
    frames = _frames(waveform * np.exp(-2j * np.pi * cycles), window, hop, len(f0))
    phase = np.angle(frames @ np.hanning(window)) / (2 * np.pi)
    turn = np.diff(phase, prepend=phase[0])
    turn = np.clip((turn + 0.5) % 1 - 0.5, -MAX_CORRECTION, MAX_CORRECTION)
    begins = voiced & ~np.append(False, voiced[:-1])
    follows = voiced & ~begins
    # inside a voiced stretch the phase is followed, at its beginning taken over, between stretches held
    total = np.cumsum(np.where(follows, turn, 0.0))
    first = np.maximum.accumulate(np.where(begins, np.arange(len(f0)), -1))
    correction = np.where(first >= 0, phase[first] + total - total[first], 0.0)
    fine = f0.copy()
    inner = follows & np.append(follows[1:], False)
    fine[1:-1] += np.where(inner[1:-1], (correction[2:] - correction[:-2]) * FRAMES_PER_SECOND / 2, 0.0)
    fine = np.where(voiced, np.clip(fine, F0_MIN, F0_MAX), 0.0)
    return PitchTrack(fine, running, correction, hop, sample_rate)


def _autocorrelation(waveform: NDArray[np.float32], sample_rate: int, lags: int) -> tuple[Array, Array]:
    """Normalised and divided by the window's, `[F, lags]`, and energy `[F]`, of the signal under `HIGHEST`."""
    window, hop = round(WINDOW_SECONDS * sample_rate), sample_rate // FRAMES_PER_SECOND
    size = 1 << (window + lags - 1).bit_length()
    shape = np.hanning(window)
    frames = _frames(waveform, window, hop, len(waveform) // hop)
    frames = (frames - frames.mean(1, keepdims=True)) * shape
    power = np.abs(np.fft.rfft(frames, size)) ** 2
    power[:, np.fft.rfftfreq(size, 1 / sample_rate) >= HIGHEST] = 0.0
    found = np.fft.irfft(power, size)[:, :lags]
    own = np.fft.irfft(np.abs(np.fft.rfft(shape, size)) ** 2, size)[:lags]
    return found / np.maximum(found[:, :1], 1e-9) / np.maximum(own / own[0], 0.05), np.square(frames).sum(1)


def _frames(signal: NDArray[Any], window: int, hop: int, count: int) -> NDArray[Any]:
    """`[T]` -> `[count, window]`, centred on the ends of hops; zeros beyond the signal."""
    return sliding_window_view(np.pad(signal, (window // 2 - hop, window)), window)[::hop][:count]


def _best_path(periodic: Array, unvoiced: Array) -> NDArray[np.int64]:
    """The candidate of each frame, or their number for none: scores `[F, K]` and `[F]` -> `[F]`."""
    frames, count = periodic.shape
    cost = JUMP_COST * np.abs(np.arange(-REACH, REACH + 1))
    back = np.zeros((frames, count + 1), np.int64)
    voice, none = periodic[0], unvoiced[0]
    rows = np.arange(count)
    for t in range(1, frames):
        near = sliding_window_view(np.pad(voice, REACH, constant_values=-np.inf), 2 * REACH + 1) - cost
        step = near.argmax(1)
        moved, top = near[rows, step], int(voice.argmax())
        onset, offset = none - VOICING_COST, voice[top] - VOICING_COST
        back[t, :count] = np.where(onset > moved, count, rows + step - REACH)
        back[t, count] = top if offset > none else count
        voice, none = np.maximum(moved, onset) + periodic[t], max(none, offset) + unvoiced[t]
    path = np.zeros(frames, np.int64)
    path[-1] = np.append(voice, none).argmax()
    for t in range(frames - 1, 0, -1):
        path[t - 1] = back[t, path[t]]
    return path


def _nearest_peak(correlation: Array, lags: Array) -> Array:
    """The lag, by a parabola, of the highest peak within three samples of each of `lags` `[F]`."""
    rows = np.arange(len(lags))
    near = np.round(lags).astype(int)[:, None] + np.arange(-3, 4)
    values = correlation[rows[:, None], near]
    best = values[:, 1:-1].argmax(1) + 1
    left, peak, right = (values[rows, best + k] for k in (-1, 0, 1))
    bend = np.minimum(left - 2 * peak + right, -1e-9)
    found = near[rows, best] + (0.5 * (left - right) / bend).clip(-0.5, 0.5)
    return np.where(np.abs(np.log2(found / lags)) < 0.06, found, lags)


def _without_gaps(f0: Array) -> Array:
    """F0 with gaps bridged on a log scale, and held at the ends; 120 Hz where there is no voice at all."""
    voiced = np.flatnonzero(f0 > 0)
    if not len(voiced):
        return np.full(len(f0), 120.0)
    return np.exp(np.interp(np.arange(len(f0)), voiced, np.log(f0[voiced])))


def _at_samples(frames: Array, hop: int, start: int = 0, count: int | None = None) -> Array:
    """Values at the ends of frames -> at samples, linear between, held beyond; by default at all."""
    samples = np.arange(start, start + (len(frames) * hop if count is None else count))
    return np.interp(samples + 0.5, np.arange(1, len(frames) + 1) * hop, frames)
