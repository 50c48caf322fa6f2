"""`CodecModel`: a loaded model as `.codes` files know it, with its name, fingerprint, headers, coders and samplers."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from audiovq.audio import AudioVQVAE
from audiovq.audio.wavenet_sampler import WaveNetSampler
from audiovq.bitstream import (
    FINGERPRINT_BYTES,
    AudioHeader,
    Coding,
    Header,
    PacketCoder,
    audio_packet_frames,
)
from audiovq.bitstream.packing import bit_width
from audiovq.codec.checks import check_header, checked_coding, checked_packet_seconds, levels_for
from audiovq.codec.loading import (
    check_fingerprint,
    check_trained,
    model_at_hand,
    name_for_files,
    pick_device,
    released,
)
from audiovq.modelfolder import StoredModel, read_model
from audiovq.prior.coder import load_coders

BLOCK_SECONDS = 4.0


class CodecModel:
    """A loaded model, and how files know it.

    Args:
        model: an `AudioVQVAE`; it is put into eval mode.
        name: what `.codes` files will call the model: a bundled name, a hub id, or the name of its folder.
        fingerprint: SHA-256 of what gives its codes their meaning (`codes_fingerprint`), by which they are known again.
        coders: the entropy coders of its codes.

    Attributes:
        block_seconds: sound that encoder and feed-forward decoders see at once, besides context.
    """

    def __init__(
        self, model: AudioVQVAE, name: str, fingerprint: bytes, coders: Mapping[Coding, PacketCoder] | None = None
    ) -> None:
        self.model = model.eval()
        self.name = model.name = name
        self.fingerprint = fingerprint
        self.coders: Mapping[Coding, PacketCoder] = coders or {}
        self.block_seconds = BLOCK_SECONDS
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._samplers: dict[tuple[str, str | None], WaveNetSampler | None] = {}
        self._samplers_lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """For pickling and copying: samplers are made again where they are wanted."""
        return {key: value for key, value in self.__dict__.items() if not key.startswith("_samplers")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _samplers={}, _samplers_lock=threading.Lock())

    @classmethod
    def from_pretrained(
        cls, name_or_path: str | os.PathLike[str] = "speech-16k", device: str | torch.device = "auto"
    ) -> Self:
        """Load a bundled name, a model folder or a hub id. `device`: auto (CUDA if there is one), cpu, cuda.

        Raises:
            BadModelError: no such model, or a damaged one.
            ConfigError: a device that this machine does not have.
        """
        place = pick_device(device)
        return cls.from_stored(read_model(os.fspath(name_or_path)), os.fspath(name_or_path), place)

    @classmethod
    def from_stored(cls, stored: StoredModel, name: str, device: torch.device) -> Self:
        """The same of a folder that was read already."""
        model = AudioVQVAE.from_stored(stored)
        check_trained(model, name)
        return cls(model.to(device), name_for_files(name), stored.codes_fingerprint, load_coders(stored.folder))

    @classmethod
    def for_header(cls, header: AudioHeader, device: str | torch.device = "auto") -> Self:
        """The codec that a `.codes` file asks for, if the model it names is bundled.

        A path or a hub id in it is not followed: only the user says what is opened or downloaded.

        Raises:
            BadModelError: it is not; load it yourself with `from_pretrained`.
        """
        return cls.from_pretrained(model_at_hand(header), device)

    @property
    def sample_rate(self) -> int:
        """Rate at which the model works, Hz; sound of any rate is taken and given back."""
        return self.model.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per frame at the model's rate."""
        return self.model.hop_length

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.model.sample_rate / self.model.hop_length

    @property
    def num_quantizers(self) -> int:
        """Levels of codes."""
        return self.model.num_quantizers

    @property
    def bitrates(self) -> list[float]:
        """Nominal bits/s per channel of the first 1, 2, ... levels, without the container's few bytes a second.

        (From `model.min_quantizers` on, which is more than 1 for grouped codebooks.)
        """
        widths = np.cumsum([bit_width(size) for size in self.model.codebook_sizes])
        return [float(self.frame_rate * bits) for bits in widths[self.model.min_quantizers - 1 :]]

    @property
    def _block_frames(self) -> int:
        return max(1, round(self.block_seconds * self.frame_rate))

    @property
    def decoders(self) -> list[str]:
        """Names of the decoders, the default first."""
        return self.model.decoder_names

    def is_autoregressive(self, decoder: str | None = None) -> bool:
        """Whether a decoder (by default the first) draws one sample after the other, and keeps but one core busy.

        Raises:
            BadModelError: an unknown decoder.
        """
        return self.model.decoder_context(decoder) is None

    def prepare(self, decoder: str | None = None, precision: str | None = None) -> None:
        """Make now what an autoregressive decoder needs (it may be compiled), instead of with its first sound.

        Errors are those of `decode` for such a decoder and precision.
        """
        self._sampler(decoder, precision)

    def header(
        self,
        num_samples: int | None,
        levels: int,
        *,
        sample_rate: int | None = None,
        channels: int = 1,
        gain_db: float | None = None,
        speaker: str | None = None,
        coding: str | None = None,
        packet_seconds: float | None = None,
    ) -> AudioHeader:
        """The header of a recording: so many samples per channel at `sample_rate`, by default the model's own.

        num_samples is None for a stream. The other options are those of `encode`, as are the errors.
        """
        coder = checked_coding(self.coders, coding, self.name)
        shape: dict[str, Any] = {
            "model_sample_rate": self.sample_rate,
            "hop_length": self.hop_length,
            "codebook_sizes": tuple(self.model.codebook_sizes[:levels]),
            "channels": channels,
        }
        header = AudioHeader(
            model=self.name,
            fingerprint=self.fingerprint[:FINGERPRINT_BYTES],
            sample_rate=sample_rate or self.sample_rate,
            num_samples=num_samples,
            frames_per_packet=audio_packet_frames(checked_packet_seconds(packet_seconds), **shape),
            gain_db=gain_db,
            speaker=speaker,
            **shape,
        )
        return header if coder is None else header.coded_by(coder)

    def coder_of(self, header: Header) -> PacketCoder | None:
        """The model's coder of the kind that a header names; None for packed bits, and if it has none."""
        return self.coders.get(header.coding)

    def check(
        self,
        *,
        bitrate: float | None = None,
        num_quantizers: int | None = None,
        normalize: bool = False,
        speaker: str | None = None,
        coding: str | None = None,
        packet_seconds: float | None = None,
    ) -> int:
        """The levels that these options of `encode` ask for; the errors of `encode` for those that can't be had."""
        if speaker is not None:
            self.model.speaker_index(speaker)
        checked_coding(self.coders, coding, self.name)
        checked_packet_seconds(packet_seconds)
        return levels_for(self.model, self.bitrates, bitrate, num_quantizers)

    def _check_header(self, header: AudioHeader, source: str, allow_mismatch: bool) -> None:
        check_header(self.model, header, source)
        if not allow_mismatch:
            check_fingerprint(header, source, self.name, self.fingerprint)

    def _sampler(self, decoder: str | None, precision: str | None) -> WaveNetSampler | None:
        """The sampler of an autoregressive decoder, made once; None for a feed-forward one."""
        key = decoder or self.decoders[0], precision
        with self._samplers_lock, released(self.device):
            if key not in self._samplers:
                self._samplers[key] = self.model.sampler(*key)
            return self._samplers[key]
