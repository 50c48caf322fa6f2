"""The audio VQ-VAE: encoder, quantizer, and decoders over the same codes (arXiv 1711.00937, section 4.3)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from audiovq.audio.build import build_decoder, build_encoder
from audiovq.audio.config import AudioModelConfig
from audiovq.audio.decoder import Decoder, FeedForwardDecoder
from audiovq.audio.encoder import Encoder
from audiovq.audio.excitation import Place
from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.audio.wavenet_sampler import PRECISIONS, WaveNetSampler
from audiovq.errors import BadModelError, ConfigError
from audiovq.modelfolder import StoredModel, build_filled, read_model, validate_config, write_model
from audiovq.quantize import Quantizer, num_weights
from audiovq.quantize.build import build_quantizer


class AudioVQVAE(nn.Module):
    """Codes of sound and back.

    Args:
        encoder: waveform `[B, 1, T]` -> z_e `[B, D, F]`.
        quantizer: z_e -> codes `[B, Q, F]` and z_q.
        decoders: by name; z_q (and a speaker vector) -> waveform. The first is the default.
        sample_rate: Hz.
        speakers: names in the order of the speaker table; empty for none.
        speaker_dim: size of a speaker's vector.
        default_num_quantizers: levels that `encode` uses if not told; None for all.
    """

    def __init__(
        self,
        encoder: Encoder,
        quantizer: Quantizer,
        decoders: Mapping[str, Decoder],
        *,
        sample_rate: int,
        speakers: list[str],
        speaker_dim: int = 0,
        default_num_quantizers: int | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.decoders = nn.ModuleDict(dict(decoders))
        self.sample_rate = sample_rate
        self.speakers = list(speakers)
        self.speaker_table = nn.Embedding(len(speakers), speaker_dim) if speakers else None
        self.default_num_quantizers = default_num_quantizers or quantizer.num_quantizers
        self.config: AudioModelConfig | None = None
        self.name = "this model"  # in messages

    # Facts about the model.

    @property
    def hop_length(self) -> int:
        """Samples per frame of codes."""
        return self.encoder.hop_length

    @property
    def frame_rate(self) -> float:
        """Frames of codes per second, Hz."""
        return self.sample_rate / self.hop_length

    @property
    def num_quantizers(self) -> int:
        """Levels of codes."""
        return self.quantizer.num_quantizers

    @property
    def min_quantizers(self) -> int:
        """The fewest levels that can be decoded."""
        return self.quantizer.min_quantizers

    @property
    def codebook_sizes(self) -> list[int]:
        """Codes at each level."""
        return self.quantizer.codebook_sizes

    @property
    def decoder_names(self) -> list[str]:
        """Names of the decoders, the default first."""
        return list(self.decoders)

    def decoder_context(self, decoder: str | None = None) -> tuple[int, int] | None:
        """Frames to the left and right that a frame of sound can depend on; None for an autoregressive decoder."""
        module = self.decoder(decoder)
        return module.context_frames if isinstance(module, FeedForwardDecoder) else None

    def decoder(self, name: str | None = None) -> Decoder:
        """The decoder of that name, or the default; BadModelError names those there are."""
        name = name or self.decoder_names[0]
        if name not in self.decoders:
            raise BadModelError(f"{self.name} has no decoder {name!r}; choose from {', '.join(self.decoder_names)}")
        return cast(Decoder, self.decoders[name])

    def sampler(self, decoder: str | None = None, precision: str | None = None) -> WaveNetSampler | None:
        """What draws from an autoregressive decoder with its present weights; None for a feed-forward decoder.

        On a GPU it is the definition in PyTorch. A new autoregressive kind has its case here.

        Args:
            decoder: name; None for the default.
            precision: of the weights on a CPU, one of `audiovq.audio.wavenet_sampler.PRECISIONS`, by default the first.

        Raises:
            BadModelError: an unknown decoder.
            ConfigError: a precision that there is not, or one given for a feed-forward decoder.
        """
        module = self.decoder(decoder)
        if isinstance(module, WaveNetDecoder):
            on_cpu = next(module.parameters()).device.type == "cpu"
            return WaveNetSampler(module, precision or PRECISIONS[0], backend="auto" if on_cpu else "torch")
        if precision is not None:
            name = decoder or self.decoder_names[0]
            raise ConfigError(
                f"precision {precision}: decoder {name!r} is no WaveNet and has no choice of it; leave --precision out"
            )
        return None

    # Codes and sound.

    def speaker_index(self, name: str) -> int:
        """Place of a name in the speaker table; BadModelError names those there are."""
        if not self.speakers:
            raise BadModelError(f"{self.name} has no speakers, and {name!r} was asked for; leave --speaker out")
        if name not in self.speakers:
            raise BadModelError(f"{self.name} has no speaker {name!r}; choose from {', '.join(self.speakers)}")
        return self.speakers.index(name)

    def speaker_indices(self, names: Iterable[str]) -> Tensor | None:
        """Names -> indices `[N]`; None for a model without speakers, whatever the names."""
        return torch.tensor([self.speaker_index(name) for name in names]) if self.speakers else None

    def speaker_vector(self, speaker: Tensor | None) -> Tensor | None:
        """Speaker indices `[B]` -> `[B, speaker_dim]`; None for a model without speakers."""
        if self.speaker_table is None:
            return None
        if speaker is None:
            raise ValueError("this model has a speaker table: pass speaker indices")
        return self.speaker_table(speaker)

    def encode(self, waveform: Tensor, num_quantizers: int | None = None) -> Tensor:
        """waveform: `[B, 1, T]` -> codes `[B, Q, F]` int64, F = ceil(T / hop_length), Q levels (default: all)."""
        if waveform.shape[-1] == 0:
            return torch.zeros(len(waveform), num_quantizers or self.num_quantizers, 0, dtype=torch.int64)
        return self.quantizer.encode(self.encoder(waveform), num_quantizers)

    def decode(
        self,
        codes: Tensor,
        *,
        decoder: str | None = None,
        speaker: Tensor | None = None,
        generator: torch.Generator | None = None,
        precision: str | None = None,
        place: Place | None = None,
    ) -> Tensor:
        """Codes to sound.

        Args:
            codes: `[B, Q', F]`, any prefix of the levels; -1 is a lost code.
            decoder: name; None for the default.
            speaker: indices `[B]` for a model with speakers.
            generator: source of the uniform numbers of an autoregressive decoder.
            precision: of an autoregressive decoder's weights on a CPU, as in `sampler`, and with the same errors.
            place: for a feed-forward decoder, where in which sound these codes lie; its beginning if not given.

        Returns:
            waveform `[B, 1, F * hop_length]`.
        """
        module, sampler = self.decoder(decoder), self.sampler(decoder, precision)
        if codes.shape[-1] == 0:
            return torch.zeros(len(codes), 1, 0, dtype=torch.float32)
        z_q = self.quantizer.decode(codes)
        vector = self.speaker_vector(speaker)
        if sampler is not None:
            length = codes.shape[-1] * self.hop_length
            uniforms = torch.rand(len(codes), length, dtype=torch.float64, generator=generator)
            return sampler.sample(sampler.condition(z_q, vector), uniforms.to(z_q.device))[0]
        return module(z_q, vector, replace(place or Place(), num_levels=codes.shape[1]))

    def frame_mask(self, num_samples: Tensor, frames: int) -> Tensor:
        """True for frames that hold at least one of `num_samples` `[B]` samples: `[B, frames]`."""
        used = torch.div(num_samples + self.hop_length - 1, self.hop_length, rounding_mode="floor")
        return torch.arange(frames, device=num_samples.device) < used.unsqueeze(1)

    # Building, saving, loading.

    @classmethod
    def from_config(cls, config: AudioModelConfig) -> "AudioVQVAE":
        """A model with random weights."""
        model = cls(
            build_encoder(config),
            build_quantizer(config.quantizer, config.latent_dim),
            {name: build_decoder(part, config) for name, part in config.decoders.items()},
            sample_rate=config.sample_rate,
            speakers=config.speakers,
            speaker_dim=config.speaker_dim,
            default_num_quantizers=config.default_num_quantizers,
        )
        model.config = config  # kept only to be saved beside the weights
        return model

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path, *, revision: str | None = None) -> "AudioVQVAE":
        """Load a bundled name, a local folder or a Hugging Face hub id; weights become float32, mode eval.

        Raises BadModelError, with the mend, for an unknown name or a folder that is not a model of ours.
        """
        return cls.from_stored(read_model(name_or_path, revision=revision))

    @classmethod
    def from_stored(cls, stored: StoredModel) -> "AudioVQVAE":
        """The same of a folder that was read already."""
        if stored.is_image:
            raise BadModelError(f"{stored.folder}: is a model of images; those are for audiovq image and ImageCodec")
        config = validate_config(AudioModelConfig, stored)
        return build_filled(lambda: cls.from_config(config), stored)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` (float16, without state that only training needs)."""
        write_model(folder, self.config, self)

    def num_parameters(self) -> int:
        """Weights in all, codebooks included."""
        return num_weights(self)


def load_model(name_or_path: str | Path, device: str | torch.device = "cpu") -> AudioVQVAE:
    """A bundled name, a local folder or a hub id -> the model in eval mode on `device`."""
    return AudioVQVAE.from_pretrained(name_or_path).to(device)
