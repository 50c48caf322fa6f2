"""Mutated files of every coding, their checks mended in half of them: typed errors, or codes that fit the header."""

from __future__ import annotations

import contextlib
import io
import random
import resource
import time
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest

from audiovq.bitstream import AudioHeader, CodesReader, CodesWriter, Coding, ImageHeader
from audiovq.bitstream.header import PREFIX_BYTES, Header, crc_of, header_length
from audiovq.bitstream.media import parse_header
from audiovq.bitstream.packet import Packets
from audiovq.errors import AudioVQError
from audiovq.modelfolder import bundled_models
from audiovq.prior.coder import load_coders

from .conftest import Pipe

CODERS = load_coders(bundled_models()["speech-16k"])
TRACED = 20  # one file of so many has its memory traced
SECONDS = 2.0  # for one file of 1 kB; the search for packets behind a damaged length is bounded (walk.py)


def files() -> list[tuple[bytes, np.ndarray]]:
    """Some kB each, of all codings, known lengths and streams, one and two channels, and an image."""
    found = []
    rng = np.random.default_rng(0)
    for coding in Coding:
        for stream in (False, True):
            channels = 1 + stream
            header: Header = AudioHeader(
                model="speech-16k",
                fingerprint=bytes(range(6)),
                sample_rate=44100,
                num_samples=None if stream else 44100,
                channels=channels,
                model_sample_rate=16000,
                hop_length=320,
                frames_per_packet=20,
                codebook_sizes=(1024, 1024),
                gain_db=-3.0 if stream else None,
                speaker="zoë" if stream else None,
                global_code=b"\xca\xfe" if stream else None,
            )
            if coding in CODERS:
                header = header.coded_by(CODERS[coding])
            codes = np.repeat(rng.integers(0, 1024, (channels, 2, 10)), 5, axis=2)
            found.append((_file(header, codes, 44100 if stream else None), codes))
    image = ImageHeader(
        model="m", fingerprint=bytes(6), height=32, width=40, stride=4, frames_per_packet=30, codebook_sizes=(512, 6)
    )
    codes = np.stack([rng.integers(0, size, (1, 80)) for size in image.codebook_sizes], axis=1)
    found.append((_file(image, codes, None), codes))
    return found


def _file(header: Header, codes: np.ndarray, num_samples: int | None) -> bytes:
    file = io.BytesIO()
    writer = CodesWriter(file, header, CODERS.get(header.coding))
    writer.write(codes)
    writer.close(num_samples)
    return file.getvalue()


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Bits flipped, bytes set, pieces cut out, doubled or moved; sometimes several."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 5))):
        if not out:
            break
        place, size = draw.randrange(len(out)), draw.choice((1, 1, 2, 8, 40))
        match draw.randrange(5):
            case 0:
                out[place] ^= 1 << draw.randrange(8)
            case 1:
                out[place] = draw.choice((0, 1, 127, 240, 241, 249, 255))
            case 2:
                del out[place : place + size]
            case 3:
                out[place:place] = out[place : place + size]
            case _:
                out[place : place + size] = draw.randbytes(size)
    return bytes(out)


def mended(data: bytes) -> bytes:
    """With the CRC of the header and the checks of all packets that can be found made right, as a forger would."""
    try:
        end = header_length(data[:PREFIX_BYTES])
        body = data[: end - 4]
        head = body + zlib.crc32(body).to_bytes(4, "big")
        header = parse_header(head)
    except AudioVQError:
        return data
    packets, rest, index = Packets(header, crc_of(head)), io.BytesIO(data[end:]), 0
    out, done, total = bytearray(head), 0, header.num_frames
    while total is None or done < total:
        frames = None if total is None else min(header.frames_per_packet, total - done)
        start = rest.tell()
        size = packets.size(rest.read, frames)
        if size is None:
            break
        at = rest.tell()
        rest.seek(start)
        packet = bytearray(rest.read(size))
        packet[at - start : at - start + 3] = packets._check(index, packet[: at - start] + packet[at - start + 3 :])
        out += packet
        index, done = index + 1, done + (frames or 1)
    rest_of_file = data[end:][len(out) - len(head) :]
    return bytes(out) + rest_of_file


def read(data: bytes, conceal: bool) -> tuple[Header, np.ndarray]:
    options: dict[str, Any] = {"on_damage": "conceal"} if conceal else {}
    with CodesReader(io.BytesIO(data), lambda header: CODERS.get(header.coding), **options) as reader:
        return reader.header, reader.read()


def read_otherwise(data: bytes, draw: random.Random) -> None:
    """A pipe, a part of a file, its checks alone, or back and forth in it."""
    start, way = draw.choice((0, 3, 21, 49, 2**40)), draw.randrange(5)
    source: Any = Pipe(data) if way < 2 else io.BytesIO(data)
    coder = None if way == 2 else lambda header: CODERS.get(header.coding)
    with contextlib.suppress(AudioVQError), CodesReader(source, coder, on_damage="conceal") as reader:
        match way:
            case 0:
                list(reader.packets())
            case 1 | 3:
                assert reader.read(start, start + 2).shape[2] <= 2
            case 2:
                reader.verify()
            case 4:
                reader.check_reach(start + 9)
                reader.read(start)
                reader.read(0, 1)


def fuzz(count: int, seed: int) -> int:
    """Tries so many files; returns how many could be read."""
    originals, draw, readable = files(), random.Random(seed), 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        original, codes = draw.choice(originals)
        data, forged, conceal = mutated(original, draw), draw.random() < 0.5, draw.random() < 0.5
        data = mended(data) if forged else data
        began = time.process_time()
        if number % TRACED == 0:  # which takes many times as long
            tracemalloc.start()
        try:
            read_otherwise(data, draw)
            header, found = read(data, conceal)
        except AudioVQError:
            continue
        finally:
            assert time.process_time() - began < SECONDS
            if tracemalloc.is_tracing():
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                assert peak < 300_000 + 3_000 * len(data), data.hex()  # 128 codes a byte, twice, of 8 bytes
        readable += 1
        assert found.shape[:2] == (header.channels, header.num_quantizers)
        for level, size in enumerate(header.codebook_sizes):
            assert found[:, level].max(initial=-1) < size
        assert found.size <= 128 * max(len(data), 1)  # codes that a byte of a file can stand for
        if not forged and not conceal and found.shape == codes.shape:
            np.testing.assert_array_equal(found, codes)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 64, f"{grown:.0f} MB"
    return readable


def test_mutated_files() -> None:
    assert fuzz(2_000, seed=0) > 50


@pytest.mark.slow
def test_two_hundred_thousand_mutated_files() -> None:
    assert fuzz(200_000, seed=1) > 5_000


@pytest.mark.parametrize("coding", [Coding.TABLES, Coding.LEARNED])
def test_random_bytes_are_no_codes(coding: Coding) -> None:
    draw, coder = random.Random(0), CODERS[coding]
    for size in (0, 1, 7, 60, 400):
        for _ in range(5):
            with pytest.raises(ValueError, match="no encoder makes"):
                coder.decode(draw.randbytes(size) + b"\0", 1, 2, 20)
