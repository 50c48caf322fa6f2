"""The sources of a voice before a filter shapes them: glottal pulses at F0, and white noise. It has no weights.

Both are functions of place, so that a slice, a seek and a stream have the sound of the whole. Noise depends only on
seed, channel and sample index. The phase of the pulses begins anew at each onset of voicing and every `GRID_SECONDS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

GRID_SECONDS = 2.0  # places, counted from the recording's first sample, from which no older phase is needed
GLIDE_SECONDS = 0.2  # in which the phase there is drawn to that of a fresh start: F0 moves by 2.5 Hz at most
PHASE_SECONDS = GRID_SECONDS + GLIDE_SECONDS  # before a place, from which on its phase does not depend on older codes
HIGHEST_SHARE = 0.98  # of half the sample rate, up to which there are harmonics
NOISE_SCALE = 2 * math.sqrt(3) / 2**32  # uniform 32-bit integers to unit variance


@dataclass(frozen=True)
class Place:
    """Where in which sound a piece lies, and how it is to be spoken.

    Attributes:
        seed: of the noise.
        first_frame: frames of codes before the piece.
        channels: of each item of the batch, the number of its noise; None for 0 in all.
        pitch_shift: semitones.
        num_levels: of the codes; None for all.
    """

    seed: int = 0
    first_frame: int = 0
    channels: Sequence[int] | None = None
    pitch_shift: float = 0.0
    num_levels: int | None = None


@dataclass(frozen=True)
class Pulses:
    """A pulse train by its parameters.

    Attributes:
        cycles: `[B, T]`, its phase at every sample; a pulse stands at each whole number. float64, so that the highest
            harmonics of a piece are those of the whole.
        f0: `[B, F]`, float64, Hz, at the ends of frames; without gaps.
        voiced: `[B, F]`, at the ends of frames 1 where there is a voice and 0 elsewhere.
        before: F0 and voicing at the end of the frame before the first, `[B, 1]` each; None where none was.
    """

    cycles: Tensor
    f0: Tensor
    voiced: Tensor
    before: tuple[Tensor, Tensor] | None = None


@dataclass(frozen=True)
class PulseState:
    """A pulse train between two frames; tensors are `[B, 1]`.

    Attributes:
        position: frames before the next.
        f0, held_f0, voiced: at the end of the last frame, F0 as it was given and without gaps; -1 before the first.
        cycles: of the pulses since their phase began; age: samples since then.
        remainder: cycles that the beginning left to be made up for.
    """

    position: int
    f0: Tensor
    held_f0: Tensor
    voiced: Tensor
    cycles: Tensor
    age: Tensor
    remainder: Tensor

    @classmethod
    def fresh(cls, batch_size: int, device: torch.device, position: int = 0) -> PulseState:
        """Before the first frame, which is number `position` of the sound."""
        zero = torch.zeros(batch_size, 1, dtype=torch.float64, device=device)
        return cls(position, zero - 1, zero - 1, zero - 1, zero, zero, zero)


def white_noise(seed: int, channel: int, start: int, count: int) -> np.ndarray:
    """Samples start .. start + count - 1 of endless white noise of unit variance, float32 `[count]`.

    Sample i is the i-th 32-bit half, the lower one first, of the stream of numpy's Philox generator with the key
    (seed, channel): the same on every machine, and reached without what comes before it.
    """
    block, skip = divmod(start, 8)  # a step of the counter gives four words of 64 bits
    words = np.random.Philox(key=[seed % 2**64, channel], counter=block).random_raw(-(-(skip + count) // 2))
    halves = words.astype("<u8").view("<u4")[skip : skip + count]
    return ((halves - 2.0**31 + 0.5) * NOISE_SCALE).astype(np.float32)


def noise_at(place: Place, batch: int, first: int, count: int, device: torch.device) -> Tensor:
    """`[B, count]`: the noise of each item from sample `first` of the sound on."""
    channels = place.channels or [0] * batch
    made = {c: white_noise(place.seed, c, first, count) for c in set(channels)}
    return torch.from_numpy(np.stack([made[c] for c in channels])).to(device)


def next_pulses(
    f0: Tensor, voiced: Tensor, state: PulseState, hop_length: int, sample_rate: int
) -> tuple[Pulses, PulseState]:
    """The pulse train of the next frames, F0 `[B, F]` in Hz and voicing `[B, F]` at their ends, F at least 1."""
    held = hold_f0(f0, voiced, state)
    cycles, state = pulse_cycles(held, voiced, state, hop_length, sample_rate)
    pulses = Pulses(cycles, held, voiced, (_before(held, state.held_f0), _before(voiced, state.voiced)))
    end, held_end, voiced_end = (x[:, -1:].double() for x in (f0, held, voiced))
    position = state.position + f0.shape[1]
    return pulses, replace(state, position=position, f0=end, held_f0=held_end, voiced=voiced_end)


def hold_f0(f0: Tensor, voiced: Tensor, state: PulseState) -> Tensor:
    """F0 `[B, F]` with the frame after a voiced stretch, in which it fades, at the stretch's last value."""
    ends = _previous(voiced, state.voiced) > voiced
    return torch.where(ends, _previous(f0, state.f0), f0)


