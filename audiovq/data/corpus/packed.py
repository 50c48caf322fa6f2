"""A packed corpus on disk: utterances as one channel of 16-bit samples, in shards that are memory-mapped.

`shard-0000.i16` and on hold the samples (little-endian), `index.tsv` says where each utterance lies (utterance,
speaker, shard, offset, samples, CRC-32 of the samples), `index.json` the rate, the options, a hash of the input, the
CRC-32 of index.tsv, what was dropped and what was odd. Packs made before there were checksums are read without.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.data.corpus.base import Corpus
from audiovq.data.files import atomic_output
from audiovq.data.pcm import from_int16
from audiovq.errors import BadDataError

FORMAT, VERSION = "audiovq-pack", 1
INDEX, ROWS = "index.json", "index.tsv"


@dataclass(frozen=True)
class PackedUtterance:
    """Where an utterance lies: shard number, offset and length in samples; CRC-32 of these, as 8 hexadecimal digits."""

    id: str
    speaker: str
    shard: int
    offset: int
    num_samples: int
    checksum: str | None = None


class PackedCorpus(Corpus):
    """A pack opened for reading; shards are mapped on first use, so it may be handed to worker processes.

    Attributes:
        input_hash: of what it was made from, and how.
        remarks: what was odd about the sound of an utterance.
    """

    def __init__(self, path: Path, index: dict[str, Any], utterances: list[PackedUtterance]):
        self.path = path
        self.sample_rate: int = index["sample_rate"]
        self.dropped: dict[str, str] = index["dropped"]
        self.remarks: dict[str, str] = index.get("remarks", {})
        self.input_hash: str = index["input_hash"]
        self._utterances = utterances
        self._shards: dict[int, NDArray[np.int16]] = {}
        self._whole: set[int] = set()  # utterances whose checksum was right

    @classmethod
    def open(cls, path: str | Path) -> PackedCorpus:
        """Read the index; BadDataError if `path` is no complete pack."""
        path = Path(path)
        index = read_index(path)
        if index is None:
            raise BadDataError(f"{path}: not a packed corpus (no {INDEX}); make one with `audiovq data pack`")
        utterances = _read_rows(path / ROWS, index)
        for n, samples in enumerate(index["shards"]):
            file = path / shard_name(n)
            if not file.is_file() or file.stat().st_size != 2 * samples:
                raise BadDataError(f"{file}: missing or not {2 * samples} bytes long; make the pack anew")
        return cls(path, index, utterances)

    @property
    def utterances(self) -> list[PackedUtterance]:
        return self._utterances

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}  # a map can't be pickled; another process opens its own

    def read(self, i: int, start: int = 0, num_samples: int | None = None) -> NDArray[np.float32]:
        """See `Corpus`; the first time, BadDataError if the utterance's samples are not those that were packed."""
        u = self._utterances[i]
        shard = self._shard(u.shard)
        if i not in self._whole:
            if u.checksum is not None and checksum(shard[u.offset : u.offset + u.num_samples].data) != u.checksum:
                what = f"the samples of utterance {u.id} are damaged (its checksum is another)"
                raise BadDataError(f"{self.path / shard_name(u.shard)}: {what}; make the pack anew")
            self._whole.add(i)
        stop = u.num_samples if num_samples is None else min(start + num_samples, u.num_samples)
        return from_int16(shard[u.offset + start : u.offset + stop])

    def _shard(self, number: int) -> NDArray[np.int16]:
        if number not in self._shards:
            file = self.path / shard_name(number)
            try:
                # as a plain array: slicing a np.memmap is several times slower
                self._shards[number] = np.asarray(np.memmap(file, dtype="<i2", mode="r"))
            except (OSError, ValueError) as error:
                raise BadDataError(f"{file}: can't be read ({error}); make the pack anew") from None
        return self._shards[number]


def checksum(data: bytes | memoryview) -> str:
    """CRC-32, 8 hexadecimal digits."""
    return f"{zlib.crc32(data):08x}"


def shard_name(number: int) -> str:
    return f"shard-{number:04d}.i16"


