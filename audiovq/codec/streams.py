"""Streams of bytes: sound of any rate -> a `.codes` stream as it is heard, and such a stream -> sound as it arrives.

`Codec.encoder_stream` and `Codec.decoder_stream` make them. What they give depends on nothing but what was pushed, and
not on how it was cut.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audiovq.bitstream import AudioHeader, CodesReader, CodesWriter, as_audio
from audiovq.bitstream.packet import END, END_BYTES
from audiovq.codec.checks import checked_waveform
from audiovq.codec.code_streams import Codes, CodesStream, SoundStream
from audiovq.codec.loudness import factor
from audiovq.codec.sound import Waveform
from audiovq.data.resampling import Resampler, resampling_delay
from audiovq.errors import BadAudioError, BadCodesError

PACKET_SECONDS = 0.1  # of a stream: how long its first code waits for its last, at some cost in bytes


class EncoderStream:
    """Sound -> the bytes of a `.codes` stream.

    Args:
        header: of a stream.
        codes: to which the sound goes, at the model's rate.

    Attributes:
        header: as it is written.
    """

    def __init__(self, header: AudioHeader, codes: CodesStream) -> None:
        self.header = header
        self._codes = codes
        self._resampler = Resampler(header.sample_rate, header.model_sample_rate, header.channels)
        self._bytes = io.BytesIO()
        self._writer = CodesWriter(self._bytes, header)  # writes the header at once
        self._num_samples = 0
        self._ended = False

    @property
    def latency(self) -> float:
        """Seconds that a sample waits at most until the packet that holds it is out, besides computing."""
        header = self.header
        ahead = header.frames_per_packet * header.hop_length + self._codes.lookahead
        return ahead / header.model_sample_rate + resampling_delay(header.sample_rate, header.model_sample_rate)

    def push(self, samples: Tensor | NDArray[Any]) -> bytes:
        """The next samples `[C, n]` or `[n]`, any n, floats with full scale at 1 -> the packets that they fill.

        The first call gives the header too. Raises BadAudioError for what is no such sound.
        """
        self._check_open()
        sound = checked_waveform(samples, "stream")
        if len(sound) != self.header.channels:
            raise BadAudioError(
                f"{len(sound)} channels in a stream of {self.header.channels}; give [channels, samples]"
            )
        self._num_samples += sound.shape[1]
        for block in self._resampler.blocks(sound):
            self._write(self._codes.blocks(block))
        return self._taken()

    def flush(self) -> bytes:
        """The rest and the stream's end, as the sound ends here; nothing may follow.

        Raises BadAudioError if a length was announced, and it is another.
        """
        self._check_open()
        self._ended = True
        for block in self._resampler.last_blocks():
            self._write(self._codes.blocks(block))
        self._write(iter([self._codes.flush()]))
        if self.header.num_samples not in (None, self._num_samples):
            raise BadAudioError(f"{self._num_samples} samples were pushed, not {self.header.num_samples} as announced")
        self._writer.close(None if self.header.num_samples is not None else self._num_samples)
        return self._taken()

    def _write(self, blocks: Iterator[Codes]) -> None:
        for codes in blocks:
            self._writer.write(codes)

    def _taken(self) -> bytes:
        data = self._bytes.getvalue()
        self._bytes.seek(0)
        self._bytes.truncate()
        return data

    def _check_open(self) -> None:
        if self._ended:
            raise ValueError("the stream was flushed, and nothing can follow; begin another one")


class DecoderStream:
    """The bytes of a `.codes` file or stream -> its sound.

    Args:
        start: called with the header, which it may refuse; gives the stream of sound at the model's rate.
        conceal: a damaged packet is bridged, with a warning at the end, instead of an error.

    Attributes:
        header: None until it has arrived.
        num_samples: per channel; None until it is known, in a stream at its end.
    """

    def __init__(self, start: Callable[[AudioHeader], SoundStream], *, conceal: bool = False) -> None:
        self.header: AudioHeader | None = None
        self.num_samples: int | None = None
        self._start, self._conceal = start, conceal
        self._arrived = _Arrived()
        self._reader: CodesReader | None = None
        self._frames = 0
        self._given = 0  # samples per channel
        self._complete = self._rest_given = self._flushed = False

    @property
    def latency(self) -> float:
        """Seconds that sound lags behind the codes of its packets at most, besides computing; known with the header."""
        if self.header is None:
            raise ValueError("the header has not arrived yet")
        delay = resampling_delay(self.header.model_sample_rate, self.header.sample_rate)
        return (self._sound.lookahead + self._held_back) / self.header.model_sample_rate + delay

    def push(self, data: bytes) -> Waveform:
        """The next bytes, any number -> the sound that can be made of all so far, float32 `[C, n]`.

        Before the header is complete it is `[1, 0]`. Errors are those of `Codec.decode`.
        """
        return self._joined(self.blocks(data))

    def flush(self) -> Waveform:
        """The rest, as nothing follows; none if the end has come. Raises BadCodesError if it has not."""
        return self._joined(self.last_blocks())

    def blocks(self, data: bytes) -> Iterator[Waveform]:
        """What `push` gives, in pieces of some MB: a few bytes of an odd file may be much sound. To be used up."""
        if self._flushed:
            raise ValueError("the stream was flushed, and nothing can follow; begin another one")
        if self._complete and data:
            raise BadCodesError(f"{self._arrived.name}: bytes follow the end of the codes; fetch or encode it again")
        self._arrived.append(data)
        yield from self._packets()

    def last_blocks(self) -> Iterator[Waveform]:
        """What `flush` gives, in such pieces."""
        self._flushed = self._arrived.ended = True
        yield from self._packets()

    def _packets(self) -> Iterator[Waveform]:
        """Sound of the packets that are complete, and all the rest as soon as the end has come."""
        if self._reader is None and not self._open():
            return
        held: list[Codes] = []  # of packets that came together, which the network sees at once
        try:
            for codes in self._codes():
                held.append(codes)
                if sum(part.shape[2] for part in held) >= self._step:
                    yield from self._play(held)
                    held = []
        except BadCodesError:  # what came before damage is heard before it is told
            yield from self._play(held)
            raise
        yield from self._play(held)
        if self._complete and not self._rest_given:
            self._rest_given = True
            yield from self._rest()

    def _codes(self) -> Iterator[Codes]:
        """Codes of packets that are complete, up to the end if that has come."""
        assert self._reader is not None
        while not self._complete:
            self._arrived.mark()
            try:
                codes = self._reader.next_packet()
            except BlockingIOError:
                self._arrived.rewind()
                if not self._has_all():
                    return
                self._arrived.ended = True  # whoever sends may keep the line open, but no sound has to wait for that
                continue
            if codes is None:
                self._complete = True
            else:
                self._frames += codes.shape[2]
                yield codes

    def _has_all(self) -> bool:
        """Whether what has come is a whole file: all frames that the header tells of, or an end marker."""
        assert self.header is not None
        if self.header.num_frames is not None:
            return self._frames == self.header.num_frames and not self._arrived.waiting
        return len(self._arrived.waiting) == END_BYTES and self._arrived.waiting.startswith(END)

    def _rest(self) -> Iterator[Waveform]:
        """Sound that waited for more codes, up to the last sample."""
        assert self._reader is not None
        assert self.header is not None
        self.num_samples = self._reader.num_samples
        assert self.num_samples is not None  # it ended as it must
        whole = -(-self.num_samples * self.header.model_sample_rate // self.header.sample_rate)
        rest = np.concatenate([self._held, self._sound.flush()], axis=1)[:, : whole - self._resampled]
        yield from self._finished(self._resampler.blocks(rest))
        yield from self._finished(self._resampler.last_blocks())
        if lost := self._reader.damaged:
            where = ", ".join(packet.place for packet in lost)
            warnings.warn(f"damaged at {where}; the sound before goes on there, and fades", stacklevel=3)

    def _open(self) -> bool:
        """Read the header, if it is there."""
        self._arrived.mark()
        try:
            reader = CodesReader(self._arrived, on_damage="conceal" if self._conceal else "raise")  # type: ignore[arg-type]
        except BlockingIOError:
            self._arrived.rewind()
            return False
        header = as_audio(reader.header, self._arrived.name)
        self._sound = self._start(header)
        self._reader = reader
        self.header, self.num_samples = header, header.num_samples
        # As the sound may end within the last frame, its samples wait until it is seen not to be the last.
        self._held_back = max(0, header.hop_length - 1 - self._sound.lookahead)
        self._held = np.zeros((header.channels, 0), np.float32)
        self._resampled = 0
        self._resampler = Resampler(header.model_sample_rate, header.sample_rate, header.channels)
        self._gain = np.float32(1.0) if header.gain_db is None else factor(header.gain_db)
        self._step = max(1, _MOST_VALUES // (header.channels * header.hop_length))
        return True

    def _play(self, packets: list[Codes]) -> Iterator[Waveform]:
        """Sound of codes, but for samples that may lie behind the end."""
        codes = np.concatenate(packets, axis=2) if packets else None
        for first in range(0, 0 if codes is None else codes.shape[2], self._step):
            assert codes is not None
            sound = np.concatenate([self._held, self._sound.push(codes[:, :, first : first + self._step])], axis=1)
            ready = max(0, sound.shape[1] - self._held_back)
            self._held = sound[:, ready:]
            self._resampled += ready
            yield from self._finished(self._resampler.blocks(sound[:, :ready]))

    def _finished(self, blocks: Iterator[Waveform]) -> Iterator[Waveform]:
        for block in blocks:
            block = block / self._gain
            left = block.shape[1] if self.num_samples is None else self.num_samples - self._given
            self._given += min(left, block.shape[1])
            yield block[:, :left]

    def _joined(self, blocks: Iterator[Waveform]) -> Waveform:
        made = list(blocks)
        channels = 1 if self.header is None else self.header.channels
        return np.concatenate([np.zeros((channels, 0), np.float32), *made], axis=1)


_MOST_VALUES = 1 << 20  # samples of all channels that are made at once


class _Arrived:
    """Bytes that have come so far, as a file: what has not come yet is None, and a read can be taken back."""

    name = "<stream>"

    def __init__(self) -> None:
        self._data = bytearray()
        self._place = 0
        self.ended = False

    @property
    def waiting(self) -> bytearray:
        """What was not read yet, if the place is the mark."""
        return self._data

    def append(self, data: bytes) -> None:
        self._data += data

    def mark(self) -> None:
        """Forget what was read."""
        del self._data[: self._place]
        self._place = 0

    def rewind(self) -> None:
        """Back to the mark."""
        self._place = 0

    def read(self, count: int) -> bytes | None:
        if not self.ended and self._place + count > len(self._data):
            return None
        data = bytes(self._data[self._place : self._place + count])
        self._place += len(data)
        return data
