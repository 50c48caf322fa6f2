"""The contract of a corpus: utterances of known length, any part of which can be read, from a pack or from audio files.

A packed corpus is fast. A data directory also works, where packing is not worth it or there is no room.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MIN_SECONDS = 0.1  # shorter utterances are left out


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
        input_hash: changes when it is made anew from something else.
    """

    path: Path
    sample_rate: int
    dropped: dict[str, str]
    input_hash: str

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
