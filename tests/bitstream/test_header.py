"""The header: round trips, limits, and refusal of what this version cannot read."""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiovq.bitstream import (
    AudioHeader,
    Coding,
    ImageHeader,
    audio_packet_frames,
    describe,
    image_packet_frames,
    parse_header,
)
from audiovq.bitstream.fields import RATES, read_varint, varint
from audiovq.bitstream.header import MAX_PAYLOAD_BYTES, PREFIX_BYTES, Header, header_length
from audiovq.errors import BadCodesError

names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60)
recordings = st.builds(
    AudioHeader,
    model=names,
    fingerprint=st.binary(min_size=6, max_size=6),
    sample_rate=st.integers(1, 2**32 - 1) | st.sampled_from(RATES[1:]),
    channels=st.integers(1, 255),
    num_samples=st.none() | st.integers(0, 2**64 - 1),
    model_sample_rate=st.integers(2**16, 2**32 - 1) | st.sampled_from(RATES[4:]),
    hop_length=st.integers(1, 1600),
    frames_per_packet=st.integers(1, 50),
    codebook_sizes=st.lists(st.integers(2, 2**24), min_size=1, max_size=6).map(tuple),
    gain_db=st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
    speaker=st.none() | names,
    global_code=st.none() | st.binary(min_size=1, max_size=300),
)
images = st.builds(
    ImageHeader,
    model=names,
    fingerprint=st.binary(min_size=6, max_size=6),
    height=st.integers(1, 2**32 - 1),
    width=st.integers(1, 2**32 - 1),
    stride=st.integers(1, 2**16 - 1),
    frames_per_packet=st.integers(1, 10000),
    codebook_sizes=st.lists(st.integers(2, 2**24), min_size=1, max_size=6).map(tuple),
)


@settings(deadline=None, derandomize=True)  # the same examples in every run, however busy the machine
@given(recordings | images, st.none() | st.sampled_from([Coding.TABLES, Coding.LEARNED]))
def test_header_read_equals_header_written(header: Header, coding: Coding | None) -> None:
    if coding is not None:
        header = replace(header, coding=coding, coder=b"code")
    data = header.to_bytes()
    assert header_length(data[:PREFIX_BYTES]) == len(data)
    assert parse_header(data) == header


@settings(deadline=None, derandomize=True)  # the same examples in every run, however busy the machine
@given(recordings)
def test_frames_are_the_ceiling_of_the_resampled_length_over_the_hop(header: AudioHeader) -> None:
    samples = header.num_samples or 0
    resampled = math.ceil(Fraction(samples * header.model_sample_rate, header.sample_rate))
    assert header.frames_for(samples) == math.ceil(Fraction(resampled, header.hop_length))


@settings(deadline=None, derandomize=True)
@given(images)
def test_grid_is_the_ceiling_of_the_sides_over_the_stride(header: ImageHeader) -> None:
    sides = (header.height, header.width)
    assert header.grid == tuple(math.ceil(Fraction(side, header.stride)) for side in sides)
    assert header.num_frames == header.grid[0] * header.grid[1]


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 2**20), st.integers(1, 2**20), st.lists(st.integers(2, 2**24), min_size=1, max_size=40))
def test_packets_of_an_image_are_few_whole_rows(rows: int, columns: int, sizes: list[int]) -> None:
    frames = image_packet_frames((rows, columns), sizes)
    header = ImageHeader(model="m", fingerprint=bytes(6), height=rows, width=columns, stride=1,
                         frames_per_packet=frames, codebook_sizes=tuple(sizes))  # fmt: skip
    payload = header.payload_bytes(frames)
    assert payload <= MAX_PAYLOAD_BYTES
    if frames % columns:  # only where a row fits into no packet
        assert frames < columns
        assert frames == 65535 or header.payload_bytes(frames + 1) > MAX_PAYLOAD_BYTES
    else:
        assert payload >= 160 or frames == rows * columns
        assert frames == columns or (frames - columns) * sum(header.widths) < 8 * 160


def test_header_of_a_plain_speech_file_has_at_most_40_bytes(make_header: Callable[..., AudioHeader]) -> None:
    header = make_header(model="speech-16k", channels=1, codebook_sizes=(1024,) * 2, frames_per_packet=240)
    for minutes, size in ((0.05, 39), (15, 40), (180, 41)):
        header = replace(header, num_samples=int(minutes * 60 * 16000), coding=Coding.TABLES, coder=b"code")
        assert len(header.to_bytes()) == size


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 2**64 - 1) | st.sampled_from([240, 241, 2287, 2288, 67823, 67824, 2**24 - 1, 2**24, 2**64 - 1]))
def test_a_varint_is_what_sqlite4_writes(value: int) -> None:
    data = varint(value)
    first = data[0]
    if first <= 240:
        plain = first
    elif first <= 248:
        plain = 240 + 256 * (first - 241) + data[1]
    elif first == 249:
        plain = 2288 + 256 * data[1] + data[2]
    else:
        plain = int.from_bytes(data[1:], "big")
        assert len(data) == first - 246
    assert plain == value
    assert read_varint(io.BytesIO(data + b"more").read) == (value, data)
    assert read_varint(io.BytesIO(data[:-1]).read)[0] is None


