"""Files that were flipped, cut, forged or shuffled: always found out, and no more lost than need be."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audiovq.bitstream import AudioHeader, CodesReader, Header, ImageHeader, read_codes
from audiovq.bitstream.packet import encode_end, encode_packet
from audiovq.errors import BadCodesError

Make = Callable[..., Any]


@pytest.fixture(scope="module", params=["known length", "stream", "image"])
def small(
    request: pytest.FixtureRequest, make_header: Make, make_image_header: Make, random_codes: Make, encode: Make
) -> tuple[bytes, np.ndarray, Header]:
    """A file of 18 frames: four full packets and a short one."""
    header = make_image_header() if request.param == "image" else make_header()
    codes = random_codes(header)
    if request.param == "stream":
        stream = make_header(num_samples=None)
        return encode(stream, codes, header.num_samples), codes, stream
    return encode(header, codes), codes, header


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    for place in range(len(data)):
        for bit in range(8):
            yield place, data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def packet_of(place: int, header: Header) -> int:
    return (place - len(header.to_bytes())) // (5 + header.payload_bytes(header.frames_per_packet))


def test_every_flipped_bit_is_found(small: tuple, pipe: Make) -> None:
    data, _, _ = small
    for _, flipped in flips(data):
        with pytest.raises(BadCodesError, match="<stream>"):
            read_codes(io.BytesIO(flipped))
        with pytest.raises(BadCodesError, match="<stream>"):
            read_codes(pipe(flipped))


def test_concealing_loses_only_the_damaged_packet(small: tuple) -> None:
    data, codes, header = small
    end = len(data) - (13 if header.num_frames is None else 0)
    body = len(header.to_bytes())
    for place, flipped in flips(data):
        if not body <= place < end:  # the header and the end marker can't be missed
            with pytest.raises(BadCodesError):
                CodesReader(io.BytesIO(flipped), on_damage="conceal").read()
            continue
        reader = CodesReader(io.BytesIO(flipped), on_damage="conceal")
        index = packet_of(place, header)
        wanted = codes.copy()
        wanted[:, :, 4 * index : 4 * index + 4] = -1
        np.testing.assert_array_equal(reader.read(), wanted)
        assert [(lost.index, lost.start_frame, lost.stop_frame) for lost in reader.damaged] == [
            (index, 4 * index, min(4 * index + 4, 18))
        ]
        assert CodesReader(io.BytesIO(flipped)).verify() == reader.damaged


def test_concealing_in_a_pipe_never_gives_wrong_codes(small: tuple, pipe: Make) -> None:
    data, codes, header = small
    for place, flipped in flips(data):
        reader = None
        try:
            reader = CodesReader(pipe(flipped), on_damage="conceal")
            found = reader.read()
        except BadCodesError:
            # Only where boundaries hang on the damaged bytes: header; in a stream end marker, kinds, the short packet.
            index = packet_of(place, header)
            kind = (place - len(header.to_bytes())) % (5 + header.payload_bytes(4)) == 0
            assert reader is None or (header.num_frames is None and (index >= 4 or kind))
            continue
        lost = (found == -1).all(axis=(0, 1))
        assert found.shape == codes.shape
        assert lost.sum() == (4 if packet_of(place, header) < 4 else 2)
        np.testing.assert_array_equal(found[:, :, ~lost], codes[:, :, ~lost])


def test_every_truncation_is_found_and_names_its_place(small: tuple, pipe: Make) -> None:
    data, codes, header = small
    body = len(header.to_bytes())
    for length in range(len(data)):
        place, whole = "truncated in the header" if length else "is empty", 0
        if length >= body:
            index = 5 if length >= len(data) - 13 and header.num_frames is None else packet_of(length, header)
            whole = min(4 * index, 18)
            mend = f"decode the {whole} frames before" if isinstance(header, AudioHeader) else "encode it again"
            place = rf"truncated in packet {index}.* at {header.place(whole)} .* {mend}"
        for source in (io.BytesIO(data[:length]), pipe(data[:length])):
            with pytest.raises(BadCodesError, match=place):
                read_codes(source)
        if length >= body:  # what stands before the cut can be read, concealing or not
            np.testing.assert_array_equal(CodesReader(io.BytesIO(data[:length])).read(0, whole), codes[:, :, :whole])
            with pytest.raises(BadCodesError, match="truncated"):
                CodesReader(io.BytesIO(data[:length]), on_damage="conceal").read()


def test_truncation_is_named_where_it_is_even_after_a_seek_beyond_it(small: tuple) -> None:
    data, _, header = small
    cut = data[: len(header.to_bytes()) + 5 + header.payload_bytes(4) + 1]
    with pytest.raises(BadCodesError, match=rf"truncated in packet 1.* at {header.place(4)} "):
        CodesReader(io.BytesIO(cut)).read(13, 14)


def test_message_names_the_file_the_packet_and_its_place(small: tuple, tmp_path: Any) -> None:
    data, _, header = small
    size = 5 + header.payload_bytes(4)
    damaged = bytearray(data)
    damaged[len(header.to_bytes()) + 2 * size + 9] ^= 1
    path = tmp_path / "talk.codes"
    path.write_bytes(damaged)
    place = "rows 4 to 5" if isinstance(header, ImageHeader) else r"0\.16 to 0\.24 s"
    with pytest.raises(BadCodesError, match=rf"talk\.codes: packet 2 of 5, {place}, is damaged: its CRC-32"):
        read_codes(path)
    with CodesReader(path) as reader:  # other frames are not touched by it
        assert reader.read(12, 16).min() >= 0


def test_bytes_after_the_end_are_refused(small: tuple, pipe: Make) -> None:
    data, _, header = small
    with pytest.raises(BadCodesError, match="bytes follow the end"):
        read_codes(pipe(data + b"\0"))
    # At the end of a seekable stream nothing but its marker is looked for: with bytes after it, it is read forwards.
    reader = CodesReader(io.BytesIO(data + b"\0"))
    assert reader.num_frames == header.num_frames
    with pytest.raises(BadCodesError, match="bytes follow the end"):
        reader.read()


def test_moved_and_foreign_packets_are_found(small: tuple, encode: Make) -> None:
    data, codes, header = small
    body, size = len(header.to_bytes()), 5 + header.payload_bytes(4)
    first, second = data[body : body + size], data[body + size : body + 2 * size]
    swapped = data[:body] + second + first + data[body + 2 * size :]
    assert [lost.index for lost in CodesReader(io.BytesIO(swapped)).verify()] == [0, 1]
    renamed = replace(header, model="tony")
    other = encode(renamed, codes, 18 * 320 if header.num_frames is None else None)
    foreign = data[:body] + other[body : body + size] + data[body + size :]
    assert [lost.index for lost in CodesReader(io.BytesIO(foreign)).verify()] == [0]


def test_whole_file_verifies(small: tuple, pipe: Make) -> None:
    data, _, _ = small
    assert CodesReader(io.BytesIO(data)).verify() == []
    assert CodesReader(pipe(data)).verify() == []


@pytest.mark.parametrize("data", [b"", b"RIFF\x24\0\0\0WAVE", b"\x89PNG\r\n\x1a\n" + bytes(60), bytes(100), b"{}"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(BadCodesError, match=r"not a \.codes file"):
        read_codes(io.BytesIO(data))


def forged_packet(header: Header, codes: np.ndarray, spare: int = 0) -> bytes:
    """Packet 0 with codes that no honest writer makes, its CRC right."""
    data = header.to_bytes()
    crc = struct.unpack("<I", data[-4:])[0]
    packet = bytearray(encode_packet(header, crc, 0, codes))
    packet[-1] |= spare
    head = packet[: len(packet) - header.payload_bytes(codes.shape[2]) - 4]
    payload = packet[len(head) + 4 :]
    right = zlib.crc32(struct.pack("<IQ", crc, 0) + head + payload)
    return data + head + struct.pack("<I", right) + payload


def test_codes_beyond_their_codebook_are_damage_though_the_crc_is_right(make_header: Make) -> None:
    header = make_header(num_samples=3 * 320, codebook_sizes=(8, 6), channels=1)
    codes = np.array([[[7, 0, 1], [5, 6, 0]]])  # 6 fits three bits, and is no code of level 1
    with pytest.raises(BadCodesError, match="code 6 in level 1, whose codebook has 6"):
        read_codes(io.BytesIO(forged_packet(header, codes)))
    codes[0, 1, 1] = 5
    np.testing.assert_array_equal(read_codes(io.BytesIO(forged_packet(header, codes)))[1], codes)
    with pytest.raises(BadCodesError, match="spare bits"):
        read_codes(io.BytesIO(forged_packet(header, codes, spare=1)))


def bombs(make_header: Make, make_image_header: Make) -> dict[str, bytes]:
    """Small files that claim to be huge, every CRC right."""
    image = make_image_header(height=2**32 - 1, width=2**32 - 1, stride=1, frames_per_packet=40000)
    huge = make_header(num_samples=2**60)
    wide = make_header(num_samples=2**64 - 2, frames_per_packet=40000, sample_rate=1, hop_length=1)
    stream = make_header(num_samples=None, frames_per_packet=40000)
    crc = struct.unpack("<I", stream.to_bytes()[-4:])[0]
    packets = -(-stream.frames_for(2**60) // 40000)
    return {
        "samples": huge.to_bytes(),
        "samples and packets": wide.to_bytes() + b"P" + bytes(70),
        "end marker": stream.to_bytes() + encode_end(crc, packets, 2**60),
        "image": image.to_bytes() + b"P" + bytes(70),
        "short packet": stream.to_bytes() + b"S" + struct.pack("<H", 39999) + bytes(70),
    }


@pytest.mark.parametrize("name", ["samples", "samples and packets", "end marker", "image", "short packet"])
@pytest.mark.parametrize("on_damage", ["raise", "conceal"])
@pytest.mark.parametrize("seekable", [True, False])
def test_no_claim_in_a_file_makes_the_reader_allocate(
    name: str, on_damage: Any, seekable: bool, make_header: Make, make_image_header: Make, pipe: Make
) -> None:
    data = bombs(make_header, make_image_header)[name]
    assert len(data) < 150
    tracemalloc.start()
    try:
        reader = CodesReader(io.BytesIO(data) if seekable else pipe(data), on_damage=on_damage)
        with pytest.raises(BadCodesError, match=r"truncated|damaged"):
            reader.read()
        if seekable:
            with pytest.raises(BadCodesError, match=r"truncated|damaged"):
                reader.read(2**59, 2**59 + 5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300_000  # bytes; a packet of 40000 frames would be 1.9 million


def test_unknown_mode_is_refused(small: tuple) -> None:
    with pytest.raises(ValueError, match="on_damage='ignore'"):
        CodesReader(io.BytesIO(small[0]), on_damage="ignore")  # type: ignore[arg-type]
