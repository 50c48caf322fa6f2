"""Files that were flipped, cut, forged or shuffled: always found out, and no more lost than need be."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from audiovq.bitstream import AudioHeader, CodesReader, Coding, Header, ImageHeader, read_codes
from audiovq.bitstream.fields import varint
from audiovq.bitstream.header import crc_of
from audiovq.bitstream.packet import END_BYTES, Packets
from audiovq.errors import BadCodesError

Make = Callable[..., Any]


@dataclass(frozen=True)
class File:
    """A file of 18 frames, four full packets and a short one, with the places of its packets and of their end."""

    data: bytes
    codes: np.ndarray
    header: Header
    coder: Any
    places: list[int]

    @property
    def is_stream(self) -> bool:
        return self.header.num_frames is None

    @property
    def is_coded(self) -> bool:
        return self.header.coding != Coding.PACKED

    def packet_of(self, place: int) -> int:
        return sum(begin <= place for begin in self.places) - 1

    def reader(self, data: bytes, **options: Any) -> CodesReader:
        return CodesReader(io.BytesIO(data), self.coder, **options)


KINDS = ["known length", "stream", "image", "coded", "coded stream"]


@pytest.fixture(scope="module", params=KINDS)
def small(
    request: pytest.FixtureRequest,
    make_header: Make,
    make_image_header: Make,
    random_codes: Make,
    encode: Make,
    gamma_coder: Make,
) -> File:
    stream, coded = "stream" in request.param, "coded" in request.param
    header = make_image_header() if request.param == "image" else make_header()
    num_samples = header.num_samples if stream else None
    header = make_header(num_samples=None) if stream else header
    coder = gamma_coder() if coded else None
    header = header.coded_by(coder) if coded else header
    codes = random_codes(header, 18)
    data = encode(header, codes, num_samples, coder)
    packets = Packets(header, crc_of(header.to_bytes()))
    places = [len(header.to_bytes())]
    for index, frames in enumerate((4, 4, 4, 4, 2)):
        places.append(places[-1] + len(packets.write(index, codes[:, :, 4 * index : 4 * index + frames], coder)))
    assert places[-1] == len(data) - stream * END_BYTES
    return File(data, codes, header, coder, places)


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    for place in range(len(data)):
        for bit in range(8):
            yield place, data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def test_every_flipped_bit_is_found(small: File, pipe: Make) -> None:
    for _, flipped in flips(small.data):
        with pytest.raises(BadCodesError, match="<stream>"):
            read_codes(io.BytesIO(flipped), small.coder)
        with pytest.raises(BadCodesError, match="<stream>"):
            read_codes(pipe(flipped), small.coder)


def test_concealing_loses_only_the_damaged_packet(small: File) -> None:
    for place, flipped in flips(small.data):
        if not small.places[0] <= place < small.places[-1]:  # the header and the end marker can't be missed
            with pytest.raises(BadCodesError):
                small.reader(flipped, on_damage="conceal").read()
            continue
        reader = small.reader(flipped, on_damage="conceal")
        index = small.packet_of(place)
        wanted = small.codes.copy()
        wanted[:, :, 4 * index : 4 * index + 4] = -1
        try:
            found = reader.read()
        except BadCodesError:  # the last packet's length is damaged, and the file is too short for it
            assert small.is_coded
            assert place == small.places[4] + small.is_stream
            continue
        np.testing.assert_array_equal(found, wanted)
        assert [(lost.index, lost.start_frame, lost.stop_frame) for lost in reader.damaged] == [
            (index, 4 * index, min(4 * index + 4, 18))
        ]
        assert small.reader(flipped).verify() == reader.damaged


def test_a_seek_behind_a_damaged_packet_finds_its_place(small: File) -> None:
    for place, flipped in flips(small.data):
        if small.places[0] <= place < small.places[3]:
            np.testing.assert_array_equal(small.reader(flipped).read(12, 14), small.codes[:, :, 12:14])


def test_concealing_in_a_pipe_never_gives_wrong_codes(small: File, pipe: Make) -> None:
    for place, flipped in flips(small.data):
        reader = None
        try:
            reader = CodesReader(pipe(flipped), small.coder, on_damage="conceal")
            found = reader.read()
        except BadCodesError:
            # Only where places hang on the damaged bytes: the header, a stream's end marker, the heads of last packets.
            index = small.packet_of(place)
            head = place - small.places[index] < small.is_stream + small.is_coded
            assert reader is None or index >= 5 or (index >= 3 and head)
            continue
        lost = (found == -1).all(axis=(0, 1))
        assert found.shape == small.codes.shape
        assert lost.sum() == (4 if small.packet_of(place) < 4 else 2)
        np.testing.assert_array_equal(found[:, :, ~lost], small.codes[:, :, ~lost])


def test_a_short_last_packet_that_is_lost_with_the_one_before_keeps_its_length(small: File, pipe: Make) -> None:
    damaged = bytearray(small.data)
    damaged[small.places[3] + small.is_stream] ^= 0x60  # of a coded file, a length
    damaged[small.places[4] + 5] ^= 1
    for source in (io.BytesIO(damaged), pipe(bytes(damaged))):
        reader = CodesReader(source, small.coder, on_damage="conceal")
        found = reader.read()
        np.testing.assert_array_equal(found[:, :, :12], small.codes[:, :, :12])
        assert (found[:, :, 12:] == -1).all()
        assert found.shape == small.codes.shape
        assert [(lost.start_frame, lost.stop_frame) for lost in reader.damaged] == [(12, 16), (16, 18)]


def test_every_truncation_is_found_and_names_its_place(small: File, pipe: Make) -> None:
    body, header = small.places[0], small.header
    for length in range(len(small.data)):
        place, whole = "truncated in the header" if length else "is empty", 0
        if length >= body:
            index = small.packet_of(length)
            whole = min(4 * index, 18)
            mend = f"decode the {whole} frames before" if isinstance(header, AudioHeader) else "encode it again"
            place = rf"truncated in packet {index}.* at {header.place(whole)} .* {mend}"
        for source in (io.BytesIO(small.data[:length]), pipe(small.data[:length])):
            with pytest.raises(BadCodesError, match=place):
                read_codes(source, small.coder)
        if length >= body:  # what stands before the cut can be read, concealing or not
            found = small.reader(small.data[:length]).read(0, whole)
            np.testing.assert_array_equal(found, small.codes[:, :, :whole])
            with pytest.raises(BadCodesError, match="truncated"):
                small.reader(small.data[:length], on_damage="conceal").read()


def test_truncation_is_named_where_it_is_even_after_a_seek_beyond_it(small: File) -> None:
    cut = small.data[: small.places[1] + 1]
    with pytest.raises(BadCodesError, match=rf"truncated in packet 1.* at {small.header.place(4)} "):
        small.reader(cut).read(13, 14)


def test_message_names_the_file_the_packet_and_its_place(small: File, tmp_path: Any) -> None:
    damaged = bytearray(small.data)
    damaged[small.places[2] + 5] ^= 1
    path = tmp_path / "talk.codes"
    path.write_bytes(damaged)
    place = "rows 4 to 5" if isinstance(small.header, ImageHeader) else r"0\.16 to 0\.24 s"
    with pytest.raises(BadCodesError, match=rf"talk\.codes: packet 2 of 5, {place}, is damaged: its CRC"):
        read_codes(path, small.coder)
    with CodesReader(path, small.coder) as reader:  # other frames are not touched by it
        assert reader.read(12, 16).min() >= 0


def test_bytes_after_the_end_are_refused(small: File, pipe: Make) -> None:
    with pytest.raises(BadCodesError, match="bytes follow the end"):
        read_codes(pipe(small.data + b"\0"), small.coder)
    # At the end of a seekable stream nothing but its marker is looked for: with bytes after it, it is read forwards.
    reader = small.reader(small.data + b"\0")
    assert reader.num_frames == small.header.num_frames
    with pytest.raises(BadCodesError, match="bytes follow the end"):
        reader.read()


def test_moved_and_foreign_packets_are_found(small: File, encode: Make) -> None:
    data, (body, second, third) = small.data, small.places[:3]
    swapped = data[:body] + data[second:third] + data[body:second] + data[third:]
    assert [lost.index for lost in small.reader(swapped).verify()] == [0, 1]
    renamed = replace(small.header, model="tony")
    other = encode(renamed, small.codes, 18 * 320 if small.is_stream else None, small.coder)
    foreign = data[:body] + other[body:second] + data[second:]
    assert [lost.index for lost in small.reader(foreign).verify()] == [0]


def test_whole_file_verifies(small: File, pipe: Make) -> None:
    assert small.reader(small.data).verify() == []
    assert CodesReader(pipe(small.data)).verify() == []


@pytest.mark.parametrize("data", [b"", b"RIFF\x24\0\0\0WAVE", b"\x89PNG\r\n\x1a\n" + bytes(60), bytes(100), b"{}"])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(BadCodesError, match=r"not a \.codes file"):
        read_codes(io.BytesIO(data))


def forged(header: Header, payload: bytes) -> bytes:
    """A file whose only packet has a payload that no honest writer makes, its check right."""
    packets = Packets(header, crc_of(header.to_bytes()))
    head = packets._head(header.num_frames or 0, len(payload))
    return header.to_bytes() + head + packets._check(0, head + payload) + payload


def test_codes_beyond_their_codebook_are_damage_though_the_crc_is_right(make_header: Make) -> None:
    header = make_header(num_samples=3 * 320, codebook_sizes=(8, 6), channels=1)
    read_codes(io.BytesIO(forged(header, bytes([0b11100000, 0b11011010, 0]))))
    with pytest.raises(BadCodesError, match="code 6 in level 1, whose codebook has 6"):
        read_codes(io.BytesIO(forged(header, bytes([0b11100000, 0b11101100, 0]))))
    with pytest.raises(BadCodesError, match="spare bits"):
        read_codes(io.BytesIO(forged(header, bytes([0b11100000, 0b11011010, 1]))))


def test_bytes_that_no_coder_makes_are_damage_though_the_crc_is_right(make_header: Make, gamma_coder: Make) -> None:
    header = make_header(num_samples=3 * 320, codebook_sizes=(1000,), channels=1).coded_by(gamma_coder((1000,)))
    assert read_codes(io.BytesIO(forged(header, b"\xf0")), gamma_coder((1000,)))[1].tolist() == [[[0, 0, 0]]]
    for payload, message in ((b"\xe0", "at their end"), (b"\0", "no encoder makes"), (b"\0\x3f\xff", "code 2046")):
        with pytest.raises(BadCodesError, match=rf"packet 0 of 1, 0\.00 to 0\.06 s, is damaged.*{message}"):
            read_codes(io.BytesIO(forged(header, payload)), gamma_coder((1000,)))
        reader = CodesReader(io.BytesIO(forged(header, payload)), gamma_coder((1000,)), on_damage="conceal")
        assert (reader.read() == -1).all()
        assert CodesReader(io.BytesIO(forged(header, payload))).verify() == []  # its check is right


def bombs(make_header: Make, make_image_header: Make, gamma_coder: Make) -> dict[str, bytes]:
    """Small files that claim to be huge, every CRC right."""
    large = {"frames_per_packet": 40000, "hop_length": 1}
    image = make_image_header(height=2**32 - 1, width=2**32 - 1, stride=1, frames_per_packet=40000)
    wide = make_header(num_samples=2**64 - 1, sample_rate=1, **large)
    stream = make_header(num_samples=None, **large)
    coder = gamma_coder()
    coded = make_header(num_samples=2**60, **large).coded_by(coder)
    packets = Packets(stream, crc_of(stream.to_bytes()))
    return {
        "samples": make_header(num_samples=2**60).to_bytes(),
        "samples and packets": wide.to_bytes() + bytes(70),
        "end marker": stream.to_bytes() + packets.write_end(-(-(2**60) // 40000), 2**60),
        "image": image.to_bytes() + bytes(70),
        "short packet": stream.to_bytes() + varint(39999) + bytes(70),
        "coded": coded.to_bytes() + varint(coded.least_payload_bytes(40000)) + bytes(70),
        "coded stream": stream.coded_by(coder).to_bytes() + varint(40000) + varint(20000) + bytes(70),
    }


BOMBS = ["samples", "samples and packets", "end marker", "image", "short packet", "coded", "coded stream"]


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("on_damage", ["raise", "conceal"])
@pytest.mark.parametrize("seekable", [True, False])
def test_no_claim_in_a_file_makes_the_reader_allocate(
    name: str,
    on_damage: Any,
    seekable: bool,
    make_header: Make,
    make_image_header: Make,
    gamma_coder: Make,
    pipe: Make,
) -> None:
    data = bombs(make_header, make_image_header, gamma_coder)[name]
    assert len(data) < 150
    tracemalloc.start()
    try:
        reader = CodesReader(io.BytesIO(data) if seekable else pipe(data), gamma_coder(), on_damage=on_damage)
        with pytest.raises(BadCodesError, match=r"truncated|damaged"):
            reader.read()
        if seekable:
            with pytest.raises(BadCodesError, match=r"truncated|damaged"):
                reader.read(2**59, 2**59 + 5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 300_000  # bytes; a packet of 40000 frames would be 1.9 million


def test_unknown_mode_is_refused(small: File) -> None:
    with pytest.raises(ValueError, match="on_damage='ignore'"):
        CodesReader(io.BytesIO(small.data), on_damage="ignore")  # type: ignore[arg-type]
