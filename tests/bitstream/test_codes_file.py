"""Writing and reading whole files: round trips, pieces, seeking, pipes, streams of unknown length."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiovq.bitstream import (
    AudioHeader,
    CodesReader,
    CodesWriter,
    Header,
    ImageHeader,
    as_audio,
    as_image,
    read_codes,
    write_codes,
)
from audiovq.errors import BadCodesError, OutputError

Make = Callable[..., Any]


@settings(deadline=None, derandomize=True)  # the same examples in every run, however busy the machine
@given(
    sizes=st.lists(st.integers(2, 70000), min_size=1, max_size=4).map(tuple),
    channels=st.integers(1, 3),
    frames=st.integers(0, 30),
    frames_per_packet=st.integers(1, 12),
    stream=st.booleans(),
    coded=st.booleans(),
    seed=st.integers(0, 99),
)
def test_codes_read_equal_codes_written_in_any_pieces(
    sizes: tuple[int, ...], channels: int, frames: int, frames_per_packet: int, stream: bool, coded: bool, seed: int,
    make_header: Make, random_codes: Make, encode: Make, pipe: Make, gamma_coder: Make,
) -> None:  # fmt: skip
    samples = max(0, frames * 320 - 5)
    header = make_header(
        codebook_sizes=sizes,
        channels=channels,
        num_samples=None if stream else samples,
        frames_per_packet=frames_per_packet,
    )
    coder = gamma_coder(sizes) if coded else None
    header = header if coder is None else header.coded_by(coder)
    codes = random_codes(header, frames, seed)
    data = encode(header, codes, samples if stream else None, coder)

    file = io.BytesIO()
    writer = CodesWriter(file, header, coder)
    cuts = sorted(np.random.default_rng(seed).integers(0, frames + 1, 3))
    for piece in np.split(codes, cuts, axis=2):
        writer.write(piece)
    writer.close(samples if stream else None)
    assert file.getvalue() == data

    for source in (io.BytesIO(data), pipe(data)):
        reader = CodesReader(source, coder)
        assert reader.header == header
        np.testing.assert_array_equal(reader.read(), codes)
        assert reader.num_samples == samples
        assert reader.num_frames == frames
    packets = list(CodesReader(pipe(data), coder).packets())
    assert [packet.shape[2] for packet in packets[:-1]] == [frames_per_packet] * (len(packets) - 1)
    assert sum(packet.shape[2] for packet in packets) == frames


@settings(deadline=None, derandomize=True)  # the same examples in every run, however busy the machine
@given(start=st.integers(0, 22), length=st.integers(0, 22), stream=st.booleans(), coded=st.booleans())
def test_seeking_equals_the_slice_of_the_whole(
    start: int, length: int, stream: bool, coded: bool,
    make_header: Make, random_codes: Make, encode: Make, pipe: Make, gamma_coder: Make,
) -> None:  # fmt: skip
    samples, coder = make_header().num_samples, gamma_coder() if coded else None
    header = make_header(num_samples=None) if stream else make_header()
    header = header.coded_by(coder) if coded else header
    codes = random_codes(header, 18)
    data = encode(header, codes, samples if stream else None, coder)
    seekable = CodesReader(io.BytesIO(data), coder)
    np.testing.assert_array_equal(seekable.read(start, start + length), codes[:, :, start : start + length])
    np.testing.assert_array_equal(seekable.read(start), codes[:, :, start:])  # and back again
    np.testing.assert_array_equal(
        CodesReader(pipe(data), coder).read(start, start + length), codes[:, :, start : start + length]
    )


@pytest.mark.parametrize("coded", [False, True])
def test_seeking_reads_only_the_packets_it_needs(
    coded: bool, make_header: Make, random_codes: Make, encode: Make, gamma_coder: Make
) -> None:
    class Counting(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    header = make_header(num_samples=320 * 4000, speaker="s")
    coder = gamma_coder() if coded else None
    header = header.coded_by(coder) if coded else header
    codes = random_codes(header)
    file = Counting(encode(header, codes, None, coder))
    reader = CodesReader(file, coder)
    np.testing.assert_array_equal(reader.read(3001, 3003), codes[:, :, 3001:3003])
    head = len(header.to_bytes())
    if coded:  # and the lengths of the 750 packets before, a byte each
        assert head + 750 + 3 < file.taken < head + 751 + 3 + header.payload_bytes(4)
    else:
        assert file.taken == head + 3 + header.payload_bytes(4)


def test_reading_starts_where_the_file_object_stands(make_header: Make, random_codes: Make, encode: Make) -> None:
    header = make_header()
    codes = random_codes(header)
    file = io.BytesIO(b"before" + encode(header, codes))
    file.seek(6)
    np.testing.assert_array_equal(CodesReader(file).read(9, 12), codes[:, :, 9:12])


def test_a_real_pipe_carries_a_stream(make_header: Make, random_codes: Make) -> None:
    header = make_header(num_samples=None)
    codes = random_codes(header, 1000)
    into, out_of = os.pipe()

    def send() -> None:
        with os.fdopen(out_of, "wb", buffering=0) as file, CodesWriter(file, header) as writer:
            for start in range(0, 1000, 7):
                writer.write(codes[:, :, start : start + 7])
            writer.close(num_samples=320 * 1000)

    sender = threading.Thread(target=send)
    sender.start()
    with os.fdopen(into, "rb", buffering=0) as file:
        reader = CodesReader(file)
        assert reader.num_samples is None
        np.testing.assert_array_equal(reader.read(), codes)
        assert reader.num_samples == 320 * 1000
        with pytest.raises(io.UnsupportedOperation, match="can't go back"):
            reader.read()
    sender.join()


def test_stream_packet_can_be_read_before_the_next_is_written(make_header: Make, random_codes: Make) -> None:
    header = make_header(num_samples=None)
    codes = random_codes(header, 8)
    into, out_of = os.pipe()
    with os.fdopen(into, "rb", buffering=0) as reading, os.fdopen(out_of, "wb", buffering=0) as writing:
        writer = CodesWriter(writing, header)
        packets = CodesReader(reading).packets()
        for start in (0, 4):
            writer.write(codes[:, :, start : start + 4])
            np.testing.assert_array_equal(next(packets), codes[:, :, start : start + 4])  # would block otherwise


def test_length_of_a_stream_is_known_at_once_where_it_can_seek(
    make_header: Make, random_codes: Make, encode: Make
) -> None:
    header = make_header(num_samples=None)
    data = encode(header, random_codes(header, 18), 18 * 320 - 7)
    reader = CodesReader(io.BytesIO(data))
    assert (reader.num_samples, reader.num_frames) == (18 * 320 - 7, 18)
    told = reader.describe()
    assert told["num_samples"] == 18 * 320 - 7
    assert told["num_bytes"] == len(data)


def test_path_is_written_whole_and_not_overwritten(tmp_path: Path, make_header: Make, random_codes: Make) -> None:
    path = tmp_path / "a.codes"
    header = make_header()
    codes = random_codes(header)
    with pytest.raises(BadCodesError, match="17 frames were written"):
        write_codes(path, header, codes[:, :, :17])
    assert list(tmp_path.iterdir()) == []
    write_codes(path, header, codes)
    with pytest.raises(OutputError, match=r"a\.codes"):
        write_codes(path, header, codes)
    write_codes(path, header, codes[:, :, ::-1], force=True)
    read_header, read = read_codes(path)
    assert read_header == header
    assert read.dtype == np.int64
    np.testing.assert_array_equal(read, codes[:, :, ::-1])
    with pytest.raises(BadCodesError, match=r"none\.codes: can't be opened"):
        read_codes(tmp_path / "none.codes")


def test_small_unsigned_codes_are_taken_as_they_are(make_header: Make, encode: Make) -> None:
    header = make_header(codebook_sizes=(256,), num_samples=320 * 6, channels=1)
    codes = np.array([[[255, 0, 254, 1, 128, 127]]], np.uint8)
    np.testing.assert_array_equal(read_codes(io.BytesIO(encode(header, codes)))[1], codes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda codes: codes[:, :2], r"codes are int64 \[2, 2, 18\]; the header wants integers \[2, 3, F\]"),
        (lambda codes: codes[0], "codes are int64"),
        (lambda codes: codes.astype(np.float32), "codes are float32"),
        (lambda codes: codes - 1, "level 0 go from -1"),
        (lambda codes: codes + np.array([0, 0, 1])[:, None], "level 2 go from .* to 6; its codebook has 0 to 5"),
        (lambda codes: np.concatenate([codes, codes], axis=2), "36 frames; the header's 5753 samples need 18"),
    ],
    ids=["levels", "dimensions", "type", "negative", "beyond the codebook", "too many"],
)
def test_writer_refuses_codes_that_the_header_does_not_describe(
    make_header: Make, random_codes: Make, spoil: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    header: Header = make_header()
    codes = random_codes(header)
    codes[..., -1] = 0
    writer = CodesWriter(io.BytesIO(), header)
    with pytest.raises(BadCodesError, match=message):
        writer.write(spoil(codes))


def test_close_checks_the_length(make_header: Make, random_codes: Make) -> None:
    stream = CodesWriter(io.BytesIO(), make_header(num_samples=None))
    stream.write(random_codes(make_header()))
    with pytest.raises(BadCodesError, match="close needs num_samples"):
        stream.close()
    with pytest.raises(BadCodesError, match="18 frames were written; 320 samples need 1"):
        stream.close(num_samples=320)
    with pytest.raises(BadCodesError, match="only there"):
        CodesWriter(io.BytesIO(), make_header()).close(num_samples=5753)
    with (
        pytest.raises(BadCodesError, match="0 frames were written; 5753 samples need 18"),
        CodesWriter(io.BytesIO(), make_header()),
    ):
        pass
    stream.close(num_samples=5753)
    with pytest.raises(BadCodesError, match="after close"):
        stream.write(random_codes(make_header()))


def test_an_error_inside_the_block_is_not_hidden_by_close(make_header: Make) -> None:
    with pytest.raises(KeyError), CodesWriter(io.BytesIO(), make_header()):
        raise KeyError("the cause")


@settings(deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(2, 70000), min_size=1, max_size=4).map(tuple),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    stride=st.integers(1, 9),
    frames_per_packet=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_a_images_codes_come_back_row_after_row(
    sizes: tuple[int, ...], height: int, width: int, stride: int, frames_per_packet: int, seed: int,
    make_image_header: Make, random_codes: Make, encode: Make, pipe: Make,
) -> None:  # fmt: skip
    header: ImageHeader = make_image_header(
        codebook_sizes=sizes, height=height, width=width, stride=stride, frames_per_packet=frames_per_packet
    )
    grid = random_codes(header, seed=seed).reshape(len(sizes), *header.grid)
    data = encode(header, grid.reshape(1, len(sizes), -1))
    for source in (io.BytesIO(data), pipe(data)):
        reader = CodesReader(source)
        assert as_image(reader.header, "x") == header
        assert (reader.num_frames, reader.num_samples) == (header.num_frames, None)
        np.testing.assert_array_equal(reader.read().reshape(grid.shape), grid)
    columns = header.grid[1]
    second_row = CodesReader(io.BytesIO(data)).read(columns, 2 * columns)
    np.testing.assert_array_equal(second_row, grid[None, :, 1:2].reshape(1, len(sizes), -1))


def test_a_image_is_never_a_stream_and_has_all_its_places(make_image_header: Make, random_codes: Make) -> None:
    header = make_image_header()
    writer = CodesWriter(io.BytesIO(), header)
    writer.write(random_codes(header, 17))
    with pytest.raises(BadCodesError, match="17 frames were written; 35 x 7 pixels need 18"):
        writer.close()
    with pytest.raises(BadCodesError, match="only there"):
        writer.close(num_samples=18)
    with pytest.raises(BadCodesError, match="19 frames; the header's 35 x 7 pixels need 18"):
        writer.write(random_codes(header, 2))


def test_a_file_of_the_other_kind_is_told_from_ones_own(make_header: Make, make_image_header: Make) -> None:
    assert isinstance(as_audio(make_header(), "a.codes"), AudioHeader)
    with pytest.raises(BadCodesError, match=r"^a\.codes: holds the codes of sound.*`audiovq decode`"):
        as_image(make_header(), "a.codes")
    with pytest.raises(BadCodesError, match=r"^a\.codes: holds the codes of an image.*`audiovq image decode`"):
        as_audio(make_image_header(), "a.codes")


def test_frames_that_a_coder_makes_no_shorter_are_packed(
    make_header: Make, random_codes: Make, encode: Make, gamma_coder: Make
) -> None:
    header = make_header().coded_by(gamma_coder())
    packed = random_codes(make_header())
    codes = packed.copy()
    codes[..., 4:8] = 0
    data = encode(header, codes, None, gamma_coder())
    sizes = [header.payload_bytes(frames) for frames in (4, 4, 4, 4, 2)]
    sizes[1] = (24 + 1 + 7) // 8  # a bit a code, and one at the end
    assert len(data) == len(header.to_bytes()) + sum(1 + 3 + size for size in sizes)
    np.testing.assert_array_equal(read_codes(io.BytesIO(data), gamma_coder())[1], codes)


def test_a_coded_payload_has_at_least_a_sixteenth_of_the_packed_one(
    make_header: Make, encode: Make, gamma_coder: Make
) -> None:
    coder = gamma_coder((2**24,))
    header = make_header(channels=1, codebook_sizes=(2**24,), frames_per_packet=200, num_samples=200 * 320)
    header = header.coded_by(coder)
    codes = np.zeros((1, 1, 200), np.int64)
    data = encode(header, codes, None, coder)
    assert len(coder.encode(codes)) == 26
    assert len(data) == len(header.to_bytes()) + 1 + 3 + -(-600 // 16)
    np.testing.assert_array_equal(read_codes(io.BytesIO(data), coder)[1], codes)


def test_without_its_coder_a_file_is_described_and_verified_but_not_read(
    make_header: Make, random_codes: Make, encode: Make, gamma_coder: Make
) -> None:
    header = make_header().coded_by(gamma_coder())
    data = encode(header, random_codes(header), None, gamma_coder())
    reader = CodesReader(io.BytesIO(data))
    assert reader.describe()["coding"] == "tables"
    assert reader.describe()["coder"] == "c0de0001"
    assert reader.verify() == []
    reader.check_reach(18)
    for read in (reader.read, lambda: next(reader.packets())):
        with pytest.raises(BadCodesError, match=r"<stream>: entropy-coded with tables c0de0001.*--model"):
            read()
    asked = []
    reader = CodesReader(io.BytesIO(data), lambda header: asked.append(header) or gamma_coder())
    assert reader.read().shape == (2, 3, 18)
    assert asked == [header]
    with pytest.raises(BadCodesError, match="no coder was given"):
        CodesWriter(io.BytesIO(), header)


def test_another_coder_than_the_files_is_refused(
    make_header: Make, random_codes: Make, encode: Make, gamma_coder: Make
) -> None:
    header = make_header().coded_by(gamma_coder())
    data = encode(header, random_codes(header), None, gamma_coder())
    other = gamma_coder()
    other.fingerprint = bytes(4)
    for work in (CodesReader(io.BytesIO(data), other).read, lambda: CodesWriter(io.BytesIO(), header, other)):
        with pytest.raises(BadCodesError, match="tables c0de0001, but the model at hand has tables 00000000"):
            work()
    with pytest.raises(BadCodesError, match="its coder is of levels of 8, the file has"):
        CodesReader(io.BytesIO(data), gamma_coder((8,))).read()