def read_index(path: Path) -> dict[str, Any] | None:
    """`index.json` of a pack; None if there is none, BadDataError if it is damaged."""
    try:
        index = json.loads((path / INDEX).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BadDataError(f"{path / INDEX}: can't be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise BadDataError(f"{path / INDEX}: damaged; remove the folder and make the pack anew") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT or index.get("version") != VERSION:
        raise BadDataError(f"{path / INDEX}: not version {VERSION} of {FORMAT}; make the pack anew")
    for key, fits in _FACTS.items():
        if key not in index or not fits(index[key]):
            raise BadDataError(f"{path / INDEX}: damaged at {key}; remove the folder and make the pack anew")
    return index


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_told(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(reason, str) for reason in value.values())


_FACTS: dict[str, Callable[[Any], bool]] = {
    "sample_rate": lambda value: _is_count(value) and value > 0,
    "input_hash": lambda value: isinstance(value, str),
    "shards": lambda value: isinstance(value, list) and all(map(_is_count, value)),
    "dropped": _is_told,
}


def _read_rows(path: Path, index: dict[str, Any]) -> list[PackedUtterance]:
    """`index.tsv`, of whose lines each must name a place in a shard."""
    try:
        data = path.read_bytes()
        lines = data.decode().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataError(f"{path}: can't be read ({error}); make the pack anew") from None
    found = []
    for number, line in enumerate(lines[:-1], start=1):
        try:
            utterance, speaker, *places = line.split("\t")
            shard, offset, num_samples = (int(place) for place in places[:3])
            kept = places[3] if len(places) == 4 else None
            in_shard = 0 <= shard < len(index["shards"]) and 0 <= offset <= index["shards"][shard] - num_samples
            if not in_shard or num_samples < 1 or len(places) > 4:
                raise ValueError
        except ValueError:
            raise BadDataError(f"{path}:{number}: malformed line; make the pack anew") from None
        found.append(PackedUtterance(utterance, speaker, shard, offset, num_samples, kept))
    if lines[-1] or not found or index.get("rows_crc32", checksum(data)) != checksum(data):
        raise BadDataError(f"{path}: damaged or cut off; make the pack anew")
    return found


class PackWriter:
    """Appends utterances to shards in a folder. Finished shards of an interrupted run are taken up again.

    A finished shard has a note `shard-0000.json` beside it, which says what it covers;
    `finish` makes the index of them.

    Args:
        folder: where; made if it is not there.
        shard_samples: a shard is closed once it holds this many samples.
        stamps: of every utterance to come, in order, what its packed sound depends on. By these a shard is known again.

    Attributes:
        done: utterances, kept or dropped, that need not be added any more.
    """

    def __init__(self, folder: Path, shard_samples: int, stamps: Sequence[str]):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.shard_samples = shard_samples
        self.done = 0
        self._stamps = stamps
        self._notes: list[dict[str, Any]] = []
        while note := self._finished(len(self._notes)):
            self._notes.append(note)
            self.done += note["covers"]
        useful = {name(n) for n in range(len(self._notes)) for name in (shard_name, _note_name)}
        for file in folder.iterdir():
            if file.name not in useful:
                file.unlink()
        self._open_shard()

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    @property
    def has_finished_shards(self) -> bool:
        return len(self._notes) > 1

    def add(self, utterance: str, speaker: str, result: NDArray[np.int16] | str, remark: str | None = None) -> None:
        """The next utterance: its samples, or the reason to drop it; what is odd about it."""
        note = self._notes[-1]
        if isinstance(result, str):
            note["dropped"][utterance] = result
        else:
            if note["samples"] >= self.shard_samples:
                self._close_shard()
                self._open_shard()
                note = self._notes[-1]
            data = result.astype("<i2", copy=False).tobytes()
            note["rows"].append([utterance, speaker, note["samples"], len(result), checksum(data)])
            note["samples"] += len(result)
            self._file.write(data)
        if remark is not None:
            note["remarks"][utterance] = remark
        note["covers"] += 1
        self.done += 1

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write the index: but for the notes, the folder is a pack now. BadDataError if no utterance was kept."""
        self._sync()
        rows = [(u, speaker, n, *place) for n, note in enumerate(self._notes) for u, speaker, *place in note["rows"]]
        if not rows:
            raise BadDataError(f"none of its {self.done} utterances is left; see the duration limits")
        table = "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()
        with atomic_output(self.folder / ROWS, force=True) as temporary:
            temporary.write_bytes(table)
        told = {
            name: {u: reason for note in self._notes for u, reason in note.get(name, {}).items()}
            for name in ("dropped", "remarks")
        }
        shards = [note["samples"] for note in self._notes]
        index = {"format": FORMAT, "version": VERSION, **facts, "rows_crc32": checksum(table), "shards": shards, **told}
        _write_json(self.folder / INDEX, index)

    def _open_shard(self) -> None:
        self._file = (self.folder / shard_name(len(self._notes))).open("wb")
        self._notes.append({"covers": 0, "samples": 0, "rows": [], "dropped": {}, "remarks": {}})

    def _close_shard(self) -> None:
        self._sync()
        self._file.close()
        note = self._notes[-1]
        note["stamps"] = self._digest(self.done - note["covers"], note["covers"])
        _write_json(self.folder / _note_name(len(self._notes) - 1), note)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _finished(self, number: int) -> dict[str, Any] | None:
        """The note of shard `number` if it is there, whole, and of just the utterances that come next."""
        try:
            note = json.loads((self.folder / _note_name(number)).read_text("utf-8"))
            size = (self.folder / shard_name(number)).stat().st_size
        except (OSError, ValueError):
            return None
        whole = size == 2 * note["samples"] and note["stamps"] == self._digest(self.done, note["covers"])
        return note if whole else None

    def _digest(self, first: int, count: int) -> str:
        return hashlib.sha256("\n".join(self._stamps[first : first + count]).encode()).hexdigest()


def remove_notes(folder: Path) -> None:
    """Take away the notes of finished shards, once the index is there."""
    for note in folder.glob("shard-*.json"):
        note.unlink()


def _note_name(number: int) -> str:
    return f"shard-{number:04d}.json"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
