"""Packing: resamples, mixes down and trims the utterances of a data directory once, so that training can map them.

A random second read from the pack costs a small fraction of seeking in a 48 kHz flac and resampling it
(`benchmarks/data_reading.py`). `audiovq.data.corpus.packed` describes the files.
"""

from __future__ import annotations

import hashlib
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from audiovq.data.audio import mixdown_remark
from audiovq.data.corpus.base import MIN_SECONDS, Corpus
from audiovq.data.corpus.packed import VERSION, PackedCorpus, PackWriter, read_index, remove_notes
from audiovq.data.corpus.trim import TRIM_MARGIN, trim_range
from audiovq.data.files import naming_output, replace_folder
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.data.pcm import to_int16
from audiovq.data.resampling import resample
from audiovq.errors import BadDataError, OutputError

Prepared = tuple[NDArray[np.int16] | str, str | None]  # samples, or why they are dropped; what is odd about them
REMARKS_SHOWN = 20


def pack(
    data_dir: str | Path,
    out_dir: str | Path,
    sample_rate: int,
    *,
    nj: int = 1,
    trim_db: float | None = None,
    trim_margin: float = TRIM_MARGIN,
    min_seconds: float = MIN_SECONDS,
    max_seconds: float | None = None,
    shard_samples: int = 2**27,
    allow_short: bool = False,
) -> PackedCorpus:
    """Pack a Kaldi data directory at `sample_rate` Hz with `nj` processes; returns the finished pack.

    trim_db: silence at both ends, this many dB under the loudest frame, is cut but for `trim_margin` seconds; None cuts
        nothing.
    min_seconds, max_seconds: utterances outside are dropped, after trimming; `dropped` says which and why.
    shard_samples: a shard is closed once it holds this many samples.
    allow_short: take sound that is cut off, or shorter than it says, with a warning.

    The result does not depend on `nj`. It is written under a temporary name and renamed, so that nothing unfinished
    looks finished; a run that was interrupted, even killed, is taken up after its last finished shard. An existing
    pack of the same input and options is returned as it is (said on stderr); one of other input is replaced. Warns of
    utterances that are silent, whose channels cancel, or that are far above full scale. Raises
    OutputError if `out_dir` holds anything else, BadAudioError for a recording that can't be read.
    """
    out_dir = Path(out_dir)
    utterances = DataDir.read(data_dir).utterances
    options = {
        "sample_rate": sample_rate,
        "trim_db": trim_db,
        "trim_margin": trim_margin,
        "min_seconds": min_seconds,
        "max_seconds": max_seconds,
        "shard_samples": shard_samples,
        **({"allow_short": True} if allow_short else {}),
    }
    stamps = _stamps(utterances, options)
    input_hash = hashlib.sha256("\n".join(stamps).encode()).hexdigest()
    previous = read_index(out_dir)
    if previous is not None and previous["input_hash"] == input_hash:
        print(f"{out_dir}: already packed from the same input, nothing to do", file=sys.stderr)
        return PackedCorpus.open(out_dir)
    if previous is None and out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise OutputError(f"{out_dir}: exists and is not a packed corpus; choose another folder or remove it")

    temporary = out_dir.with_name(f".{out_dir.name}.packing")
    finished = read_index(temporary)
    if finished is not None and finished["input_hash"] == input_hash:  # killed before it was put in its place
        _replace(out_dir, temporary)
        return PackedCorpus.open(out_dir)
    writer = PackWriter(temporary, shard_samples, stamps)
    prepare = partial(
        _prepare,
        sample_rate=sample_rate,
        trim_db=trim_db,
        margin=trim_margin,
        limits=(min_seconds, max_seconds),
        allow_short=allow_short,
    )
    try:
        with naming_output(out_dir), writer:
            _fill(writer, prepare, utterances, nj, out_dir.name)
            try:
                writer.finish({"input_hash": input_hash, **options})
            except BadDataError as error:
                raise BadDataError(f"{data_dir}: {error}") from None
        _replace(out_dir, temporary)
        _tell(corpus := PackedCorpus.open(out_dir))
    except BaseException:
        if not writer.has_finished_shards:
            shutil.rmtree(temporary, ignore_errors=True)
        raise
    return corpus


