"""Feed-forward decoder with an explicit source: pulses at a predicted F0 and noise, shaped by predicted spectra.

It is a source-filter model as in classic vocoders, whose parameters come from the networks of Vocos (arXiv 2306.00814).
`controls` is the network; `SourceFilter` and `audiovq.audio.excitation` are the signal processing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from audiovq.audio.convnext_decoder import ConvNeXtDecoder, FeaturesState
from audiovq.audio.excitation import (
    PHASE_SECONDS,
    Place,
    Pulses,
    PulseState,
    next_pulses,
    noise_at,
    pulse_train,
    voicing,
)
from audiovq.audio.pitch import F0_MAX, F0_MIN
from audiovq.layers import STFT, InverseSTFT
from audiovq.layers.linear import FastLinear
from audiovq.layers.spectral import OverlapState

F0_STEP = 0.5  # semitones between two bins of the F0 head
F0_BINS = math.ceil(12 / F0_STEP * math.log2(F0_MAX / F0_MIN)) + 1
PITCH_CHANNELS = 128
SMOOTHING_HZ = 1000.0  # to either side: what of an envelope is its slope, and what its formants


@dataclass(frozen=True)
class Controls:
    """What the network says of a piece; F fine frames, S spectra.

    Attributes:
        log_envelope: `[B, S, bins]`, nats, of pulses and noise together.
        periodic: `[B, S, bins]`, logit of the pulses' share of the power where there is a voice.
        pitch: `[B, F, F0_BINS + 1]`, logits of F0 and, the last, of voicing.
    """

    log_envelope: Tensor
    periodic: Tensor
    pitch: Tensor


@dataclass(frozen=True)
class FilterState:
    """Of a `SourceFilter`.

    Attributes:
        pulses, noise: what the analysis sees again, `[B, N]`.
        held: log envelope `[B, S, bins]`, logit of the pulses' share, and voicing `[B, S]`, of spectra that wait.
        overlap: of the sum.
    """

    pulses: Tensor
    noise: Tensor
    held: tuple[Tensor, Tensor, Tensor]
    overlap: OverlapState


@dataclass(frozen=True)
class SourceDecoderState:
    """Of the network, the pulses and the filter; how it is to be spoken, as `place` says."""

    place: Place
    features: FeaturesState
    pulses: PulseState
    filter: FilterState


class SourceDecoder(ConvNeXtDecoder):
    """z_q and speaker to waveform by pulses, noise and the spectra that shape them.

    Args:
        latent_dim: channels of z_q.
        sample_rate: Hz.
        num_quantizers: levels of codes.
        window_length: samples of a spectrum; spectra_per_frame: spectra per fine frame, whose hop it divides.
        phase: of the filters: zero, or the least that their magnitudes allow, as a vocal tract has it.
        sharpening: how far the envelope's formants are raised in decoding; 0 for not at all.
        evenness: how far the noise's short-time magnitudes are drawn to their mean in decoding; 0 for not at all, 1 for
            random phases alone.
        network: see `ConvNeXtDecoder`.

    Attributes:
        balance: `[num_quantizers, bins]`, nats that are added to the envelope in decoding so many levels. Zeros, unless
            a finished model was given others: the fewer the codes, the softer is what is not sure.
    """

    balance: Tensor

    def __init__(
        self,
        latent_dim: int,
        *,
        sample_rate: int,
        num_quantizers: int,
        window_length: int,
        spectra_per_frame: int,
        phase: Literal["zero", "minimum"],
        sharpening: float,
        evenness: float,
        **network: Any,
    ) -> None:
        super().__init__(latent_dim, window_length=window_length, **network)
        self.sample_rate = sample_rate
        self.frame_length = self.hop_length // self.upsample
        self.bins = window_length // 2 + 1
        width = network["fine_channels"]
        self.spectrum_head = FastLinear(width, spectra_per_frame * 2 * self.bins)
        self.pitch_head = nn.Sequential(
            FastLinear(width, PITCH_CHANNELS), nn.GELU(), FastLinear(PITCH_CHANNELS, F0_BINS + 1)
        )
        self.filter = SourceFilter(sample_rate, window_length, self.frame_length // spectra_per_frame, phase)
        self.sharpening = sharpening
        self.evenness = evenness
        self.register_buffer("balance", torch.zeros(num_quantizers, self.bins))
        left, right = self.context_frames
        memory = -(-round(PHASE_SECONDS * sample_rate) // self.hop_length) + 1
        self.context_frames = (left + memory, right)
        self.lookahead = self.features_lookahead + self.filter.lookahead
        self._start_as_speech()

    @property
    def last_layer(self) -> Tensor:
        return self.spectrum_head.weight

    def controls(self, z_q: Tensor, speaker: Tensor | None = None) -> Controls:
        """z_q: `[B, latent_dim, F]`, speaker: `[B, speaker_dim]` -> what to synthesize, float32."""
        return self._controls(self.features(z_q, speaker))

    def synthesize(self, controls: Controls, pulses: Pulses, noise: Tensor) -> Tensor:
        """Waveform `[B, 1, T]` of pulses and of noise `[B, T]` of unit variance."""
        train = pulse_train(pulses, self.frame_length, self.sample_rate)
        return self.filter(controls, train, voicing(pulses, self.frame_length), noise)

    def speak(self, controls: Controls, place: Place) -> Tensor:
        """Waveform `[B, 1, T]` of what the network asks for, sharpened and balanced, as at that place."""
        return self._speak(controls, self.initial_state(len(controls.pitch), place), last=True)[0]

    def initial_state(self, batch_size: int, place: Place | None = None) -> SourceDecoderState:
        place = place or Place()
        first = place.first_frame * self.upsample
        return SourceDecoderState(
            place,
            self.initial_features(batch_size),
            PulseState.fresh(batch_size, self.balance.device, first),
            self.filter.initial_state(batch_size),
        )

    def stream(
        self, z_q: Tensor, state: SourceDecoderState, speaker: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, SourceDecoderState]:
        """The network's own pulses, and the place's noise."""
        x, features = self.stream_features(z_q, state.features, speaker, last=last)
        return self._speak(self._controls(x), replace(state, features=features), last=last)

    def pulses(self, controls: Controls, state: SourceDecoderState) -> tuple[Pulses, PulseState]:
        """The pulse train that the network asks for."""
        f0, voiced = decode_pitch(controls.pitch)
        f0 = f0 * 2 ** (state.place.pitch_shift / 12)
        return next_pulses(f0, voiced, state.pulses, self.frame_length, self.sample_rate)

    def _controls(self, features: Tensor) -> Controls:
        spectra = self.spectrum_head(features).float()
        log_envelope, periodic = spectra.unflatten(-1, (-1, 2 * self.bins)).flatten(1, 2).chunk(2, dim=-1)
        return Controls(log_envelope, periodic, self.pitch_head(features).float())

    def _speak(self, controls: Controls, state: SourceDecoderState, *, last: bool) -> tuple[Tensor, SourceDecoderState]:
        batch, frames = controls.pitch.shape[:2]
        empty = controls.pitch.new_zeros(batch, 0)
        if frames == 0:
            sound, filter_ = self.filter.stream(controls, empty, empty, empty, state.filter, last=last)
            return sound, replace(state, filter=filter_)
        envelope = controls.log_envelope
        if self.sharpening:
            envelope = self.filter.sharpen(envelope, self.sharpening)
        controls = replace(controls, log_envelope=envelope + self.balance[(state.place.num_levels or 0) - 1])
        first, count = (n * self.frame_length for n in (state.pulses.position, frames))
        noise = noise_at(state.place, batch, first, count, envelope.device)
        pulses, after = self.pulses(controls, state)
        train, voice = pulse_train(pulses, self.frame_length, self.sample_rate), voicing(pulses, self.frame_length)
        how: dict[str, Any] = {"evenness": self.evenness, "last": last}
        sound, filter_ = self.filter.stream(controls, train, voice, noise, state.filter, **how)
        return sound, replace(state, pulses=after, filter=filter_)

    @torch.no_grad()
    def _start_as_speech(self) -> None:
        """An even envelope at the level of soft speech, pulses low and noise high: what training begins with."""
        bias = self.spectrum_head.bias.view(-1, 2, self.bins)
        bias[:, 0] -= 3.0
        bias[:, 1] = torch.linspace(3.0, 0.0, self.bins)
        self.spectrum_head.weight.view(-1, 2, self.bins, self.spectrum_head.in_features)[:, 1] = 0.0


class SourceFilter(nn.Module):
    """Short-time filters on pulses and noise, and their sum.

    Args:
        sample_rate: Hz.
        window_length, hop_length: samples of a spectrum and between two.
        phase: zero or minimum.
    """

    smoothing: Tensor

    MAX_LOG_ENVELOPE = 6.0  # nats

    def __init__(
        self, sample_rate: int, window_length: int, hop_length: int, phase: Literal["zero", "minimum"]
    ) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.phase = phase
        # a shorter window on the sources: their look-ahead is less, and the filters' tails fit into the FFT
        self.stft = STFT(window_length * 3 // 4, hop_length, window_length)
        self.inverse_stft = InverseSTFT(window_length, hop_length, self.stft.window)
        reach = round(SMOOTHING_HZ * window_length / sample_rate)
        self.register_buffer("smoothing", smoothing_matrix(window_length // 2 + 1, reach), persistent=False)

    @property
    def lookahead(self) -> int:
        """Samples by which sound lags behind sources and controls."""
        ahead = -(-self.stft.lookahead // self.hop_length) * self.hop_length  # a spectrum waits for whole hops
        return ahead + self.inverse_stft.lookahead

    def forward(self, controls: Controls, train: Tensor, voice: Tensor, noise: Tensor) -> Tensor:
        """train, noise: `[B, T]` of unit power; voice: `[B, T]`, from 0 to 1 -> `[B, 1, T]`."""
        return self.stream(controls, train, voice, noise, self.initial_state(len(train)), last=True)[0]

    def initial_state(self, batch_size: int) -> FilterState:
        """Silence before the first sample."""
        source = self.stft.initial_state(batch_size)
        envelope = self.smoothing.new_zeros(batch_size, 0, len(self.smoothing))
        held = (envelope, envelope, envelope[..., 0])
        return FilterState(source, source, held, self.inverse_stft.initial_state(batch_size))

    def stream(
        self,
        controls: Controls,
        train: Tensor,
        voice: Tensor,
        noise: Tensor,
        state: FilterState,
        *,
        evenness: float = 0.0,
        last: bool = False,
    ) -> tuple[Tensor, FilterState]:
        """The next samples of the sources, and their controls -> the samples that are complete, `[B, 1, N]`."""
        # as the pulses fade in and out over a frame, noise takes their place
        gate = voice.unflatten(1, (voice.shape[1] // self.hop_length, self.hop_length)).mean(-1)
        new = (controls.log_envelope, controls.periodic, gate)
        joined = [torch.cat([old.to(x), x], 1) if old.shape[1] else x for old, x in zip(state.held, new, strict=True)]
        tonal, pulses_seen = self.stft.stream(train, state.pulses, last=last)
        hiss, noise_seen = self.stft.stream(noise, state.noise, last=last)
        ready = tonal.shape[1]
        log_envelope, periodic, gate = (x[:, :ready] for x in joined)
        power = periodic.sigmoid()
        noisy = (1 - gate.unsqueeze(-1) * power).clamp_min(1e-4).sqrt()
        hiss = self.even(hiss, evenness) if evenness else hiss
        spectrum = self._filters(log_envelope) * (power.sqrt() * tonal + noisy * hiss)
        sound, overlap = self.inverse_stft.stream(spectrum, state.overlap, last=last)
        log_envelope, periodic, gate = (x[:, ready:].clone() for x in joined)
        return sound, FilterState(pulses_seen, noise_seen, (log_envelope, periodic, gate), overlap)

    def _filters(self, log_envelope: Tensor) -> Tensor:
        log_envelope = log_envelope.clamp_max(self.MAX_LOG_ENVELOPE)
        if self.phase == "zero" or log_envelope.shape[1] == 0:
            return log_envelope.exp()
        return minimum_phase(log_envelope)

    def even(self, noise: Tensor, evenness: float) -> Tensor:
        """The spectra of white noise of unit variance with magnitudes to the power of 1 - evenness; the power is kept.

        Its magnitudes are Rayleigh's. They differ from the recording's however good the envelope, and so are taken for
        a smear of it.
        """
        scale = self.stft.window.square().sum().sqrt()
        return noise * (noise.abs() / scale).clamp_min(1e-3) ** -evenness / math.sqrt(math.gamma(2 - evenness))

    def sharpen(self, log_envelope: Tensor, strength: float) -> Tensor:
        """Deviations from the mean over `SMOOTHING_HZ` to either side times 1 + strength; the power there is kept."""
        sharp = log_envelope + strength * (log_envelope - log_envelope @ self.smoothing)
        top = log_envelope.amax(-1, keepdim=True)
        before, after = (((2 * (x - top)).exp() @ self.smoothing).clamp_min(1e-9).log() for x in (log_envelope, sharp))
        return sharp + (before - after) / 2


def minimum_phase(log_magnitude: Tensor) -> Tensor:
    """The spectrum of that magnitude, in nats, whose energy comes as early as it can: `[..., bins]`, complex.

    By the cepstrum, folded to its causal half (Oppenheim and Schafer).
    """
    size = 2 * (log_magnitude.shape[-1] - 1)
    fold = log_magnitude.new_zeros(size)
    fold[0] = fold[size // 2] = 1
    fold[1 : size // 2] = 2
    spectrum = torch.fft.rfft(torch.fft.irfft(log_magnitude, size) * fold)
    return torch.polar(log_magnitude.exp(), spectrum.imag)


def smoothing_matrix(bins: int, reach: int) -> Tensor:
    """`[bins, bins]`: x @ it is the mean of a row x, weighed by a Hann window over `reach` bins to either side.

    Beyond the ends the row is mirrored.
    """
    weights = torch.hann_window(2 * reach + 3, periodic=False)[1:-1]
    matrix = torch.zeros(bins, bins)
    for offset, weight in zip(range(-reach, reach + 1), weights / weights.sum(), strict=True):
        source = (torch.arange(bins) + offset).abs()
        source = bins - 1 - (bins - 1 - source).abs()
        matrix[source, torch.arange(bins)] += weight
    return matrix


def decode_pitch(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits `[B, F, F0_BINS + 1]` -> F0 in Hz, the mean of five bins about the likeliest, and voicing 0 or 1.

    F0 is float64: its sum over seconds is the phase of the highest harmonics.
    """
    probability = logits[..., :F0_BINS].double().softmax(-1)
    near = probability.argmax(-1, keepdim=True) + torch.arange(-2, 3, device=logits.device)
    near = near.clamp(0, F0_BINS - 1)
    weight = probability.gather(-1, near)
    place = (weight * near).sum(-1) / weight.sum(-1)
    return F0_MIN * 2 ** (place * F0_STEP / 12), (logits[..., F0_BINS] > 0).float()
