"""No sound is lost without a word: what a file says of its length is compared with what is there, in every format."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.audio import read_audio
from audiovq.data.audio_reader import open_audio
from audiovq.errors import BadAudioError

RATE, LENGTH = 16000, 30000
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_24"),
    ("WAV", "FLOAT"),
    ("WAV", "ULAW"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("WAV", "GSM610"),
    ("WAVEX", "PCM_16"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("W64", "PCM_24"),
    ("AIFF", "PCM_16"),
    ("AIFF", "ULAW"),
    ("AU", "PCM_16"),
    ("AU", "G721_32"),
    ("NIST", "PCM_16"),
    ("CAF", "PCM_16"),
    ("CAF", "ALAC_16"),
    ("SVX", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"),
]
EXACT = {"PCM_16", "PCM_U8", "PCM_24", "FLOAT", "ULAW"}  # what is read of a part is the beginning of the whole
MONO = {"GSM610", "G721_32"}


def speechlike(channels: int = 1, length: int = LENGTH, rate: int = RATE) -> np.ndarray:
    t = np.arange(length) / rate
    noise = np.random.default_rng(0).standard_normal((length, channels))
    loudness = np.clip(np.sin(3 * t), 0.01, 1)[:, None]  # so that a variable bitrate varies
    return ((0.3 * np.sin(2 * np.pi * 300 * t * (1 + t / 6))[:, None] + 0.1 * noise) * loudness).astype(np.float32)


def written(container: str, subtype: str, channels: int = 1, length: int = LENGTH, **options: object) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, speechlike(channels, length), RATE, format=container, subtype=subtype, **options)
    return file.getvalue()


def read(data: bytes, **options: object) -> np.ndarray:
    return read_audio(io.BytesIO(data), **options)[0]


def read_short(data: bytes) -> tuple[np.ndarray, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        return read(data, allow_short=True), [str(w.message) for w in caught]


def channels_of(container: str, subtype: str) -> int:
    return 1 if subtype in MONO or container == "SVX" else 2


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_a_file_that_ends_early_is_never_taken_for_a_whole_one(container: str, subtype: str):
    whole = written(container, subtype, channels_of(container, subtype))
    sound = read(whole)
    assert sound.shape[1] >= LENGTH
    random = np.random.default_rng(1)
    cuts = [len(whole) - 1, len(whole) - 2, len(whole) // 2, *random.integers(300, len(whole), 25)]
    for cut in cuts:
        part = whole[:cut]
        try:
            got = read(part)
        except BadAudioError:
            pass
        else:
            np.testing.assert_array_equal(got, sound, err_msg=f"cut at {cut} of {len(whole)}")
            continue
        try:
            got, said = read_short(part)
        except BadAudioError:
            continue  # a format of which no part can be read
        assert got.shape[1] <= sound.shape[1]
        assert said, f"cut at {cut} of {len(whole)}"
        if subtype in EXACT:
            np.testing.assert_array_equal(got, sound[:, : got.shape[1]])


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_every_range_is_the_slice_of_the_whole(container: str, subtype: str):
    """Also where libsndfile's own seeks are wrong (Opus, MP3) or fail (GSM, G.72x)."""
    data = written(container, subtype, channels_of(container, subtype))
    whole = read(data)
    for start in (0, 1, *np.random.default_rng(2).integers(0, whole.shape[1], 12)):
        part = read(data, start=int(start), num_samples=2000)
        np.testing.assert_allclose(part, whole[:, start : start + 2000], atol=1e-6, err_msg=str(start))


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_lengths_that_are_counted_are_those_that_are_read(container: str, subtype: str):
    data = written(container, subtype)
    with open_audio(io.BytesIO(data)) as sound:
        assert sound.count() == read(data).shape[1]


