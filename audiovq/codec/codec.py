"""`Codec`: a loaded model and the `.codes` container, from sound to bytes and back. What `import audiovq` is for.

Whatever the model's rate, the sound that comes back has the rate, the channels and exactly the number of samples of the
sound that went in.
"""

from __future__ import annotations

import io
import math
import os
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio import AudioVQVAE, SourceDecoder
from audiovq.audio.wavenet_sampler import WaveNetSampler
from audiovq.bitstream import AudioHeader, write_codes
from audiovq.bitstream.packing import bit_width
from audiovq.codec.autoregressive import sample_blocks
from audiovq.codec.blocks import Progress, Waveform, decode_blocks, encode_blocks
from audiovq.codec.loading import check_fingerprint, check_trained, is_image_model, model_at_hand, pick_device
from audiovq.codec.loudness import factor, gain_to_target
from audiovq.codec.source import CodesSource, EncodedAudio, FrameSource
from audiovq.data.audio import resample, resampled_blocks, resampling_range
from audiovq.errors import BadAudioError, BadCodesError, BadModelError, ConfigError, ModelMismatchError
from audiovq.pretrained import codes_fingerprint, load_model, resolve_model

BLOCK_SECONDS = 20.0
MAX_PITCH_SHIFT = 24.0  # semitones
MAX_RATE = 768_000  # Hz; no recording has more, and a forged header could ask for any amount of memory


