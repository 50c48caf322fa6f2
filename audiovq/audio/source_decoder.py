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

from audiovq.audio.convnext_decoder import ConvNeXtDecoder
from audiovq.audio.excitation import (
    PHASE_SECONDS,
    Place,
    Pulses,
    at_samples,
    hold_f0,
    noise_at,
    pulse_cycles,
    pulse_train,
)
from audiovq.audio.pitch import F0_MAX, F0_MIN
from audiovq.layers import STFT, InverseSTFT
from audiovq.layers.linear import FastLinear

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
        self._start_as_speech()

    @property
    def last_layer(self) -> Tensor:
        return self.spectrum_head.weight

    def controls(self, z_q: Tensor, speaker: Tensor | None = None) -> Controls:
        """z_q: `[B, latent_dim, F]`, speaker: `[B, speaker_dim]` -> what to synthesize, float32."""
        x = self.features(z_q, speaker)
        spectra = self.spectrum_head(x).float()
        log_envelope, periodic = spectra.reshape(len(x), -1, 2 * self.bins).chunk(2, dim=-1)
        return Controls(log_envelope, periodic, self.pitch_head(x).float())

    def pulses(self, controls: Controls, place: Place) -> Pulses:
        """The pulse train that the network asks for."""
        f0, voiced = decode_pitch(controls.pitch)
        f0 = hold_f0(f0 * 2 ** (place.pitch_shift / 12), voiced)
        first = place.first_frame * self.upsample
        return Pulses(pulse_cycles(f0, voiced, self.frame_length, self.sample_rate, first), f0, voiced)

    def synthesize(self, controls: Controls, pulses: Pulses, noise: Tensor, evenness: float = 0.0) -> Tensor:
        """Waveform `[B, 1, T]` of pulses and of noise `[B, T]` of unit variance."""
        train = pulse_train(pulses, self.frame_length, self.sample_rate)
        return self.filter(controls, train, pulses.voiced, noise, evenness)

    def forward(self, z_q: Tensor, speaker: Tensor | None = None, place: Place | None = None) -> Tensor:
        """The network's own pulses, and the place's noise."""
        return self.speak(self.controls(z_q, speaker), place or Place())

    def speak(self, controls: Controls, place: Place) -> Tensor:
        """Waveform `[B, 1, T]` of what the network asks for, sharpened and balanced, as at that place."""
        envelope = controls.log_envelope
        if self.sharpening:
            envelope = self.filter.sharpen(envelope, self.sharpening)
        controls = replace(controls, log_envelope=envelope + self.balance[(place.num_levels or 0) - 1])
        batch, frames = controls.pitch.shape[:2]
        noise = noise_at(place, batch, self.hop_length, frames * self.frame_length, envelope.device)
        return self.synthesize(controls, self.pulses(controls, place), noise, self.evenness)

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

    def forward(
        self, controls: Controls, train: Tensor, voiced: Tensor, noise: Tensor, evenness: float = 0.0
    ) -> Tensor:
        """train, noise: `[B, T]` of unit power; voiced: `[B, F]` -> `[B, 1, T]`."""
        log_envelope = controls.log_envelope.clamp_max(self.MAX_LOG_ENVELOPE)
        envelope = minimum_phase(log_envelope) if self.phase == "minimum" else log_envelope.exp()
        power = controls.periodic.sigmoid()
        # as the pulses fade in and out over a frame, noise takes their place
        frame = noise.shape[1] // voiced.shape[1]
        gate = at_samples(voiced.float(), frame).unflatten(1, (-1, self.hop_length)).mean(-1)
        noisy = (1 - gate.unsqueeze(-1) * power).clamp_min(1e-4).sqrt()
        hiss = self.even(self.stft(noise), evenness) if evenness else self.stft(noise)
        return self.inverse_stft(envelope * (power.sqrt() * self.stft(train) + noisy * hiss))

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
