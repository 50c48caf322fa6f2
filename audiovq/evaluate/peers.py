"""Classic speech codecs for comparison on the same files, by the command-line programs of a Linux distribution.

A name and a mode select each, as in `opus:6`. `python -m pydoc audiovq.evaluate.peers` lists them all.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from audiovq.data.audio import read_audio, write_audio
from audiovq.data.pcm import from_int16, to_int16
from audiovq.errors import BadAudioError
from audiovq.evaluate.containers import amr_payload_bits, ogg_payload_bits
from audiovq.evaluate.neural_peers import LYRA_MODES, from_transformers, lyra
from audiovq.evaluate.roundtrip import Coder
from audiovq.metrics.speech import Waveform

CODEC2_FRAMES = {
    "1300": (7, 52),
    "700C": (4, 28),
    "450": (3, 18),
}  # bytes and bits of a frame; elsewhere all bits count
LPC10_FRAME = (7, 54)  # bytes of a frame of 22.5 ms in sox's file, and bits of it that are codes (FIPS 137)


@dataclass(frozen=True)
class Peer:
    """A family of codecs that a program implements.

    Attributes:
        programs: that must be on the PATH.
        package: Debian's, that has them.
        unit: what a mode stands for.
        modes: that there are; empty: none is given.
        build: mode and the rate of the scores -> the codec.
        probe: a command, and a word that it prints if the program can do it; not all builds can.
    """

    programs: tuple[str, ...]
    package: str
    unit: str
    modes: tuple[str, ...]
    build: Callable[[str, int], Coder]
    probe: tuple[Sequence[str], str] | None = None


class MissingPeerError(Exception):
    """A codec was asked for whose program is not installed; the message says what is missing and how to get it."""


def make_peer(spec: str, rate: int, weights: Mapping[str, Path] | None = None) -> Coder:
    """The codec that `NAME` or `NAME:MODE` asks for; `rate`: of the scores, 16000 or 8000 Hz.

    weights: by name, the folders of networks' weights.

    Raises:
        ValueError: no such name or mode.
        MissingPeerError: it is known, but not installed.
    """
    name, _, mode = spec.partition(":")
    if name in NETWORKS:
        return _network(spec, name, mode, (weights or {}).get(name))
    if name not in PEERS:
        raise ValueError(f"{spec!r}: no such codec; there are {', '.join((*PEERS, *NETWORKS))}")
    peer = PEERS[name]
    if bool(mode) != bool(peer.modes) or (mode and mode not in peer.modes):
        wanted = f"{name}:MODE, with a mode of {', '.join(peer.modes)} ({peer.unit})" if peer.modes else name
        raise ValueError(f"{spec!r}: write {wanted}")
    if missing := [program for program in peer.programs if shutil.which(program) is None]:
        raise MissingPeerError(f"{spec}: {missing[0]} is not installed; install Debian's package {peer.package}")
    if peer.probe is not None:
        command, word = peer.probe
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if word not in (done.stdout + done.stderr).decode(errors="replace"):
            raise MissingPeerError(
                f"{spec}: {command[0]} here can't encode it; install Debian's package {peer.package}"
            )
    return peer.build(mode, rate)


def _network(spec: str, name: str, mode: str, folder: Path | None) -> Coder:
    package, modes, build = NETWORKS[name]
    if mode not in modes:
        raise ValueError(f"{spec!r}: write {name}:MODE, with a mode of {', '.join(modes)} (kbit/s)")
    if folder is None:
        raise MissingPeerError(f"{spec}: name the folder of its weights with --weights {name}=DIR")
    try:
        return build(mode, folder)
    except ImportError as error:
        raise MissingPeerError(f"{spec}: {error.name or error} is not installed; pip install {package}") from None
    except OSError as error:
        raise MissingPeerError(f"{spec}: {' '.join(str(error).split())[:200]}") from None


def _opus(mode: str, rate: int) -> Coder:
    encode = ["opusenc", "--quiet", "--serial", "0", "--bitrate", mode, "in.wav", "coded"]
    decode = ["opusdec", "--quiet", "--no-dither", "--rate", str(rate), "coded", "out.wav"]
    return _by_wav(f"Opus {mode}k", rate, encode, decode, ogg_payload_bits, "Ogg")


def _speex(band: str, coder_rate: int) -> Callable[[str, int], Coder]:
    def build(mode: str, rate: int) -> Coder:
        encode = ["speexenc", f"--{band}", "--quality", mode, "in.wav", "coded"]
        name = f"Speex {'NB' if band == 'narrowband' else 'WB'} q{mode}"
        return _by_wav(name, coder_rate, encode, ["speexdec", "coded", "out.wav"], ogg_payload_bits, "Ogg")

    return build


def _codec2(mode: str, rate: int) -> Coder:
    def encode(folder: Path, waveform: Waveform) -> None:
        (folder / "in.raw").write_bytes(to_int16(waveform).astype("<i2").tobytes())
        _run(["c2enc", mode, "in.raw", "coded"], folder)

    def decode(folder: Path) -> Waveform:
        _run(["c2dec", mode, "coded", "out.raw"], folder)
        return from_int16(np.fromfile(folder / "out.raw", "<i2"))

    size, bits = CODEC2_FRAMES.get(mode, (1, 8))
    container = "whole bytes" if mode in CODEC2_FRAMES else "none"
    return _by_files(f"Codec2 {mode}", 8000, encode, decode, lambda data: len(data) // size * bits, container)


def _amr_nb(mode: str, rate: int) -> Coder:
    number = str(PEERS["amr-nb"].modes.index(mode))
    encode = ["sox", "-D", "in.wav", "-t", "amr-nb", "-C", number, "coded"]
    decode = ["sox", "-D", "-t", "amr-nb", "coded", "out.wav"]
    return _by_wav(f"AMR-NB {mode}", 8000, encode, decode, amr_payload_bits, "AMR")


def _amr_wb(mode: str, rate: int) -> Coder:
    quiet = ["ffmpeg", "-nostdin", "-loglevel", "error"]
    options = ["-c:a", "libvo_amrwbenc", "-b:a", f"{round(1000 * float(mode))}", "-f", "amr"]
    encode = [*quiet, "-i", "in.wav", *options, "coded"]
    decode = [*quiet, "-f", "amr", "-i", "coded", "-c:a", "pcm_s16le", "out.wav"]
    return _by_wav(f"AMR-WB {mode}", 16000, encode, decode, amr_payload_bits, "AMR")


def _lpc10(mode: str, rate: int) -> Coder:
    encode = ["sox", "-D", "in.wav", "-t", "lpc10", "coded"]
    decode = ["sox", "-D", "-t", "lpc10", "coded", "out.wav"]
    size, bits = LPC10_FRAME
    return _by_wav("LPC10", 8000, encode, decode, lambda data: len(data) // size * bits, "whole bytes")


def _original(mode: str, rate: int) -> Coder:
    def encode(waveform: Waveform, speaker: str) -> bytes:
        return to_int16(waveform).astype("<i2").tobytes()

    def decode(data: bytes) -> Waveform:
        return from_int16(np.frombuffer(data, "<i2"))

    return Coder("original", rate, encode, decode, lambda data: 8 * len(data), "none")


def _mulaw(mode: str, rate: int) -> Coder:
    def encode(waveform: Waveform, speaker: str) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, to_int16(waveform), rate, format="WAV", subtype="ULAW")
        return file.getvalue()

    def decode(data: bytes) -> Waveform:
        return np.asarray(soundfile.read(io.BytesIO(data), dtype="float32")[0])

    def samples(data: bytes) -> int:
        return 8 * int(soundfile.info(io.BytesIO(data)).frames)

    return Coder("mu-law", rate, encode, decode, samples, "WAV")


def _by_wav(
    name: str,
    rate: int,
    encode: Sequence[str],
    decode: Sequence[str],
    payload_bits: Callable[[bytes], int],
    container: str,
) -> Coder:
    """Commands that make `coded` of in.wav, and out.wav of `coded`."""

    def write(folder: Path, waveform: Waveform) -> None:
        write_audio(folder / "in.wav", waveform[None], rate)
        _run(encode, folder)

    def read(folder: Path) -> Waveform:
        _run(decode, folder)
        waveform, own_rate = read_audio(folder / "out.wav")
        if own_rate != rate:
            raise BadAudioError(f"{name}: decoded to {own_rate} Hz instead of {rate}; another version is needed")
        return waveform[0]

    return _by_files(name, rate, write, read, payload_bits, container)


def _by_files(
    name: str,
    rate: int,
    encode: Callable[[Path, Waveform], None],
    decode: Callable[[Path], Waveform],
    payload_bits: Callable[[bytes], int],
    container: str,
) -> Coder:
    """Functions that make a file `coded` in a folder of its own, and a waveform of it."""

    def to_bytes(waveform: Waveform, speaker: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            encode(Path(folder), waveform)
            return (Path(folder) / "coded").read_bytes()

    def from_bytes(data: bytes) -> Waveform:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "coded").write_bytes(data)
            return decode(Path(folder))

    return Coder(name, rate, to_bytes, from_bytes, payload_bits, container, exact=False)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise BadAudioError(f"{command[0]} failed: {said[-1]}")


PEERS: dict[str, Peer] = {
    "opus": Peer(("opusenc", "opusdec"), "opus-tools", "kbit/s", tuple(str(k) for k in range(6, 65)), _opus),
    "codec2": Peer(
        ("c2enc", "c2dec"),
        "codec2",
        "bits/s",
        ("3200", "2400", "1600", "1400", "1300", "1200", "700C", "450"),
        _codec2,
    ),
    "speex-nb": Peer(
        ("speexenc", "speexdec"), "speex", "quality", tuple(map(str, range(11))), _speex("narrowband", 8000)
    ),
    "speex-wb": Peer(
        ("speexenc", "speexdec"), "speex", "quality", tuple(map(str, range(11))), _speex("wideband", 16000)
    ),
    "amr-nb": Peer(
        ("sox",),
        "libsox-fmt-base",
        "kbit/s",
        ("4.75", "5.15", "5.90", "6.70", "7.40", "7.95", "10.2", "12.2"),
        _amr_nb,
        (("sox", "--help-format", "amr-nb"), "Writes"),
    ),
    "amr-wb": Peer(
        ("ffmpeg",),
        "ffmpeg with libavcodec-extra",
        "kbit/s",
        ("6.60", "8.85", "12.65", "14.25", "15.85", "18.25", "19.85", "23.05", "23.85"),
        _amr_wb,
        (("ffmpeg", "-hide_banner", "-encoders"), "libvo_amrwbenc"),
    ),
    "lpc10": Peer(("sox",), "sox", "", (), _lpc10),
    "mulaw": Peer((), "", "", (), _mulaw),
    "original": Peer((), "", "", (), _original),
}

# Networks whose weights the user names: package, modes in kbit/s, (mode, folder) -> codec
NETWORKS: dict[str, tuple[str, tuple[str, ...], Callable[[str, Path], Coder]]] = {
    "lyra": ("ai-edge-litert", tuple(LYRA_MODES), lyra),
    "encodec": ("transformers", ("1.5", "3", "6", "12", "24"), partial(from_transformers, "encodec")),
    "dac": ("transformers", ("0.5", "1", "1.5", "2", "3", "6"), partial(from_transformers, "dac")),
    "mimi": ("transformers", ("0.55", "1.1", "2.2", "4.4"), partial(from_transformers, "mimi")),
}
