"""A data directory that training reads directly: it seeks in the files, mixes down and resamples for each segment.

It gives the same utterances and the same sound as its pack (made without trimming), but each read costs the start of a
decoder and a resampling. `benchmarks/data_reading.py` measures how much.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from audiovq.data.audio import read_audio
from audiovq.data.corpus.base import MIN_SECONDS, Corpus
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.recording import Sound, is_seekable, sample_range, segment_problem, sound_of
from audiovq.data.resampling import resample, resampling_range
from audiovq.errors import BadAudioError, BadDataError


@dataclass(frozen=True)
class DirectUtterance:
    """Where an utterance lies: samples `first` to `last` of a recording at `rate` Hz; `num_samples` at the corpus's."""

    id: str
    speaker: str
    num_samples: int
    recording: str
    rate: int
    first: int
    last: int


class DirectCorpus(Corpus):
    """Reads the utterances of a data directory at `sample_rate` Hz; the header of every recording is read at the start.

    Utterances shorter than 0.1 s are left out, as packing does. Raises BadDataError if the directory is not sound or
    has pipes or archives, of which no part can be read alone, and BadAudioError for a recording that can't be read.
    """

    def __init__(self, path: str | Path, sample_rate: int):
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.dropped: dict[str, str] = {}
        files = [self.path / name for name in ("wav.scp", "segments", "utt2spk")]
        self.input_hash = hashlib.sha256(b"".join(f.read_bytes() for f in files if f.is_file())).hexdigest()
        self._utterances: list[DirectUtterance] = []
        sounds: dict[str, Sound] = {}
        for u in tqdm(DataDir.read(path).utterances, desc=f"open {self.path.name}", unit="utt", disable=None, delay=2):
            if not is_seekable(u.recording):
                what = "no part of a pipe or an archive can be read alone"
                raise BadDataError(f"{self.path / 'wav.scp'}: {u.recording_id}: {what}; use `audiovq data pack`")
            if u.recording not in sounds:
                try:
                    sounds[u.recording] = sound_of(u.recording)
                except BadAudioError as error:
                    raise BadAudioError(f"{self.path / 'wav.scp'}: {u.recording_id}: {error}") from None
            rate, total = sounds[u.recording]
            if u.is_segment and (problem := segment_problem(u.start, u.end, total / rate)):
                raise BadDataError(f"{self.path / 'segments'}: {u.id} {problem}; mend it")
            first, last = sample_range(u.start, u.end, rate)
            last = total if last is None else min(last, total)
            num_samples = -(-max(0, last - first) * sample_rate // rate)
            if num_samples < max(1, MIN_SECONDS * sample_rate):
                self.dropped[u.id] = f"shorter than {MIN_SECONDS:g} s"
            else:
                self._utterances.append(DirectUtterance(u.id, u.speaker, num_samples, u.recording, rate, first, last))
        if not self._utterances:
            raise BadDataError(f"{self.path}: none of its utterances is as long as {MIN_SECONDS:g} s")

    @property
    def utterances(self) -> list[DirectUtterance]:
        return self._utterances

    def read(self, i: int, start: int = 0, num_samples: int | None = None) -> NDArray[np.float32]:
        u = self._utterances[i]
        stop = u.num_samples if num_samples is None else min(start + num_samples, u.num_samples)
        if start >= stop:
            return np.zeros(0, np.float32)
        begin, end = resampling_range(start, stop, self.sample_rate, u.rate, u.num_samples)
        end = min(end, u.last - u.first)
        waveform, rate = read_audio(u.recording, start=u.first + begin, num_samples=end - begin)
        if rate != u.rate or waveform.shape[1] != end - begin:
            raise BadAudioError(f"utterance {u.id}: {u.recording}: has changed since training began; start it again")
        mono = resample(waveform.mean(axis=0, keepdims=True, dtype=np.float32), u.rate, self.sample_rate)[0]
        offset = begin * self.sample_rate // u.rate  # exact: both rates have a sample there
        return mono[start - offset : stop - offset]
