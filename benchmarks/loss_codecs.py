"""Codecs of `loss.py` whose packets may be lost: the bundled model, Opus by libopus, Codec2 by its programs.

Each makes packets of 100 ms, and sound of those that come, with the concealment that its receivers have.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream import write_codes
from audiovq.codec import Codec, EncodedAudio
from audiovq.codec.conceal import Concealer, fade
from audiovq.data.pcm import from_int16, to_int16

PACKET_SECONDS = 0.1
Waveform = NDArray[np.float32]
Bools = NDArray[np.bool_]
Way = Literal["bridged", "silence", "repetition"]


@dataclass(frozen=True)
class Sent:
    """A recording as packets.

    Attributes:
        packet_bits: of each packet, as it travels.
        receive: which packets are lost, and the bits that flip (of all packets, one after another) -> sound `[T]`.
            A codec whose packets have a checksum never sees a flipped bit: `lost` tells of those too.
    """

    packet_bits: list[int]
    receive: Callable[[Bools, NDArray[np.int64]], Waveform]


@dataclass(frozen=True)
class LossyCodec:
    """A codec to be damaged: `send` takes sound `[T]` at `rate` Hz; `checked`: a packet with a wrong bit is lost."""

    name: str
    rate: int
    send: Callable[[Waveform], Sent]
    checked: bool = True


# The bundled model


def ours(codec: Codec, levels: int, way: Way = "bridged") -> LossyCodec:
    """The codec at so many levels, with its own concealment, or silence or the last frame where packets are lost."""
    name = f"audiovq {codec.bitrates[levels - 1] / 1000:g}k" + ("" if way == "bridged" else f", {way}")
    return LossyCodec(name, codec.sample_rate, partial(_send_codes, codec, levels, way))


def _send_codes(codec: Codec, levels: int, way: Way, sound: Waveform) -> Sent:
    encoded = codec.encode(sound, codec.sample_rate, num_quantizers=levels)
    per_packet = round(PACKET_SECONDS * codec.frame_rate)
    frames = encoded.codes.shape[2]
    packets = -(-frames // per_packet)
    header = replace(encoded.header, frames_per_packet=per_packet)
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as empty:
        size = write_codes(file, header, encoded.codes)
        size -= write_codes(empty, replace(header, num_samples=0), encoded.codes[:, :, :0])  # the header is protected

    def receive(lost: Bools, flips: NDArray[np.int64]) -> Waveform:
        gone = lost.repeat(per_packet)[:frames]
        codes = np.where(gone, -1, encoded.codes)
        if way == "repetition":
            last = np.maximum.accumulate(np.where(gone, 0, np.arange(frames)))
            output = codec.decode(EncodedAudio(encoded.header, encoded.codes[:, :, last]))
            padded = np.pad(output, ((0, 0), (0, frames * codec.hop_length - len(sound))))
            fade(padded, Concealer(1, codec.frame_rate).push(codes)[1], codec.hop_length)
            return padded[0, : len(sound)]
        output = codec.decode(EncodedAudio(encoded.header, codes))[0]
        if way == "silence":
            output[gone.repeat(codec.hop_length)[: len(output)]] = 0
        return output

    return Sent([round(8 * size / packets)] * packets, receive)


# Opus

OPUS_FRAME = 320  # samples of 20 ms at 16 kHz
_VOIP, _GET_LOOKAHEAD, _SET_BITRATE = 2048, 4027, 4002  # of opus_defines.h


def opus(kbps: int) -> LossyCodec:
    """Opus in frames of 20 ms, five to a packet; libopus conceals. OSError without libopus."""
    name = ctypes.util.find_library("opus")
    if name is None:
        raise OSError("libopus is not installed (Debian: libopus0)")
    library = ctypes.CDLL(name)
    library.opus_encoder_create.restype = library.opus_decoder_create.restype = ctypes.c_void_p
    return LossyCodec(f"Opus {kbps}k", 16000, partial(_send_opus, library, kbps))


@contextmanager
def _made(library: ctypes.CDLL, kind: str, *options: int) -> Iterator[ctypes.c_void_p]:
    error = ctypes.c_int()
    state = ctypes.c_void_p(getattr(library, f"opus_{kind}_create")(16000, 1, *options, ctypes.byref(error)))
    if error.value:
        raise OSError(f"libopus makes no {kind}: error {error.value}")
    try:
        yield state
    finally:
        getattr(library, f"opus_{kind}_destroy")(state)


def _send_opus(library: ctypes.CDLL, kbps: int, sound: Waveform) -> Sent:
    delay = ctypes.c_int32()
    per_packet = round(PACKET_SECONDS * 16000) // OPUS_FRAME
    buffer = ctypes.create_string_buffer(1500)
    with _made(library, "encoder", _VOIP) as encoder:
        library.opus_encoder_ctl(encoder, _SET_BITRATE, ctypes.c_int32(1000 * kbps))
        library.opus_encoder_ctl(encoder, _GET_LOOKAHEAD, ctypes.byref(delay))
        padded = np.pad(sound, (0, -(len(sound) + delay.value) % OPUS_FRAME + delay.value))
        frames = []
        for piece in to_int16(padded).reshape(-1, OPUS_FRAME):
            size = library.opus_encode(encoder, np.ascontiguousarray(piece).ctypes, OPUS_FRAME, buffer, len(buffer))
            frames.append(buffer.raw[:size])
    bits = [8 * sum(map(len, frames[i : i + per_packet])) for i in range(0, len(frames), per_packet)]

    def receive(lost: Bools, flips: NDArray[np.int64]) -> Waveform:
        output = np.zeros((len(frames), OPUS_FRAME), np.int16)
        with _made(library, "decoder") as decoder:
            for number, (frame, row) in enumerate(zip(frames, output, strict=True)):
                data = (None, 0) if lost[number // per_packet] else (frame, len(frame))
                library.opus_decode(decoder, *data, row.ctypes, OPUS_FRAME, 0)
        return from_int16(output.reshape(-1)[delay.value :][: len(sound)])

    return Sent(bits, receive)


# Codec2

CODEC2 = {"3200": (8, 0.02), "1300": (7, 0.04), "700C": (4, 0.04)}  # bytes and seconds of a frame


def codec2(mode: str) -> LossyCodec:
    """Codec2 as on the air: no checksum; lost frames are repeated, and fade as ours do. OSError without it."""
    try:
        subprocess.run(["c2enc"], capture_output=True, check=False)
    except FileNotFoundError:
        raise OSError("c2enc is not installed (Debian: codec2)") from None
    return LossyCodec(f"Codec2 {mode}", 8000, partial(_send_codec2, mode), checked=False)


def _send_codec2(mode: str, sound: Waveform) -> Sent:
    size, seconds = CODEC2[mode]
    coded = _through(["c2enc", mode], to_int16(sound).astype("<i2").tobytes())
    frames = np.frombuffer(coded, np.uint8).reshape(-1, size)
    packet_of = ((np.arange(len(frames)) + 0.001) * seconds / PACKET_SECONDS).astype(int)
    bits = (8 * size * np.bincount(packet_of)).tolist()

    def receive(lost: Bools, flips: NDArray[np.int64]) -> Waveform:
        damaged = np.unpackbits(frames.reshape(-1))
        damaged[flips] ^= 1
        gone = lost[packet_of]
        last = np.maximum.accumulate(np.where(gone, 0, np.arange(len(frames))))  # at the beginning: the first, silent
        raw = _through(["c2dec", mode], np.packbits(damaged).reshape(frames.shape)[last].tobytes())
        output = from_int16(np.frombuffer(raw, "<i2")).copy()
        _, gains = Concealer(1, 1 / seconds).push(np.where(gone, -1, 0)[None, None])
        fade(output[None], gains, round(8000 * seconds))
        return np.pad(output[: len(sound)], (0, max(0, len(sound) - len(output))))

    return Sent(bits, receive)


def _through(command: Sequence[str], data: bytes) -> bytes:
    """What a program makes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in").write_bytes(data)
        subprocess.run([*command, "in", "out"], cwd=folder, capture_output=True, check=True)
        return (Path(folder) / "out").read_bytes()