def at_samples(frames: Tensor, hop_length: int, before: Tensor | None = None, begins: Tensor | None = None) -> Tensor:
    """Values at the ends of frames `[B, F]` -> at samples `[B, F * hop_length]`, linear between.

    Needs no frame that is still to come. Frames where `begins` `[B, F]` have one value throughout, and so has the first
    unless `before` `[B, 1]` gives the value at its beginning.
    """
    previous = _previous(frames, frames[:, :1] if before is None else before)
    if begins is not None:
        previous = torch.where(begins, frames, previous)
    # not F.interpolate, whose weights are rounded the more the longer the sound is
    share = (torch.arange(hop_length, device=frames.device, dtype=frames.dtype) + 0.5) / hop_length
    return (previous.unsqueeze(-1) + share * (frames - previous).unsqueeze(-1)).flatten(1)


def pulse_cycles(
    f0: Tensor, voiced: Tensor, state: PulseState, hop_length: int, sample_rate: int
) -> tuple[Tensor, PulseState]:
    """The phase of a pulse train, in cycles from the nearest pulse, -0.5 to 0.5: `[B, F * hop_length]`.

    It is 0 where voicing sets in, and the sum of F0 from there on. At each multiple of `GRID_SECONDS` it is 0 as well,
    but for a remainder that brings it to what it would have been, and that fades within `GLIDE_SECONDS`.

    Args:
        f0: `[B, F]`, Hz, without gaps; voiced: `[B, F]`.
        state: of the frames before.
        hop_length: samples of a frame.

    Returns:
        It, and the state with its phase after these frames.
    """
    sets_in = voiced > _previous(voiced, state.voiced)
    increments = at_samples(f0.double(), hop_length, _before(f0, state.held_f0).double(), sets_in) / sample_rate
    sums = increments.cumsum(1)  # cycles after a sample, from the piece's beginning
    total = sums - increments  # and up to it
    length = total.shape[1]
    begins = F.pad(sets_in.unsqueeze(-1), (0, hop_length - 1)).flatten(1)
    grid = round(GRID_SECONDS * sample_rate / hop_length) * hop_length
    places = torch.arange(length, device=f0.device)
    on_grid = (places + state.position * hop_length) % grid == 0
    # Where the phase began that rules at a sample: index 0 for before the piece, 1 + place otherwise.
    last = torch.where(begins | on_grid, places + 1, 0).cummax(1).values
    totals = torch.cat([-state.cycles, total], 1)
    started = torch.cat([-state.age, places.expand_as(total)], 1)
    # what a start leaves to be made up for, at the sample where it is
    remainder = total - totals.gather(1, F.pad(last[:, :-1], (1, 0)))
    remainder = (remainder + 0.5).remainder(1) - 0.5
    remainder = torch.cat([state.remainder, torch.where(on_grid & ~begins, remainder, 0)], 1).gather(1, last)
    age = places - started.gather(1, last)
    cycles = total - totals.gather(1, last) + remainder * (1 - age / (GLIDE_SECONDS * sample_rate)).clamp_min(0)
    phase = sums[:, -1:] - totals.gather(1, last[:, -1:])
    after = replace(state, cycles=phase, age=age[:, -1:] + 1, remainder=remainder[:, -1:])
    return cycles - cycles.round(), after


def _previous(frames: Tensor, before: Tensor) -> Tensor:
    """Values of the frames before, `[B, F]`; `before` `[B, 1]` is the first."""
    return torch.cat([before.to(frames), frames[:, :-1]], 1)


def _before(frames: Tensor, state: Tensor) -> Tensor:
    """The value at the beginning of the first frame: the frame's own where nothing was before it."""
    return torch.where(state < 0, frames[:, :1], state.to(frames))


def pulse_train(pulses: Pulses, hop_length: int, sample_rate: int) -> Tensor:
    """Band-limited pulses of unit power where there is a voice, faded in and out over a frame: `[B, T]`.

    The sum of N cosines in Dirichlet's closed form, 2 sum cos(2 pi k c) = sin((2 N + 1) pi c) / sin(pi c) - 1; the
    highest harmonic fades, so that none appears at once as F0 falls.
    """
    cycles = pulses.cycles.double()
    f0_before = None if pulses.before is None else pulses.before[0].float()
    count = HIGHEST_SHARE * sample_rate / 2 / at_samples(pulses.f0.float(), hop_length, f0_before)
    whole = count.floor()
    odd = 2 * whole + 1
    sine, multiple = _sine(cycles), _sine(odd * cycles)
    near = sine.abs() < 1e-4
    kernel = torch.where(near, odd, multiple / torch.where(near, 1.0, sine))
    kernel = kernel - 1 + 2 * (count - whole) * _sine(2 * (whole + 1) * cycles + 0.5)
    return kernel * (0.5 / count).sqrt() * voicing(pulses, hop_length)


def voicing(pulses: Pulses, hop_length: int) -> Tensor:
    """From 0 to 1 at samples, `[B, T]`: it fades in and out over a frame."""
    before = None if pulses.before is None else pulses.before[1].float()
    return at_samples(pulses.voiced.float(), hop_length, before)


def _sine(half_turns: Tensor) -> Tensor:
    """sin(pi x) in float32, of x in float64: whole turns are taken away before anything is rounded."""
    return torch.sin(math.pi * (half_turns - 2 * (half_turns / 2).round()).float())
