"""What training draws from: utterances of known length of which any part can be read, packed or as the files lie.

A packed corpus is the fast one. A data directory does as well, where packing is not worth it or there is no room.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from audiovq.errors import BadDataError


class CorpusUtterance(Protocol):
    """An utterance as one channel at the corpus's rate."""

    @property
    def id(self) -> str: ...
    @property
    def speaker(self) -> str: ...
    @property
    def num_samples(self) -> int: ...


class Corpus(ABC):
    """Utterances, sorted bytewise by id.

    Attributes:
        path: where it lies.
        sample_rate: Hz, of everything that is read.
        dropped: utterances left out, and why.
    """

    path: Path
    sample_rate: int
    dropped: dict[str, str]

    @property
    @abstractmethod
    def utterances(self) -> Sequence[CorpusUtterance]: ...

    @abstractmethod
    def read(self, i: int, start: int = 0, num_samples: int | None = None) -> NDArray[np.float32]:
        """Samples `start` to `start + num_samples` (None: the end) of utterance i as float32 `[T]`, cut at its end."""

    def __len__(self) -> int:
        return len(self.utterances)

    @cached_property
    def speakers(self) -> list[str]:
        """The speakers, sorted bytewise."""
        return sorted({u.speaker for u in self.utterances}, key=str.encode)

    @property
    def seconds(self) -> float:
        """Duration of all utterances together."""
        return sum(u.num_samples for u in self.utterances) / self.sample_rate


def open_corpus(path: str | Path, sample_rate: int) -> Corpus:
    """The packed corpus in the folder `path`, or the data directory there, to be read at `sample_rate` Hz.

    A data directory that has not changed is opened once in a process. Raises BadDataError if it is neither, is damaged,
    or is packed at another rate.
    """
    from audiovq.data.corpus.packed import INDEX, PackedCorpus

    path = Path(path)
    if not (path / INDEX).exists() and (path / "wav.scp").exists():
        files = [path / name for name in ("wav.scp", "segments", "utt2spk")]
        return _open_directory(path, sample_rate, tuple(f.stat().st_mtime_ns if f.exists() else 0 for f in files))
    corpus = PackedCorpus.open(path)
    if corpus.sample_rate != sample_rate:
        raise BadDataError(f"{path}: packed at {corpus.sample_rate} Hz, but {sample_rate} Hz are wanted; pack it so")
    return corpus


@lru_cache(maxsize=8)
def _open_directory(path: Path, sample_rate: int, times: tuple[int, ...]) -> Corpus:
    from audiovq.data.corpus.direct import DirectCorpus

    return DirectCorpus(path, sample_rate)