@pytest.mark.parametrize("data", [b"\xf9\x00", b"\xfa\x00\x00\x05", b"\xff" + bytes(8), b"\xfb\x00\x00\x00\xff", b""])
def test_a_number_in_more_bytes_than_it_needs_is_none(data: bytes) -> None:
    assert read_varint(io.BytesIO(data).read) == (None, data)


@settings(deadline=None, derandomize=True)
@given(
    seconds=st.floats(0.001, 5),
    rate=st.sampled_from([8000, 16000, 48000, 4294967295]),
    hop=st.integers(1, 65535),
    sizes=st.lists(st.integers(2, 2**24), min_size=1, max_size=255),
    channels=st.integers(1, 255),
)
def test_packets_of_a_recording_fit_the_format(
    seconds: float, rate: int, hop: int, sizes: list[int], channels: int
) -> None:
    shape = {"model_sample_rate": rate, "hop_length": hop, "codebook_sizes": tuple(sizes), "channels": channels}
    frames = audio_packet_frames(seconds, **shape)
    if frames > 1:
        assert abs(frames * hop / rate - seconds) <= hop / rate or frames < seconds * rate / hop
    AudioHeader(model="m", fingerprint=bytes(6), sample_rate=1, num_samples=0, frames_per_packet=frames, **shape)


def test_gain_is_kept_as_float32_in_both_places(make_header: Callable[..., AudioHeader]) -> None:
    header = make_header(gain_db=-3.1)
    assert header.gain_db == struct.unpack("<f", struct.pack("<f", -3.1))[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": 0}, "sample rate 0"),
        ({"channels": 256}, "channel count 256"),
        ({"hop_length": 65536}, "hop length"),
        ({"frames_per_packet": 0}, "frames per packet 0"),
        ({"frames_per_packet": 250, "channels": 255, "codebook_sizes": (1024,) * 32}, "packet payload"),
        ({"num_samples": -1}, "sample count -1"),
        ({"num_samples": 2**64}, "sample count"),
        ({"frames_per_packet": 251}, "frames per packet, of at most 5 s, 251; wanted 1 to 250"),
        ({"codebook_sizes": ()}, "number of levels 0"),
        ({"codebook_sizes": (512, 1)}, "codebook size 1"),
        ({"codebook_sizes": (2**24 + 1,)}, "codebook size"),
        ({"model": ""}, "model name"),
        ({"model": "a\x1b[2Jb"}, "printable"),
        ({"model": "\ud800"}, "printable"),
        ({"speaker": "é" * 128}, "speaker name"),
        ({"fingerprint": bytes(32)}, "fingerprint length in bytes 32; wanted 6"),
        ({"gain_db": math.inf}, "gain inf"),
        ({"gain_db": 1e300}, "gain inf"),
        ({"global_code": b""}, "global code length"),
        ({"global_code": bytes(5000)}, "global code length"),
        ({"global_code": bytes(4090)}, "length in bytes"),
        ({"coding": 3}, "coding 3.*update"),
        ({"coding": 1}, "coder's fingerprint length in bytes 0; wanted 4"),
        ({"coder": b"code"}, "coder's fingerprint length in bytes 4; wanted 0"),
    ],
)
def test_values_outside_the_format_are_refused(
    make_header: Callable[..., AudioHeader], change: dict, message: str
) -> None:
    with pytest.raises(BadCodesError, match=message):
        make_header(**change)


def forge(data: bytes, offset: int, new: bytes, insert: bool = False) -> bytes:
    """A header with bytes changed or inserted, its length and CRC made right again."""
    body = bytearray(data[:-4])
    body[offset : offset + (0 if insert else len(new))] = new
    body[4] = len(body) - 1
    return bytes(body) + struct.pack(">I", zlib.crc32(body))


