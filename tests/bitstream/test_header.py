"""The header: round trips, limits, and refusal of what this version cannot read."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiovq.bitstream import AudioHeader, ImageHeader, describe, packet_frames, parse_header
from audiovq.bitstream.header import MAX_PAYLOAD_BYTES, PREFIX_BYTES, Header, header_length
from audiovq.errors import BadCodesError

names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=60)
recordings = st.builds(
    AudioHeader,
    model=names,
    fingerprint=st.binary(min_size=8, max_size=8),
    sample_rate=st.integers(1, 2**32 - 1),
    channels=st.integers(1, 255),
    num_samples=st.none() | st.integers(0, 2**64 - 2),
    model_sample_rate=st.integers(1, 2**32 - 1),
    hop_length=st.integers(1, 2**16 - 1),
    frames_per_packet=st.integers(1, 50),
    codebook_sizes=st.lists(st.integers(2, 2**24), min_size=1, max_size=6).map(tuple),
    gain_db=st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32),
    speaker=st.none() | names,
    global_code=st.none() | st.binary(min_size=1, max_size=300),
)
images = st.builds(
    ImageHeader,
    model=names,
    fingerprint=st.binary(min_size=8, max_size=8),
    height=st.integers(1, 2**32 - 1),
    width=st.integers(1, 2**32 - 1),
    stride=st.integers(1, 2**16 - 1),
    frames_per_packet=st.integers(1, 10000),
    codebook_sizes=st.lists(st.integers(2, 2**24), min_size=1, max_size=6).map(tuple),
)


@settings(deadline=None, derandomize=True)  # the same examples in every run, however busy the machine
@given(recordings | images)
def test_header_read_equals_header_written(header: Header) -> None:
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
    frames = packet_frames((rows, columns), sizes)
    header = ImageHeader(model="m", fingerprint=bytes(8), height=rows, width=columns, stride=1,
                         frames_per_packet=frames, codebook_sizes=tuple(sizes))  # fmt: skip
    payload = header.payload_bytes(frames)
    assert payload <= MAX_PAYLOAD_BYTES
    if frames % columns:  # only where a row fits into no packet
        assert frames < columns
        assert frames == 65535 or header.payload_bytes(frames + 1) > MAX_PAYLOAD_BYTES
    else:
        assert payload >= 128 or frames == rows * columns
        assert frames == columns or (frames - columns) * sum(header.widths) < 8 * 128


def test_header_of_a_plain_speech_file_is_under_70_bytes(make_header: Callable[..., AudioHeader]) -> None:
    header = make_header(model="speech-16k", channels=1, codebook_sizes=(1024,) * 8, gain_db=-3.0)
    assert len(header.to_bytes()) < 70


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
        ({"frames_per_packet": 65535, "channels": 255}, "packet payload"),
        ({"num_samples": -1}, "sample count -1"),
        ({"num_samples": 2**64 - 1}, "sample count"),
        ({"codebook_sizes": ()}, "number of levels 0"),
        ({"codebook_sizes": (512, 1)}, "codebook size 1"),
        ({"codebook_sizes": (2**24 + 1,)}, "codebook size"),
        ({"model": ""}, "model name"),
        ({"model": "a\x1b[2Jb"}, "printable"),
        ({"model": "\ud800"}, "printable"),
        ({"speaker": "é" * 128}, "speaker name"),
        ({"fingerprint": bytes(32)}, "fingerprint length in bytes 32; wanted 8"),
        ({"gain_db": math.inf}, "gain inf"),
        ({"gain_db": 1e300}, "gain inf"),
        ({"global_code": b""}, "global code length"),
        ({"global_code": bytes(5000)}, "global code length"),
        ({"global_code": bytes(4090)}, "length in bytes"),
        ({"coding": 1}, "coding 1.*update"),
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
    body[5:7] = struct.pack("<H", len(body) + 4)
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize(
    ("offset", "new", "insert", "message"),
    [
        (4, b"\x02", False, "version 2.*reads version 1"),
        (7, b"\x02", False, "media kind 2.*update"),
        (7, b"\x01", False, "28 bytes after its last field"),  # read as an image's
        (8, b"\x01", False, "coding 1"),
        (9, b"\x08", False, "unknown flags 0x08.*newer"),
        (9, b"\x01", False, "ends inside the gain"),
        (9, b"\x02", False, "ends inside the speaker name"),
        (10, bytes(4), False, "sample rate 0"),
        (22, b"\x00", False, "channel count 0"),
        (39, b"\xff", False, "ends inside the model name"),
        (40, b"\xff", False, "model name is not UTF-8"),
        (40, b"\n", False, "printable"),
        (44, b"\x00", False, "bytes after its last field"),
        (44, b"\xff", False, "ends inside the levels"),
        (60, b"\x00", True, "1 bytes after its last field"),
    ],
)
def test_forged_header_with_a_right_crc_is_refused(
    make_header: Callable[..., AudioHeader], offset: int, new: bytes, insert: bool, message: str
) -> None:
    data = make_header().to_bytes()
    assert len(data) == 64
    assert forge(data, 0, b"\x89") == data
    with pytest.raises(BadCodesError, match=message):
        parse_header(forge(data, offset, new, insert))


@pytest.mark.parametrize("length", [0, 7, 13, 4097, 65535])
def test_header_length_out_of_bounds_is_refused_before_reading(length: int) -> None:
    with pytest.raises(BadCodesError, match=f"length of {length} bytes"):
        header_length(struct.pack("<4sBH", b"\x89AVQ", 1, length))


def test_description_is_json_and_counts_bytes_on_disk(make_header: Callable[..., AudioHeader]) -> None:
    header = make_header(num_samples=32000, speaker="p225", gain_db=1.5)
    told = json.loads(json.dumps(describe(header, num_bytes=1000)))
    assert told["seconds"] == 2.0
    assert told["bitrate_bps"] == 4000.0
    assert told["code_bitrate_bps"] == 2 * (10 + 9 + 3) * 50
    assert (told["num_frames"], told["num_packets"]) == (100, 25)
    assert (told["speaker"], told["gain_db"], told["fingerprint"]) == ("p225", 1.5, "0001020304050607")
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
        ({"coding": 1}, "coding 1.*update"),
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
        (7, b"\x00", False, "header"),  # read as a recording's
        (9, b"\x01", False, "unknown flags 0x01.*newer"),
        (10, bytes(4), False, "height 0"),
        (18, bytes(2), False, "stride 0"),
        (20, bytes(2), False, "frames per packet 0"),
        (30, b"\xff", False, "ends inside the model name"),
        (46, b"\x00", True, "1 bytes after its last field"),
    ],
)
def test_forged_header_of_an_image_is_refused(
    make_image_header: Callable[..., ImageHeader], offset: int, new: bytes, insert: bool, message: str
) -> None:
    data = make_image_header().to_bytes()
    assert len(data) == 50
    with pytest.raises(BadCodesError, match=message):
        parse_header(forge(data, offset, new, insert))


def test_description_of_an_image_counts_its_pixels(make_image_header: Callable[..., ImageHeader]) -> None:
    told = json.loads(json.dumps(describe(make_image_header(), num_bytes=490)))
    assert (told["media"], told["height"], told["width"], told["stride"]) == ("image", 35, 7, 4)
    assert (told["grid_height"], told["grid_width"], told["num_frames"], told["num_packets"]) == (9, 2, 18, 5)
    assert told["bits_per_pixel"] == 490 * 8 / (35 * 7)
    assert told["code_bits_per_pixel"] == 18 * 12 / (35 * 7)
    assert describe(make_image_header())["bits_per_pixel"] is None