def summary(corpus: Corpus) -> str:
    """One line: duration, utterances, speakers, and how many were dropped for what."""
    reasons = Counter(reason for reason in corpus.dropped.values())
    dropped = "".join(f"; dropped {count}: {reason}" for reason, count in sorted(reasons.items()))
    return (
        f"{corpus.path}: {corpus.seconds / 3600:.3f} h, {len(corpus)} utterances, {len(corpus.speakers)} speakers, "
        f"{corpus.sample_rate} Hz{dropped}"
    )


def _tell(corpus: PackedCorpus) -> None:
    """Warn of what was odd; the index names them all."""
    for utterance, remark in list(corpus.remarks.items())[:REMARKS_SHOWN]:
        warnings.warn(f"{corpus.path}: utterance {utterance} {remark}", stacklevel=2)
    if (more := len(corpus.remarks) - REMARKS_SHOWN) > 0:
        warnings.warn(f"{corpus.path}: and {more} more, named as remarks in its index.json", stacklevel=2)


def _fill(writer: PackWriter, prepare: partial[Prepared], utterances: Sequence[Utterance], nj: int, name: str) -> None:
    if writer.done:
        count = f"{writer.done} of {len(utterances)} utterances"
        print(f"{name}: going on after {count}, which an interrupted run has packed", file=sys.stderr)
    rest = utterances[writer.done :]
    with tqdm(total=len(utterances), initial=writer.done, desc=f"pack {name}", unit="utt", disable=None) as bar:
        for u, result in zip(rest, _in_parallel(prepare, rest, nj), strict=True):
            writer.add(u.id, u.speaker, *result)
            bar.update()


def _replace(out_dir: Path, temporary: Path) -> None:
    """Put the finished pack in its place."""
    remove_notes(temporary)
    replace_folder(out_dir, temporary)


def _prepare(
    utterance: Utterance,
    *,
    sample_rate: int,
    trim_db: float | None,
    margin: float,
    limits: tuple[float, float | None],
    allow_short: bool,
) -> Prepared:
    """The utterance as it will be packed, or the reason to drop it; and what is odd about its sound."""
    waveform, rate = utterance.read(allow_short=allow_short)
    remark = mixdown_remark(waveform)
    mono = resample(waveform.mean(axis=0, keepdims=True, dtype=np.float32), rate, sample_rate)[0]
    if trim_db is not None:
        start, end = trim_range(mono, sample_rate, trim_db, margin)
        mono = mono[start:end]
        if not end:
            return "silent", remark
    shortest, longest = limits
    if len(mono) == 0 or len(mono) < shortest * sample_rate:
        return f"shorter than {shortest:g} s", None
    if longest is not None and len(mono) > longest * sample_rate:
        return f"longer than {longest:g} s", None
    return to_int16(mono), remark


def _in_parallel(prepare: partial[Prepared], utterances: Sequence[Utterance], nj: int) -> Iterator[Prepared]:
    if nj <= 1:
        yield from map(prepare, utterances)
        return
    # spawn, not fork: safe beside the threads of torch and soxr
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(nj, mp_context=context, initializer=_end_with_parent) as pool:
        block = 256 * nj  # bounds what waits in memory if writing is slower than reading
        try:
            for i in range(0, len(utterances), block):
                yield from pool.map(prepare, utterances[i : i + block], chunksize=8)
        except BrokenProcessPool:
            raise BadDataError("a packing process was killed, perhaps for want of memory; try a smaller --nj") from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """In a worker: a parent that is killed can't stop its pool, whose workers would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _stamps(utterances: Sequence[Utterance], options: dict[str, Any]) -> list[str]:
    """What each packed utterance depends on: options, its lines, size and time of the file (contents are not read)."""
    common = json.dumps([VERSION, options], sort_keys=True)
    stamps = []
    for u in utterances:
        file: tuple[int, int] | None = None
        if not u.is_pipe and os.path.exists(u.recording):
            status = os.stat(u.recording)
            file = (status.st_size, status.st_mtime_ns)
        stamps.append(repr((common, u.id, u.speaker, u.recording, u.start, u.end or math.inf, file)))
    return stamps