@pytest.mark.parametrize(
    ("offset", "new", "insert", "message"),
    [
        (3, b"\x02", False, "version 2.*reads version 1"),
        (5, b"\x84", False, "unknown flags 0x10.*newer"),  # an image with the flag of channels
        (5, b"\x83", False, "coding 3.*update"),
        (5, b"\x81", False, "ends inside the coder's fingerprint"),
        (5, b"\x88", False, "ends inside the gain"),
        (5, b"\x90", False, "ends inside the speaker name"),
        (5, b"\xa0", False, "ends inside the global code"),
        (6, b"\xd4", False, "rate number 13.*update"),
        (6, b"\x04\x00", False, "sample rate 0"),
        (6, b"\x04\xfa\x00\x3e\x80", False, "rates is written in more bytes"),
        (10, b"\x00", False, "channel count 0"),
        (10, b"\x01", False, "holds the same in other bytes"),
        (20, b"\xff", False, "ends inside the model name"),
        (21, b"\xff", False, "model name is not UTF-8"),
        (21, b"\n", False, "printable"),
        (25, b"\x00", False, "bytes after its last field"),
        (29, b"\x80", False, "ends inside the levels"),
        (31, b"\x00", True, "1 bytes after its last field"),
    ],
)
def test_forged_header_with_a_right_crc_is_refused(
    make_header: Callable[..., AudioHeader], offset: int, new: bytes, insert: bool, message: str
) -> None:
    data = make_header().to_bytes()
    assert len(data) == 35
    assert forge(data, 0, b"\x89") == data
    with pytest.raises(BadCodesError, match=message):
        parse_header(forge(data, offset, new, insert))


@pytest.mark.parametrize("length", [0, 14, 4091, 65535])
def test_header_length_out_of_bounds_is_refused_before_reading(length: int) -> None:
    whole = 4 + len(varint(length)) + length
    with pytest.raises(BadCodesError, match=f"length of {whole} bytes"):
        header_length(b"\x89VQ\x01" + varint(length).ljust(3, b"\0"))


def test_description_is_json_and_counts_bytes_on_disk(make_header: Callable[..., AudioHeader]) -> None:
    header = make_header(num_samples=32000, speaker="p225", gain_db=1.5)
    told = json.loads(json.dumps(describe(header, num_bytes=1000)))
    assert told["seconds"] == 2.0
    assert told["bitrate_bps"] == 4000.0
    assert told["code_bitrate_bps"] == 2 * (10 + 9 + 3) * 50
    assert (told["num_frames"], told["num_packets"]) == (100, 25)
    assert (told["speaker"], told["gain_db"], told["fingerprint"]) == ("p225", 1.5, "000102030405")
    assert describe(make_header(num_samples=None), num_bytes=1000)["bitrate_bps"] is None
    assert describe(make_header(num_samples=0), num_bytes=1000)["bitrate_bps"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"height": 0}, "height 0"),
        ({"width": 2**32}, "width 4294967296"),
        ({"stride": 0}, "stride 0"),
        ({"stride": 2**16}, "stride 65536"),
        ({"frames_per_packet": 0}, "frames per packet 0"),
        ({"frames_per_packet": 65535, "codebook_sizes": (2**24,) * 4}, "packet payload"),
        ({"codebook_sizes": (1,)}, "codebook size 1"),
        ({"model": ""}, "model name"),
        ({"coding": 3}, "coding 3.*update"),
    ],
)
def test_values_outside_the_format_are_refused_of_images(
    make_image_header: Callable[..., ImageHeader], change: dict, message: str
) -> None:
    with pytest.raises(BadCodesError, match=message):
        make_image_header(**change)


@pytest.mark.parametrize(
    ("offset", "new", "insert", "message"),
    [
        (5, b"\x0c", False, "unknown flags 0x01.*newer"),
        (6, bytes(1), False, "height 0"),
        (8, bytes(1), False, "stride 0"),
        (9, bytes(1), False, "frames per packet 0"),
        (16, b"\xff", False, "ends inside the model name"),
        (24, b"\x00", True, "1 bytes after its last field"),
    ],
)
def test_forged_header_of_an_image_is_refused(
    make_image_header: Callable[..., ImageHeader], offset: int, new: bytes, insert: bool, message: str
) -> None:
    data = make_image_header().to_bytes()
    assert len(data) == 28
    with pytest.raises(BadCodesError, match=message):
        parse_header(forge(data, offset, new, insert))


def test_description_of_an_image_counts_its_pixels(make_image_header: Callable[..., ImageHeader]) -> None:
    told = json.loads(json.dumps(describe(make_image_header(), num_bytes=490)))
    assert (told["media"], told["height"], told["width"], told["stride"]) == ("image", 35, 7, 4)
    assert (told["grid_height"], told["grid_width"], told["num_frames"], told["num_packets"]) == (9, 2, 18, 5)
    assert told["bits_per_pixel"] == 490 * 8 / (35 * 7)
    assert told["code_bits_per_pixel"] == 18 * 12 / (35 * 7)
    assert describe(make_image_header())["bits_per_pixel"] is None
