"""Checks of what callers give a codec against its model: waveforms, levels, headers, voices, pitch shifts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio import AudioVQVAE, SourceDecoder
from audiovq.bitstream import AudioHeader
from audiovq.bitstream.header import MAX_PACKET_FRAMES
from audiovq.data.audio import level_remark
from audiovq.errors import BadAudioError, BadCodesError, BadModelError, ConfigError, ModelMismatchError

MAX_PITCH_SHIFT = 24.0  # semitones
MAX_CHANNELS = 255
MAX_RATE = 768_000  # Hz; no recording has more, and a forged header could ask for any amount of memory


def checked_waveform(waveform: Tensor | NDArray[Any], name: str) -> NDArray[np.float32]:
    """As float32 `[C, T]`, with a warning if it can hardly be meant so; BadAudioError if it is no waveform.

    name: what messages call it.
    """
    if isinstance(waveform, Tensor):
        # numpy has no bfloat16
        array = (waveform.detach().float() if waveform.is_floating_point() else waveform).cpu().resolve_neg().numpy()
    else:
        array = np.asarray(waveform)
    if array.dtype.kind != "f":
        raise BadAudioError(f"{name} of {array.dtype}; give floats with full scale at 1 (int16: divide by 32768)")
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or not 1 <= len(array) <= MAX_CHANNELS:
        raise BadAudioError(
            f"{name} of shape {list(array.shape)}; give [channels, samples], 1 to {MAX_CHANNELS} channels"
        )
    with np.errstate(over="ignore"):
        samples = np.ascontiguousarray(array, np.float32)
    if not np.isfinite(samples).all():
        raise BadAudioError(f"{name} holds NaN or infinity; replace them (numpy.nan_to_num) first")
    if remark := level_remark(samples):
        warnings.warn(f"{name} {remark}", stacklevel=4)
    return samples


def checked_rate(rate: float) -> int:
    """A rate of whatever type, Hz; BadAudioError if it is none."""
    try:
        whole = int(rate) if float(rate).is_integer() else 0
    except (TypeError, ValueError):
        whole = 0
    if not 1 <= whole <= MAX_RATE:
        raise BadAudioError(f"sample rate {rate} Hz; give a whole number from 1 to {MAX_RATE} Hz")
    return whole


def packet_frames_of(seconds: float, frame_rate: float) -> int:
    """Frames of a packet of that length, at least one; ConfigError for a length that no packet has."""
    if not 0 < seconds * frame_rate <= MAX_PACKET_FRAMES:
        raise ConfigError(
            f"packets of {seconds:g} s; give more than 0 and at most {MAX_PACKET_FRAMES / frame_rate:g} s"
        )
    return max(1, round(seconds * frame_rate))


def levels_for(model: AudioVQVAE, bitrates: list[float], bitrate: float | None, num_quantizers: int | None) -> int:
    """How many levels to use.

    Args:
        model: whose levels they are.
        bitrates: of the fewest levels it takes, of one more, and so on, bits/s.
        bitrate: that is asked for, at most; num_quantizers: or how many levels; neither for the model's own choice.

    Raises ConfigError for what the model does not have.
    """
    fewest = model.min_quantizers
    if bitrate is not None and num_quantizers is not None:
        raise ConfigError(f"bitrate {bitrate:g} and num_quantizers {num_quantizers} both given; give one of them")
    if bitrate is not None:
        fitting = sum(rate <= bitrate for rate in bitrates)
        if not fitting:
            known = ", ".join(f"{rate:g}" for rate in bitrates)
            raise ConfigError(f"bitrate {bitrate:g} bits/s is below what {model.name} can do; choose from {known}")
        return fitting + fewest - 1
    if num_quantizers is None:
        return model.default_num_quantizers
    if not fewest <= num_quantizers <= model.num_quantizers:
        raise ConfigError(f"num_quantizers {num_quantizers}; {model.name} takes {fewest} to {model.num_quantizers}")
    return num_quantizers


def check_header(model: AudioVQVAE, header: AudioHeader, source: str) -> None:
    """BadCodesError for a rate that no recording has, ModelMismatchError for codes of another shape."""
    if header.sample_rate > MAX_RATE:
        what = f"its sample rate of {header.sample_rate} Hz is above {MAX_RATE} Hz, which no recording has"
        raise BadCodesError(f"{source}: {what}; its header is damaged or made up, fetch or encode it again")
    shape = (header.model_sample_rate, header.hop_length, list(header.codebook_sizes))
    own = (model.sample_rate, model.hop_length, list(model.codebook_sizes[: header.num_quantizers]))
    if shape != own:
        raise ModelMismatchError(
            f"{source}: made by model {header.model} with (rate, hop, codebook sizes) {shape}, which {model.name}"
            f" with {own} can't decode; decode it with its own model"
        )


def voice_of(model: AudioVQVAE, header: AudioHeader, speaker: str | None) -> int | None:
    """Index of the speaker to decode with, by default the header's; None for a model without speakers.

    Raises BadModelError for one that the model does not know, or if it needs one and none is named.
    """
    if speaker is None and not model.speakers:
        return None  # a header that names one is then another model's, and was allowed
    name = speaker if speaker is not None else header.speaker
    if name is None:
        known = ", ".join(model.speakers)
        raise BadModelError(f"{model.name} needs a speaker and the codes name none; choose with --speaker: {known}")
    return model.speaker_index(name)


def check_pitch_shift(model: AudioVQVAE, decoder: str | None, semitones: float) -> None:
    """ConfigError for a shift that there is not, or a decoder that has no pitch to shift."""
    if semitones and not isinstance(model.decoder(decoder), SourceDecoder):
        raise ConfigError(
            f"pitch shift {semitones:+g}: decoder {decoder or model.decoder_names[0]!r} of {model.name} has no source"
            " whose pitch could be shifted; leave --pitch-shift out"
        )
    if not abs(semitones) <= MAX_PITCH_SHIFT:
        raise ConfigError(f"pitch shift {semitones:+g}; give -{MAX_PITCH_SHIFT:g} to {MAX_PITCH_SHIFT:g} semitones")
