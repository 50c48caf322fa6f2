"""No entry of an archive is unpickled: wherever it lies in the reader's buffer, and however few bytes come at once."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import threading
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from audiovq.data.kaldi.archives import read_archive
from audiovq.data.kaldi.entries import read_value
from audiovq.errors import AudioVQError, BadAudioError, BadDataError

BUFFER = io.DEFAULT_BUFFER_SIZE


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("pwned",)


PICKLE = b"PKL" + pickle.dumps(Evil())


@pytest.fixture(autouse=True)
def _nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, lambda *args, **options: pytest.fail("unpickled"))
    yield
    assert not (tmp_path / "pwned").exists()


def refused(file: io.BufferedReader) -> None:
    with pytest.raises(BadDataError, match="holds a pickle"):
        read_value(file, "a.ark: x")


@pytest.mark.parametrize("buffer", [1, 2, 3, 4, 5, 64, 4096])
def test_a_pickle_at_any_place_of_the_buffer_is_refused(buffer: int):
    for place in range(min(buffer, 200) + 6) if buffer < 4096 else [*range(4080, 4104), *range(8180, 8200)]:
        file = io.BufferedReader(io.BytesIO(bytes(place) + PICKLE), buffer)  # type: ignore[arg-type]
        file.read(place)
        refused(file)


@pytest.mark.parametrize("place", [*range(BUFFER - 12, BUFFER + 4), *range(4084, 4100)])
def test_a_pickle_behind_an_id_of_any_length_is_refused(tmp_path: Path, place: int):
    """The id fills the buffer; ids have at most 4096 letters, so other entries come before it."""
    entry = b"a \0BFV \4" + (3).to_bytes(4, "little") + bytes(12)
    filler = [entry.replace(b"a", str(i).encode(), 1) for i in range((place - 4000) // 30 if place > 4096 else 0)]
    before = b"".join(filler)
    key = b"k" * (place - len(before) - 1)
    (tmp_path / "e.ark").write_bytes(before + key + b" " + PICKLE)
    with pytest.raises(BadDataError, match=r"holds a pickle|first id does not end"):
        list(read_archive("e.ark"))


class Drip(io.RawIOBase):
    """A pipe that gives so many bytes at once."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._data.read(min(self._step, len(buffer)))
        buffer[: len(piece)] = piece
        return len(piece)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 7])
def test_a_pickle_that_comes_in_pieces_is_refused(step: int):
    refused(io.BufferedReader(Drip(PICKLE, step)))


@pytest.mark.parametrize("pause", range(1, 6))
def test_a_pickle_from_a_pipe_that_pauses_is_refused(monkeypatch: pytest.MonkeyPatch, pause: int):
    reading, writing = os.pipe()
    data = b"a " + PICKLE
    os.write(writing, data[: 2 + pause])
    late = threading.Timer(0.05, lambda: (os.write(writing, data[2 + pause :]), os.close(writing)))
    late.start()
    with os.fdopen(reading, "rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        with pytest.raises(BadDataError, match="holds a pickle"):
            list(read_archive("-"))
        late.join()


def test_pickles_inside_other_formats_are_refused():
    array = np.empty(1, object)
    array[0] = Evil()
    for name, data in {"npy": io.BytesIO(), "npz": io.BytesIO()}.items():
        save = np.save if name == "npy" else np.savez
        save(data, array, allow_pickle=True)
        size = len(data.getvalue())
        value = b"NPY\4" + size.to_bytes(4, "little") + data.getvalue()
        with pytest.raises(BadDataError, match="no entry of an archive"):
            read_value(io.BufferedReader(io.BytesIO(value)), "a")  # type: ignore[arg-type]
    for magic in (b"AUDIO\2\0\1", b"NPY\2\0\1", b"\0B", b"RIFF\0\1\0\0", b"fLaC", b"["):
        with pytest.raises((BadDataError, BadAudioError)):
            read_value(io.BufferedReader(io.BytesIO(magic + pickle.dumps(Evil()) * 9)), "a")  # type: ignore[arg-type]


def test_random_bytes_are_an_entry_or_one_of_our_errors():
    random = np.random.default_rng(0)
    heads = [
        b"",
        b"\0B",
        b"\0BFM \4",
        b"\0BCM ",
        b"\0B\4",
        b"NPY",
        b"AUDIO",
        b"RIFF",
        b"fLaC",
        b"[",
        b"1",
        b"PKL",
        b"P",
    ]
    for i in range(1500):
        value = heads[i % len(heads)] + random.bytes(int(random.integers(0, 60)))
        with contextlib.suppress(AudioVQError):
            read_value(io.BufferedReader(io.BytesIO(value)), "a")  # type: ignore[arg-type]


def entries() -> dict[str, object]:
    sound = (16000, (np.sin(np.arange(3000)) * 9000).astype(np.int16))
    return {"matrix": np.ones((5, 3), np.float32), "vector": np.ones(7, np.float32), "sound": sound}


@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("matrix", None),
        ("matrix", "numpy"),
        ("vector", None),
        ("vector", "numpy"),
        ("sound", None),
        ("sound", "soundfile"),
    ],
)
def test_an_archive_without_its_end_is_refused(tmp_path: Path, kind: str, write: str | None):
    kaldiio.save_ark("a.ark", {"x": entries()[kind]}, write_function=write)
    data = Path("a.ark").read_bytes()
    list(read_archive("a.ark"))
    for cut in (len(data) - 1, len(data) - 2, len(data) // 2, 8):
        Path("a.ark").write_bytes(data[:cut])
        with pytest.raises((BadDataError, BadAudioError), match="x: "):
            list(read_archive("a.ark"))


def test_text_entries_leave_the_next_one_in_its_place(tmp_path: Path):
    Path("t.ark").write_bytes(b"a  [\n  1 2\n  3 4 ]\nb  [ 5 6 ]\nc 7 8\n")
    found = {key: value.tolist() for key, value in read_archive("t.ark")}
    assert found == {"a": [[1, 2], [3, 4]], "b": [5, 6], "c": [7, 8]}


def test_flac_and_wav_in_archives_come_at_one_scale(tmp_path: Path):
    samples = (np.sin(np.arange(3000)) * 9000).astype(np.int16)
    for container in ("WAV", "FLAC"):
        data = io.BytesIO()
        soundfile.write(data, samples, 16000, format=container)
        Path("s.ark").write_bytes(b"x " + data.getvalue())
        ((_, (waveform, rate)),) = read_archive("s.ark")
        np.testing.assert_array_equal(waveform, samples[None] / np.float32(32768))
        assert rate == 16000