class Codec:
    """Encodes and decodes sound with one model.

    Args:
        model: an `AudioVQVAE`; it is put into eval mode.
        name: what `.codes` files will call the model: a bundled name, or its folder.
        fingerprint: SHA-256 of what gives its codes their meaning (`codes_fingerprint`), by which they are known again.

    Attributes:
        block_seconds: sound that encoder and feed-forward decoders see at once, besides context.

    One codec may encode and decode in several threads at once.
    """

    def __init__(self, model: AudioVQVAE, name: str, fingerprint: bytes) -> None:
        self.model = model.eval()
        self.name = name
        self.fingerprint = fingerprint
        self.block_seconds = BLOCK_SECONDS
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))
        self._samplers: dict[tuple[str, str | None], WaveNetSampler | None] = {}
        self._samplers_lock = threading.Lock()

    @classmethod
    def from_pretrained(cls, name_or_path: str | os.PathLike[str] = "speech-16k", device: str = "auto") -> Codec:
        """Load a bundled name, a model folder or a hub id. `device`: auto (CUDA if there is one), cpu or cuda.

        Raises:
            BadModelError: no such model, or a damaged one.
            ConfigError: a device that this machine does not have.
        """
        place = pick_device(device)
        folder = resolve_model(os.fspath(name_or_path))
        if is_image_model(folder):
            raise BadModelError(f"{name_or_path}: is a model of images; use it with `audiovq image` and ImageCodec")
        model = load_model(folder, device=place)
        check_trained(model, name_or_path)
        return cls(model, os.fspath(name_or_path), codes_fingerprint(folder))

    @classmethod
    def for_header(cls, header: AudioHeader, device: str = "auto") -> Codec:
        """The codec that a `.codes` file asks for, if the model it names is bundled or a folder here.

        A hub id in it is not followed: nothing is downloaded but by the user's word.

        Raises:
            BadModelError: the model is not here; load it yourself with `from_pretrained`.
        """
        return cls.from_pretrained(model_at_hand(header), device)

    # Facts about the model.

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
        return self.model.decoder_context(self._decoder(decoder)) is None

    # Arrays.

    @torch.inference_mode()
    def encode(
        self,
        waveform: Tensor | NDArray[Any],
        sample_rate: int,
        *,
        bitrate: float | None = None,
        num_quantizers: int | None = None,
        normalize: bool = False,
        speaker: str | None = None,
        progress: Progress | None = None,
    ) -> EncodedAudio:
        """Sound to codes; channels are coded one by one.

        Args:
            waveform: `[C, T]` or `[T]`, floats with full scale at 1, any T.
            sample_rate: its rate, Hz.
            bitrate: bits/s per channel; as many levels are used as fit.
            num_quantizers: levels, instead of a bitrate; by default the model's own choice.
            normalize: bring the loudness to -23 LUFS before coding; `decode` undoes it. The gain looks at the whole
                sound, so without it (the default) codes depend on no later sound than the model's lookahead.
            speaker: name of the model's speaker who is heard, the default voice of `decode`.
            progress: called with the frames done and their total after every block.

        Raises:
            BadAudioError: an array that is not such a waveform, or holds NaN or infinity.
            ConfigError: a bitrate or number of levels that the model does not have.
            BadModelError: an unknown speaker.
        """
        samples = _checked_waveform(waveform)
        if not 1 <= sample_rate <= MAX_RATE:
            raise BadAudioError(f"sample rate {sample_rate} Hz; give 1 to {MAX_RATE} Hz")
        levels = self._levels(bitrate, num_quantizers)
        if speaker is not None:
            self._speaker_index(speaker)
        pieces: Iterable[Waveform] = resampled_blocks(samples, sample_rate, self.sample_rate)
        gain_db = None
        if normalize:
            sound = resample(samples, sample_rate, self.sample_rate)
            gain_db = gain_to_target(sound, self.sample_rate)
            pieces = [sound]
        header = AudioHeader(
            model=self.name,
            fingerprint=self.fingerprint[:8],
            sample_rate=sample_rate,
            channels=samples.shape[0],
            num_samples=samples.shape[1],
            model_sample_rate=self.sample_rate,
            hop_length=self.hop_length,
            frames_per_packet=max(1, round(self.frame_rate)),
            codebook_sizes=tuple(self.model.codebook_sizes[:levels]),
            gain_db=gain_db,
            speaker=speaker,
        )
        if header.gain_db is not None:  # as the header keeps it
            pieces = [sound * factor(header.gain_db)]
        codes = encode_blocks(
            self.model,
            pieces,
            (header.channels, -(-samples.shape[1] * self.sample_rate // sample_rate)),
            levels,
            block_frames=self._block_frames,
            device=self.device,
            progress=progress,
        )
        return EncodedAudio(header, codes)

    @torch.inference_mode()
    def decode(
        self,
        encoded: EncodedAudio | CodesSource | FrameSource,
        *,
        decoder: str | None = None,
        speaker: str | None = None,
        start: float = 0.0,
        duration: float | None = None,
        seed: int = 0,
        precision: str | None = None,
        pitch_shift: float = 0.0,
        allow_mismatch: bool = False,
        conceal: bool = False,
        progress: Progress | None = None,
    ) -> Waveform:
        """Codes to sound.

        Args:
            encoded: from `encode`, or a `.codes` file as path or binary file object, or opened already.
            decoder: one of `decoders`.
            speaker: name of the voice; by default the one that the header names.
            start, duration: the part wanted, seconds. Only its packets are read, and it equals that slice of the whole.
                (An autoregressive decoder must begin at the start in any case.)
            seed: of an autoregressive decoder's sampling, and of the noise in a decoder with a source. The same seed
                gives the same sound, whichever part is asked for and however many files are decoded at once.
            precision: of an autoregressive decoder's weights on a CPU: fp32 (if not given), or bf16 or int8, which are
                faster and draw from very nearly the same distribution.
            pitch_shift: semitones, for a decoder with a source.
            allow_mismatch: decode although the file names another model, if at least the shape of its codes fits.
            conceal: a damaged packet becomes silence, with a warning, instead of an error.
            progress: as in `encode`.

        Returns:
            float32 `[C, T]` at the header's sample rate; the whole has exactly its number of samples.

        Raises:
            BadCodesError: not a `.codes` file, or a damaged one.
            ModelMismatchError: codes of another model.
            BadModelError: an unknown decoder or speaker, or none given where the model needs one.
            ConfigError: a negative start or duration, or a precision or a shift of pitch that there is not.
        """
        source = encoded if isinstance(encoded, FrameSource) else FrameSource(encoded, conceal=conceal)
        with source as frames:
            header = frames.header
            self._check_model(header, frames.name, allow_mismatch)
            name = self._decoder(decoder)
            sampler = self._sampler(name, precision)
            self._check_pitch_shift(name, pitch_shift)
            voice = self._voice(header, speaker)
            first, last = _sample_range(start, duration, header.sample_rate, frames.num_samples)
            if first == last:
                return np.zeros((header.channels, 0), np.float32)
            frames.check_reach(-(-last * self.sample_rate // (header.sample_rate * self.hop_length)))
            begin, end = resampling_range(first, last, header.sample_rate, self.sample_rate, frames.num_samples)
            if sampler is not None:
                sound = sample_blocks(
                    self.model, sampler, frames, begin, end, speaker=voice, seed=seed, progress=progress
                )
            else:
                sound = decode_blocks(
                    self.model,
                    frames,
                    begin,
                    end,
                    decoder=name,
                    speaker=voice,
                    block_frames=self._block_frames,
                    device=self.device,
                    seed=seed,
                    pitch_shift=pitch_shift,
                    progress=progress,
                )
        if header.gain_db is not None:
            sound /= factor(header.gain_db)
        sound = resample(sound, self.sample_rate, header.sample_rate)
        offset = begin * header.sample_rate // self.sample_rate  # exact: both rates have a sample there
        return np.ascontiguousarray(sound[:, first - offset : last - offset])

    def compress(self, waveform: Tensor | NDArray[Any], sample_rate: int, **options: Any) -> bytes:
        """The bytes of a `.codes` file; `options` and errors as of `encode`."""
        encoded = self.encode(waveform, sample_rate, **options)
        memory = io.BytesIO()
        write_codes(memory, encoded.header, encoded.codes)
        return memory.getvalue()

    def decompress(self, data: bytes, *, conceal: bool = False, **options: Any) -> tuple[Waveform, int]:
        """Waveform `[C, T]` and sample rate from the bytes of a `.codes` file; `options` and errors as of `decode`."""
        frames = FrameSource(io.BytesIO(data), conceal=conceal)
        return self.decode(frames, **options), frames.header.sample_rate

    # Options against the model.

    def _levels(self, bitrate: float | None, num_quantizers: int | None) -> int:
        """How many levels to use."""
        if bitrate is not None and num_quantizers is not None:
            raise ConfigError(f"bitrate {bitrate:g} and num_quantizers {num_quantizers} both given; give one of them")
        if bitrate is not None:
            fitting = sum(rate <= bitrate for rate in self.bitrates)
            if not fitting:
                known = ", ".join(f"{rate:g}" for rate in self.bitrates)
                raise ConfigError(f"bitrate {bitrate:g} bits/s is below what {self.name} can do; choose from {known}")
            return fitting + self.model.min_quantizers - 1
        if num_quantizers is None:
            return getattr(self.model, "default_num_quantizers", None) or self.num_quantizers
        fewest = self.model.min_quantizers
        if not fewest <= num_quantizers <= self.num_quantizers:
            raise ConfigError(f"num_quantizers {num_quantizers}; {self.name} takes {fewest} to {self.num_quantizers}")
        return num_quantizers

    def _decoder(self, name: str | None) -> str:
        if name is None:
            return self.decoders[0]
        if name not in self.decoders:
            raise BadModelError(f"{self.name} has no decoder {name!r}; choose from {', '.join(self.decoders)}")
        return name

    def _sampler(self, decoder: str, precision: str | None) -> WaveNetSampler | None:
        """The sampler of an autoregressive decoder, made once; None for a feed-forward one."""
        with self._samplers_lock:
            if (decoder, precision) not in self._samplers:
                self._samplers[decoder, precision] = self.model.sampler(decoder, precision)
            return self._samplers[decoder, precision]

    def _check_pitch_shift(self, decoder: str, semitones: float) -> None:
        if semitones and not isinstance(self.model.decoder(decoder), SourceDecoder):
            raise ConfigError(
                f"pitch shift {semitones:+g}: decoder {decoder!r} of {self.name} has no source whose pitch could be"
                " shifted; leave --pitch-shift out"
            )
        if not abs(semitones) <= MAX_PITCH_SHIFT:
            raise ConfigError(f"pitch shift {semitones:+g}; give -{MAX_PITCH_SHIFT:g} to {MAX_PITCH_SHIFT:g} semitones")

    def _speaker_index(self, name: str) -> int:
        if not self.model.speakers:
            raise BadModelError(f"{self.name} has no speakers, and {name!r} was asked for; leave --speaker out")
        if name not in self.model.speakers:
            raise BadModelError(f"{self.name} has no speaker {name!r}; choose from {', '.join(self.model.speakers)}")
        return self.model.speakers.index(name)

    def _voice(self, header: AudioHeader, speaker: str | None) -> int | None:
        """Index of the speaker to decode with; None for a model without speakers."""
        if speaker is None and not self.model.speakers:
            return None  # a header that names one is then another model's, and was allowed
        name = speaker if speaker is not None else header.speaker
        if name is None:
            known = ", ".join(self.model.speakers)
            raise BadModelError(f"{self.name} needs a speaker and the codes name none; choose with --speaker: {known}")
        return self._speaker_index(name)

    def _check_model(self, header: AudioHeader, source: str, allow_mismatch: bool) -> None:
        if header.sample_rate > MAX_RATE:
            raise BadCodesError(
                f"{source}: sample rate {header.sample_rate} Hz is above {MAX_RATE} Hz; it is no real file"
            )
        shape = (header.model_sample_rate, header.hop_length, list(header.codebook_sizes))
        own = (self.sample_rate, self.hop_length, list(self.model.codebook_sizes[: header.num_quantizers]))
        if shape != own:
            raise ModelMismatchError(
                f"{source}: made by model {header.model} with (rate, hop, codebook sizes) {shape}, which {self.name}"
                f" with {own} can't decode; decode it with its own model"
            )
        if not allow_mismatch:
            check_fingerprint(header, source, self.name, self.fingerprint)


def _checked_waveform(waveform: Tensor | NDArray[Any]) -> Waveform:
    """As float32 `[C, T]`."""
    array = waveform.detach().cpu().numpy() if isinstance(waveform, Tensor) else np.asarray(waveform)
    if array.dtype.kind != "f":
        raise BadAudioError(f"waveform of {array.dtype}; give floats with full scale at 1 (int16: divide by 32768)")
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2 or not 1 <= len(array) <= 255:
        raise BadAudioError(f"waveform of shape {list(array.shape)}; give [channels, samples], 1 to 255 channels")
    if not np.isfinite(array).all():
        raise BadAudioError("waveform holds NaN or infinity; replace them (numpy.nan_to_num) first")
    return np.ascontiguousarray(array, np.float32)


def _sample_range(start: float, duration: float | None, rate: int, num_samples: int) -> tuple[int, int]:
    """Seconds to first sample and the one after the last, cut to what there is."""
    if not start >= 0 or (duration is not None and not duration >= 0):
        raise ConfigError(f"start {start} s, duration {duration} s; both must be 0 or more")
    first = round(min(start * rate, num_samples))  # what is past the end, infinity too, is the end
    end = math.inf if duration is None else (start + duration) * rate
    return first, max(first, round(min(end, num_samples)))
