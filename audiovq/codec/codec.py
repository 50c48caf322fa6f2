"""`Codec`: a loaded model and the `.codes` container, from sound to bytes and back. The main class of `audiovq`.

Whatever the model's rate, the decoded sound has the rate, the channels and exactly the number of samples of the input.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio import FeedForwardDecoder, Place
from audiovq.bitstream import AudioHeader, write_codes
from audiovq.codec.autoregressive import SamplingStream, sample_blocks
from audiovq.codec.checks import MAX_CHANNELS, check_pitch_shift, checked_rate, checked_waveform, voice_of
from audiovq.codec.code_streams import CodesStream, FeedForwardStream, Progress, SoundStream, codes_of
from audiovq.codec.conceal import ConcealedStream, Concealer
from audiovq.codec.loading import as_released
from audiovq.codec.loudness import factor, gain_to_target
from audiovq.codec.model import CodecModel
from audiovq.codec.part import Part
from audiovq.codec.sound import Sound, Waveform, sound_of
from audiovq.codec.source import CodesSource, EncodedAudio, FrameSource
from audiovq.codec.streams import PACKET_SECONDS, DecoderStream, EncoderStream
from audiovq.data.resampling import resampled_blocks
from audiovq.errors import BadAudioError


class Codec(CodecModel):
    """Encodes and decodes sound with one model. One codec may do so in several threads at once."""

    # Arrays.

    def encode(
        self,
        waveform: Tensor | NDArray[Any],
        sample_rate: float,
        *,
        bitrate: float | None = None,
        num_quantizers: int | None = None,
        normalize: bool = False,
        speaker: str | None = None,
        coding: str | None = None,
        packet_seconds: float | None = None,
        name: str = "waveform",
        progress: Progress | None = None,
    ) -> EncodedAudio:
        """Sound to codes; channels are coded one by one.

        Args:
            waveform: `[C, T]` or `[T]`, floats of any kind with full scale at 1, any T.
            sample_rate: its rate, Hz, a whole number of whatever type.
            bitrate: bits/s per channel; as many levels are used as fit.
            num_quantizers: levels, instead of a bitrate; by default the model's own choice.
            normalize: bring the loudness to -23 LUFS before coding; `decode` undoes it. The gain looks at the whole
                sound, so without it (the default) codes depend on no later sound than the model's lookahead.
            speaker: name of the model's speaker who is heard, the default voice of `decode`.
            coding: how files hold the codes: packed, or by an entropy coder of the model: tables, the default where
                there are some, or learned, which makes the smallest files.
            packet_seconds: of a file's packets, at most 5: what damage costs, and what a stream waits for.
            name: what messages call the sound.
            progress: called with the frames done and their total after every block.

        Raises:
            BadAudioError: an array that is not such a waveform, or holds NaN or infinity.
            ConfigError: a bitrate or number of levels that the model does not have, or such packet_seconds.
            BadModelError: an unknown speaker, or a coding for which the model has no coder.
        """
        sound = sound_of(checked_waveform(waveform, name), checked_rate(sample_rate), name)
        options: dict[str, Any] = {"bitrate": bitrate, "num_quantizers": num_quantizers, "coding": coding}
        options |= {"normalize": normalize, "speaker": speaker, "packet_seconds": packet_seconds}
        header, blocks = self.encode_pieces(sound, progress=progress, **options)
        codes = np.empty((header.channels, header.num_quantizers, header.num_frames or 0), np.int64)
        place = 0
        for block in blocks:
            codes[:, :, place : place + block.shape[2]] = block
            place += block.shape[2]
        return EncodedAudio(header, codes)

    def encode_pieces(
        self,
        sound: Sound,
        *,
        bitrate: float | None = None,
        num_quantizers: int | None = None,
        normalize: bool = False,
        speaker: str | None = None,
        coding: str | None = None,
        packet_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> tuple[AudioHeader, Iterator[NDArray[np.int64]]]:
        """`encode` of sound that is read as it is coded: the header, and codes `[C, Q, f]` that joined are the same.

        No more than some seconds are held at once. `normalize` reads the sound once more before. Errors of the sound
        may come up in either; options and other errors are those of `encode`.
        """
        levels = self.check(bitrate=bitrate, num_quantizers=num_quantizers, speaker=speaker)
        if sound.channels > MAX_CHANNELS:
            raise BadAudioError(f"{sound.name} has {sound.channels} channels; give 1 to {MAX_CHANNELS}")
        rate = checked_rate(sound.rate)

        def pieces() -> Iterator[Waveform]:
            return resampled_blocks(sound.pieces(), rate, self.sample_rate, sound.channels)

        gain_db = gain_to_target(pieces(), self.sample_rate, sound.channels) if normalize else None
        how: dict[str, Any] = {"sample_rate": rate, "channels": sound.channels, "gain_db": gain_db}
        how |= {"speaker": speaker, "coding": coding, "packet_seconds": packet_seconds}
        header = self.header(sound.num_samples, levels, **how)
        heard = pieces()
        if header.gain_db is not None:  # as the header keeps it
            gain = factor(header.gain_db)
            heard = (piece * gain for piece in heard)
        shape = sound.channels, -(-sound.num_samples * self.sample_rate // rate)
        return header, codes_of(self.model, heard, shape, levels, most_frames=self._block_frames, progress=progress)

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
            encoded: from `encode`, or a `.codes` file as path, bytes or binary file object, or opened already.
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
            conceal: damaged packets are bridged (`audiovq.codec.conceal`), with a warning, instead of an error.
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
        options: dict[str, Any] = {"decoder": decoder, "speaker": speaker, "start": start, "duration": duration}
        options |= {"seed": seed, "precision": precision, "pitch_shift": pitch_shift, "progress": progress}
        with source as frames:
            return self.decode_pieces(frames, allow_mismatch=allow_mismatch, **options).joined()

    def decode_pieces(
        self,
        frames: FrameSource,
        *,
        decoder: str | None = None,
        speaker: str | None = None,
        start: float = 0.0,
        duration: float | None = None,
        seed: int = 0,
        precision: str | None = None,
        pitch_shift: float = 0.0,
        allow_mismatch: bool = False,
        progress: Progress | None = None,
    ) -> Sound:
        """`decode` of codes that are read as they are decoded: the pieces of the sound, joined, are the same.

        No more than some seconds are held at once. Damaged codes raise as the pieces are made; options and other errors
        are those of `decode`.
        """
        part = self._part(frames, speaker, start, duration, allow_mismatch)
        sampler = self._sampler(decoder, precision)
        check_pitch_shift(self.model, decoder, pitch_shift)

        if sampler is not None:
            drawn = partial(sample_blocks, self.model, sampler, [part], seed=seed, progress=progress)
            return _sound(part, lambda: part.finished(blocks[0] for blocks in drawn()))

        def stream_at(frame: int) -> SoundStream:
            place = Place(seed=seed, first_frame=frame, pitch_shift=pitch_shift)
            return self._sound_stream(frames.header.channels, part.speaker, place, decoder, precision)

        context, _ = self.model.decoder_context(decoder) or (0, 0)
        context += Concealer(frames.header.channels, self.frame_rate).memory
        blocks: dict[str, Any] = {"block_frames": self._block_frames, "progress": progress}
        return _sound(part, lambda: part.finished(part.decoded(stream_at, context_frames=context, **blocks)))

    def decode_many(
        self,
        recordings: Sequence[EncodedAudio | CodesSource],
        *,
        speakers: Sequence[str | None] | None = None,
        decoder: str | None = None,
        seed: int = 0,
        precision: str | None = None,
        allow_mismatch: bool = False,
    ) -> list[Waveform]:
        """Whole recordings, each as `decode` gives it alone, sample for sample.

        An autoregressive decoder draws all of them in step, which costs hardly more than the longest alone. Options and
        errors are those of `decode`.

        Args:
            recordings: codes in memory or `.codes` files.
            speakers: of each, the name of the voice, or None for the one that its header names.
        """
        names = [None] * len(recordings) if speakers is None else speakers
        sampler = self._sampler(decoder, precision)
        options: dict[str, Any] = {"decoder": decoder, "seed": seed, "precision": precision}
        with ExitStack() as stack:
            sources = [stack.enter_context(FrameSource(recording)) for recording in recordings]
            named = list(zip(sources, names, strict=True))
            if sampler is None:
                how = options | {"allow_mismatch": allow_mismatch}
                return [self.decode_pieces(frames, speaker=name, **how).joined() for frames, name in named]
            parts = [self._part(frames, name, 0.0, None, allow_mismatch) for frames, name in named]
            drawn: list[list[Waveform]] = [[] for _ in parts]
            for pieces in sample_blocks(self.model, sampler, parts, seed=seed):
                for all_of_one, piece in zip(drawn, pieces, strict=True):
                    all_of_one.append(piece)
            sounds = zip(parts, drawn, strict=True)
            return [_sound(part, partial(part.finished, pieces)).joined() for part, pieces in sounds]

    # Streams.

    @as_released
    def encoder_stream(
        self,
        sample_rate: float,
        channels: int = 1,
        *,
        bitrate: float | None = None,
        num_quantizers: int | None = None,
        speaker: str | None = None,
        coding: str | None = None,
        packet_seconds: float | None = PACKET_SECONDS,
        num_samples: int | None = None,
    ) -> EncoderStream:
        """Sound to the bytes of a `.codes` stream, as it is heard: push samples, and flush at the end.

        The codes are those of `encode`, however the sound is cut. Options and errors are those of `encode`, without
        `normalize`, which would have to know the whole.

        Args:
            channels: 1 to 255.
            packet_seconds: length of a packet; the shorter, the less a sample waits, and the more bytes there are. None
                for that of files.
            num_samples: per channel, where it is known before; the header then says it.

        Raises:
            ConfigError: a length that no packet has.
        """
        levels = self.check(bitrate=bitrate, num_quantizers=num_quantizers, speaker=speaker)
        rate = checked_rate(sample_rate)
        options: dict[str, Any] = {"channels": channels, "speaker": speaker, "packet_seconds": packet_seconds}
        header = self.header(num_samples, levels, sample_rate=rate, coding=coding, **options)
        codes = CodesStream(self.model, channels, levels, most_frames=self._block_frames)
        return EncoderStream(header, codes, self.coder_of(header))

    def decoder_stream(
        self,
        decoder: str | None = None,
        *,
        speaker: str | None = None,
        seed: int = 0,
        precision: str | None = None,
        pitch_shift: float = 0.0,
        allow_mismatch: bool = False,
        conceal: bool = False,
    ) -> DecoderStream:
        """The bytes of a `.codes` file or stream to sound, as they arrive: push bytes, and flush at the end.

        The sound is that of `decode`, however the bytes are cut. Options and errors are those of `decode`; those of
        the header come up as it arrives.
        """
        self._sampler(decoder, precision)
        check_pitch_shift(self.model, decoder, pitch_shift)
        options: dict[str, Any] = {"decoder": decoder, "speaker": speaker, "seed": seed, "precision": precision}
        options |= {"pitch_shift": pitch_shift, "allow_mismatch": allow_mismatch}
        return DecoderStream(partial(self.sound_stream, **options), self.coder_of, conceal=conceal)

    @as_released
    def sound_stream(
        self,
        header: AudioHeader,
        *,
        decoder: str | None = None,
        speaker: str | None = None,
        seed: int = 0,
        precision: str | None = None,
        pitch_shift: float = 0.0,
        allow_mismatch: bool = False,
    ) -> SoundStream:
        """Codes of a recording with this header to sound at the model's rate; options and errors as of `decode`."""
        self._check_header(header, "<stream>", allow_mismatch)
        check_pitch_shift(self.model, decoder, pitch_shift)
        place = Place(seed=seed, pitch_shift=pitch_shift)
        return self._sound_stream(header.channels, voice_of(self.model, header, speaker), place, decoder, precision)

    # Bytes.

    def compress(self, waveform: Tensor | NDArray[Any], sample_rate: float, **options: Any) -> bytes:
        """The bytes of a `.codes` file; `options` and errors as of `encode`."""
        encoded = self.encode(waveform, sample_rate, **options)
        memory = io.BytesIO()
        self.write(memory, encoded)
        return memory.getvalue()

    def write(self, target: str | os.PathLike[str] | IO[bytes], encoded: EncodedAudio, *, force: bool = False) -> int:
        """Codes as a `.codes` file in the coding that their header says; its bytes, and errors as of `write_codes`."""
        return write_codes(target, encoded.header, encoded.codes, self.coder_of(encoded.header), force=force)

    def decompress(self, data: bytes, *, conceal: bool = False, **options: Any) -> tuple[Waveform, int]:
        """Waveform `[C, T]` and sample rate from the bytes of a `.codes` file; `options` and errors as of `decode`."""
        frames = FrameSource(io.BytesIO(data), conceal=conceal)
        return self.decode(frames, **options), frames.header.sample_rate

    def _sound_stream(
        self, channels: int, speaker: int | None, place: Place, decoder: str | None, precision: str | None
    ) -> SoundStream:
        """Codes -> sound at the model's rate, from the frame that `place` names on; a WaveNet begins at the first."""
        module, sampler = self.model.decoder(decoder), self._sampler(decoder, precision)
        stream: SoundStream
        if sampler is not None:
            stream = SamplingStream(self.model, sampler, channels, speaker=speaker, seed=place.seed)
        else:
            assert isinstance(module, FeedForwardDecoder)
            how: dict[str, Any] = {"speaker": speaker, "place": place, "most_frames": self._block_frames}
            stream = FeedForwardStream(self.model, module, channels, **how)
        return ConcealedStream(stream, channels, self.hop_length, self.frame_rate)

    def _part(
        self, frames: FrameSource, speaker: str | None, start: float, duration: float | None, allow_mismatch: bool
    ) -> Part:
        """What is to be decoded, checked against the model."""
        frames.coders = self.coders
        self._check_header(frames.header, frames.name, allow_mismatch)
        return Part.of(frames, voice_of(self.model, frames.header, speaker), start, duration)


def _sound(part: Part, pieces: Callable[[], Iterator[Waveform]]) -> Sound:
    """What becomes of a part."""
    frames = part.frames
    return Sound(frames.name, frames.header.sample_rate, frames.header.channels, part.last - part.first, pieces)
