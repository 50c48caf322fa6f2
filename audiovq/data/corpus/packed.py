"""A packed corpus on disk: utterances as one channel of 16-bit samples, in shards that are memory-mapped.

The shards `shard-0000.i16` and so on hold the samples (little-endian). `index.tsv` says where each utterance lies
(utterance, speaker, shard, offset, samples). `index.json` has the rate, the options, a hash of the input, and what was
dropped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.data.audio import from_int16
from audiovq.data.corpus.base import Corpus
from audiovq.data.files import atomic_output
from audiovq.errors import BadDataError

FORMAT, VERSION = "audiovq-pack", 1
INDEX = "index.json"


@dataclass(frozen=True)
class PackedUtterance:
    """Where an utterance lies: shard number, offset and length in samples."""

    id: str
    speaker: str
    shard: int
    offset: int
    num_samples: int


class PackedCorpus(Corpus):
    """A pack opened for reading; shards are mapped on first use, so it may be handed to worker processes."""

    def __init__(self, path: Path, index: dict[str, Any], utterances: list[PackedUtterance]):
        self.path = path
        self.sample_rate: int = index["sample_rate"]
        self.dropped: dict[str, str] = index["dropped"]
        self.input_hash: str = index["input_hash"]
        self._utterances = utterances
        self._shards: dict[int, NDArray[np.int16]] = {}

    @classmethod
    def open(cls, path: str | Path) -> PackedCorpus:
        """Read the index; BadDataError if `path` is no complete pack."""
        path = Path(path)
        index = read_index(path)
        if index is None:
            raise BadDataError(f"{path}: not a packed corpus (no {INDEX}); make one with `audiovq data pack`")
        utterances = []
        for number, line in enumerate((path / "index.tsv").read_text("utf-8").splitlines(), start=1):
            try:
                utterance, speaker, shard, offset, num_samples = line.split("\t")
                utterances.append(PackedUtterance(utterance, speaker, int(shard), int(offset), int(num_samples)))
            except ValueError:
                raise BadDataError(f"{path / 'index.tsv'}:{number}: malformed line; make the pack anew") from None
        for n, samples in enumerate(index["shards"]):
            file = path / shard_name(n)
            if not file.exists() or file.stat().st_size != 2 * samples:
                raise BadDataError(f"{file}: missing or not {2 * samples} bytes long; make the pack anew")
        return cls(path, index, utterances)

    @property
    def utterances(self) -> list[PackedUtterance]:
        return self._utterances

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}  # a map can't be pickled; another process opens its own

    def read(self, i: int, start: int = 0, num_samples: int | None = None) -> NDArray[np.float32]:
        u = self._utterances[i]
        stop = u.num_samples if num_samples is None else min(start + num_samples, u.num_samples)
        return from_int16(self._shard(u.shard)[u.offset + start : u.offset + stop])

    def _shard(self, number: int) -> NDArray[np.int16]:
        if number not in self._shards:
            # as a plain array: slicing a np.memmap is several times slower
            self._shards[number] = np.asarray(np.memmap(self.path / shard_name(number), dtype="<i2", mode="r"))
        return self._shards[number]


def shard_name(number: int) -> str:
    return f"shard-{number:04d}.i16"


def read_index(path: Path) -> dict[str, Any] | None:
    """`index.json` of a pack; None if there is none, BadDataError if it is damaged."""
    try:
        index = json.loads((path / INDEX).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        raise BadDataError(f"{path / INDEX}: damaged; remove the folder and make the pack anew") from None
    if not isinstance(index, dict) or index.get("format") != FORMAT or index.get("version") != VERSION:
        raise BadDataError(f"{path / INDEX}: not version {VERSION} of {FORMAT}; make the pack anew")
    return index


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

    def add(self, utterance: str, speaker: str, result: NDArray[np.int16] | str) -> None:
        """The next utterance: its samples, or the reason to drop it."""
        note = self._notes[-1]
        if isinstance(result, str):
            note["dropped"][utterance] = result
        else:
            if note["samples"] >= self.shard_samples:
                self._close_shard()
                self._open_shard()
                note = self._notes[-1]
            note["rows"].append([utterance, speaker, note["samples"], len(result)])
            note["samples"] += len(result)
            self._file.write(result.astype("<i2", copy=False).tobytes())
        note["covers"] += 1
        self.done += 1

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write the index: but for the notes, the folder is a pack now. BadDataError if no utterance was kept."""
        self._sync()
        rows = [(u, speaker, n, *place) for n, note in enumerate(self._notes) for u, speaker, *place in note["rows"]]
        if not rows:
            raise BadDataError(f"none of its {self.done} utterances is left; see the duration limits")
        with atomic_output(self.folder / "index.tsv", force=True) as temporary:
            temporary.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
        dropped = {u: reason for note in self._notes for u, reason in note["dropped"].items()}
        shards = [note["samples"] for note in self._notes]
        index = {"format": FORMAT, "version": VERSION, **facts, "shards": shards, "dropped": dropped}
        _write_json(self.folder / INDEX, index)

    def _open_shard(self) -> None:
        self._file = (self.folder / shard_name(len(self._notes))).open("wb")
        self._notes.append({"covers": 0, "samples": 0, "rows": [], "dropped": {}})

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
