"""Opens a corpus: a pack or a data directory."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from audiovq.data.corpus.base import Corpus
from audiovq.data.corpus.direct import DirectCorpus
from audiovq.data.corpus.packed import INDEX, PackedCorpus
from audiovq.errors import BadDataError


def open_corpus(path: str | Path, sample_rate: int) -> Corpus:
    """The packed corpus in the folder `path`, or the data directory there, to be read at `sample_rate` Hz.

    A data directory that has not changed is opened once in a process. Raises BadDataError if it is neither, is damaged,
    or is packed at another rate.
    """
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
    return DirectCorpus(path, sample_rate)