def test_the_message_says_how_much_of_what_was_read(tmp_path: Path):
    (tmp_path / "a.wav").write_bytes(written("WAV", "PCM_16")[:-20000])
    with pytest.raises(BadAudioError, match=r"a\.wav: ends after 20000 of 30000 samples; .*--allow-short"):
        read_audio(tmp_path / "a.wav")
    with pytest.warns(UserWarning, match="ends after 20000 of 30000 samples; what can be read is taken"):
        assert read_audio(tmp_path / "a.wav", allow_short=True)[0].shape == (1, 20000)
    with pytest.raises(BadAudioError, match="ends after 20000 of 30000 samples"):
        read_audio(tmp_path / "a.wav", start=5, num_samples=5)  # whatever part is asked for


# --- headers that were never finished -----------------------------------------------------------------------------


def with_sizes(data: bytes, container: str, size: int) -> bytes:
    """The same file with this for the size of its sound, and of the file where it tells that too."""
    out = bytearray(data)
    match container:
        case "WAV":
            at = data.index(b"data") + 4
            struct.pack_into("<I", out, 4, max(0, at - 4 + size) if size else 0)
            struct.pack_into("<I", out, at, size)
        case "RF64":
            struct.pack_into("<Q", out, 28, size)
        case "W64":
            struct.pack_into("<Q", out, data.index(b"data") + 16, size + 24 if size else 0)
        case "AIFF":
            struct.pack_into(">I", out, data.index(b"SSND") + 4, size + 8 if size else 0)
            struct.pack_into(">I", out, data.index(b"COMM") + 10, size // 2)
        case "AU":
            struct.pack_into("<I" if data[:4] == b"dns." else ">I", out, 8, size)
        case "NIST":
            at = data.index(b"sample_count -i ") + 16
            out[at : data.index(b"\n", at)] = str(size // 2).encode().ljust(data.index(b"\n", at) - at)
    return bytes(out)


@pytest.mark.parametrize("container", ["WAV", "RF64", "W64", "AIFF", "AU", "NIST"])
@pytest.mark.parametrize("stated", [0, 2000, 40000])
def test_sound_behind_what_the_header_tells_of_is_not_passed_over(container: str, stated: int):
    data = written(container, "PCM_16")
    with pytest.raises(BadAudioError, match=rf"header tells of {stated // 2} samples, but {LENGTH - stated // 2} more"):
        read(with_sizes(data, container, stated))
    if container != "NIST":
        sound, said = read_short(with_sizes(data, container, stated))
        np.testing.assert_array_equal(sound, read(data))
        assert said


@pytest.mark.parametrize("stated", [0xFFFFFFFF, 0xFFFFFFDB, 0x80000000, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_from_a_pipe_states_no_size_and_is_read_to_its_end(stated: int):
    data = bytearray(written("WAV", "PCM_16"))
    struct.pack_into("<I", data, 4, stated)
    struct.pack_into("<I", data, 40, stated)
    assert read(bytes(data)).shape == (1, LENGTH)


def test_a_large_wav_that_is_cut_off_is_not_taken_for_one_from_a_pipe():
    data = bytearray(written("WAV", "PCM_16"))
    struct.pack_into("<I", data, 40, 3_000_000_000)
    with pytest.raises(BadAudioError, match="ends after 30000 of 1500000000 samples"):
        read(bytes(data))


@pytest.mark.parametrize(("container", "endian"), [("WAV", "BIG"), ("AU", "LITTLE"), ("CAF", "LITTLE")])
def test_either_order_of_bytes_is_understood(container: str, endian: str):
    data = written(container, "PCM_16", endian=endian)
    assert read(data).shape == (1, LENGTH)
    with pytest.raises(BadAudioError, match="ends after"):
        read(data[:-3001])


@pytest.mark.parametrize(
    "behind",
    [
        b"LIST" + struct.pack("<I", 4) + b"INFO",
        b"LIST" + struct.pack("<I", 3000) + bytes(range(1, 251)) * 12,
        b"TAG" + b"x" * 125,
        b"ID3" + b"x" * 5000,
        bytes(5000),
        b"\0",
        b"junk",
    ],
)
def test_what_is_no_sound_may_follow_it(behind: bytes):
    assert read(written("WAV", "PCM_16") + behind).shape == (1, LENGTH)


def test_a_chunk_may_follow_sound_of_odd_length_with_and_without_padding():
    data = written("WAV", "PCM_U8", length=LENGTH + 1)
    end = data.index(b"data") + 8 + LENGTH + 1
    chunk = b"LIST" + struct.pack("<I", 3000) + b"\xfe" * 3000
    for padding in (b"", b"\0"):
        assert read(data[:end] + padding + chunk).shape == (1, LENGTH + 1)


# --- formats that state no length, or a wrong one ------------------------------------------------------------------


def without_length(flac: bytes) -> bytes:
    """As `ffmpeg -f flac -` leaves STREAMINFO in a pipe: 0 samples, no checksum of them."""
    out = bytearray(flac)
    out[21] &= 0xF0
    out[22:42] = bytes(20)
    return bytes(out)


@pytest.mark.parametrize("length", [1, 1000, LENGTH, 200000])
def test_a_flac_of_unknown_length_is_read_to_its_end(length: int):
    data = written("FLAC", "PCM_16", length=length)
    np.testing.assert_array_equal(read(without_length(data)), read(data))
    with open_audio(io.BytesIO(without_length(data))) as sound:
        assert (sound.num_samples, sound.count()) == (None, length)
    if length > 1:
        with pytest.raises(BadAudioError, match="in the midst of its sound"):
            read(without_length(data)[: -len(data) // 5])


def test_a_range_of_a_flac_of_unknown_length_is_that_of_the_whole():
    data = written("FLAC", "PCM_16")
    part = read(without_length(data), start=12345, num_samples=678)
    np.testing.assert_array_equal(part, read(data)[:, 12345 : 12345 + 678])


def test_two_flac_files_joined_are_named_as_only_one_is_read():
    one = written("FLAC", "PCM_16")
    with pytest.raises(BadAudioError, match=r"header tells of 30000 samples, but [0-9]+ bytes more are there"):
        read(one + one)
    sound, said = read_short(one + one)
    assert (sound.shape[1], len(said)) == (LENGTH, 1)


def test_a_flac_whose_header_tells_of_less_than_is_there_is_named():
    data = bytearray(written("FLAC", "PCM_16", length=200000))  # the decoder reads some 64 kB ahead
    data[22:26] = (9000).to_bytes(4, "big")
    with pytest.raises(BadAudioError, match="header tells of 9000 samples, but"):
        read(bytes(data))


@pytest.mark.parametrize("tag", [b"TAG" + bytes(125), b"APETAGEX" + bytes(24), b"TAG".rjust(20000) + bytes(125)])
def test_a_tag_may_follow_a_flac(tag: bytes, tmp_path: Path):
    data = written("FLAC", "PCM_16")
    assert read(data + tag).shape == (1, LENGTH)
    assert read(without_length(data) + tag).shape == (1, LENGTH)
    (tmp_path / "a.flac").write_bytes(data + tag)
    assert read_audio(tmp_path / "a.flac")[0].shape == (1, LENGTH)


def mp3(channels: int = 1, length: int = LENGTH, quality: float = 0.5, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    sound = speechlike(channels, length, rate)
    options = {"bitrate_mode": "VARIABLE", "compression_level": quality}
    soundfile.write(file, sound, rate, format="MP3", subtype="MPEG_LAYER_III", **options)
    return file.getvalue()


def without_xing(data: bytes) -> bytes:
    """The stream from its second frame on; the first holds the Xing header."""
    tag = max(data.find(b"Xing", 0, 400), data.find(b"Info", 0, 400))
    assert tag > 0
    return data[data.index(data[:2], tag) :]


@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\1\0" + bytes(128)])
def test_an_mp3_without_a_xing_header_is_read_to_its_end(tag: bytes, channels: int, rate: int):
    whole = mp3(channels, 3 * rate, rate=rate)
    length = read(tag + without_xing(whole) + b"TAG" + bytes(125)).shape[1]
    assert 3 * rate <= length < 3 * rate + 4000
    with open_audio(io.BytesIO(without_xing(whole))) as sound:
        assert sound.num_samples == length


def test_an_mp3_without_a_xing_header_that_ends_within_a_frame_is_refused():
    with pytest.raises(BadAudioError, match="in the midst of its sound"):
        read(without_xing(mp3())[:-10])


@pytest.mark.parametrize("container", ["FLAC", "WAV"])
def test_what_looks_like_mp3_within_another_format_is_not_taken_for_it(container: str):
    """Two frames' headers in a row come by chance in one of some hundred FLAC files."""
    data = bytearray(written(container, "PCM_16"))
    sound = read(bytes(data))
    frames = without_xing(mp3())[:3000]
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    if container == "FLAC":
        block = b"APPLtest" + frames  # a block of metadata holds them
        whole = bytes(data[:42]) + b"\2" + len(block[4:]).to_bytes(3, "big") + block[4:] + bytes(data[42:])
        np.testing.assert_array_equal(read(whole), sound)
        np.testing.assert_array_equal(read(tag + whole), sound)
    elif container == "WAV":
        chunk = b"junk" + struct.pack("<I", len(frames)) + frames
        np.testing.assert_array_equal(read(bytes(data[:36]) + chunk + bytes(data[36:])), sound)


def test_two_mp3_files_joined_are_read_both():
    assert read(mp3() + mp3()).shape[1] > 1.95 * LENGTH
    assert read(without_xing(mp3()) + without_xing(mp3())).shape[1] > 1.95 * LENGTH


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_two_ogg_files_joined_are_named_as_only_one_is_read(subtype: str):
    one = written("OGG", subtype)
    with pytest.raises(BadAudioError, match="several recordings one after the other"):
        read(one + one)
    sound, said = read_short(one + one)
    assert (sound.shape[1], len(said)) == (LENGTH, 1)


def test_a_format_of_which_nothing_can_be_said_is_read_with_a_warning():
    with pytest.warns(UserWarning, match="a VOC file, of which it can't be told"):
        assert read(written("VOC", "PCM_16")).shape == (1, LENGTH)


# --- pipes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_fifo_is_read_as_the_file_is(tmp_path: Path, container: str, subtype: str):
    data = written(container, subtype)
    os.mkfifo(tmp_path / "fifo")
    writer = threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(data,))
    writer.start()
    np.testing.assert_array_equal(read_audio(tmp_path / "fifo")[0], read(data))
    writer.join()


# --- forged headers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [120, pytest.param(8000, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_a_forged_header_gives_sound_or_an_error_of_ours(container: str, subtype: str, count: int):
    data = written(container, subtype, length=3000)
    random = np.random.default_rng(3)
    for i in range(count):
        forged = bytearray(data)
        at = int(random.integers(0, min(len(data), 200) - 8))
        match i % 3:
            case 0:
                forged[at] ^= int(random.integers(1, 256))
            case 1:
                forged[at : at + 4] = random.choice([bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
            case 2:
                forged[at : at + 8] = random.choice([b"\xff" * 8, b"\0" * 7 + b"\x7f", b"\xff" * 7 + b"\x7f"])
        for allow_short in (False, True):
            with warnings.catch_warnings(), contextlib.suppress(BadAudioError):
                warnings.simplefilter("ignore")
                assert read(bytes(forged), allow_short=allow_short).size <= 100 * len(data)


def test_a_header_without_place_for_its_sizes_is_an_error_of_ours():
    for data in (
        b"RF64" + bytes(4) + b"WAVEdata" + bytes(4),
        b".snd" + bytes(4),
        b"FORM" + bytes(4) + b"AIFFSSND" + bytes(12),
    ):
        for allow_short in (False, True):
            with pytest.raises(BadAudioError):
                read(data + b"\1" * 5000, allow_short=allow_short)
