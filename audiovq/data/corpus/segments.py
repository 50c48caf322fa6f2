"""Random training segments out of corpora, as a pure function of (seed, step, rank).

Nothing is shuffled or remembered. A run that resumes at step n, or runs on another number of ranks or workers, sees
exactly the batches of an uninterrupted one.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from audiovq.data.corpus.augment import Augmentation
from audiovq.data.corpus.base import Corpus
from audiovq.errors import BadDataError, ConfigError

Batch = dict[str, torch.Tensor]


class SegmentBatches:
    """Batches of fixed-length segments.

    corpora: pairs of corpus and weight. A corpus is drawn by weight, then an utterance by duration, a start evenly.
    batch_size: global, over all ranks; rank r of w gets the r-th of w equal parts.
    gain_db: (low, high) of a random gain in dB on each segment, held down so that no sample exceeds 1; None for none.
    augmentation: what else is done to a segment, before the gain; None for nothing.
    speakers: the frozen list that `speaker` indexes; None gives 0 for all.
    align: samples; a segment starts at a multiple of it.

    Raises ConfigError for an impossible size, BadDataError for different rates or a speaker not in `speakers`.
    """

    def __init__(
        self,
        corpora: Sequence[tuple[Corpus, float]],
        *,
        batch_size: int,
        segment_samples: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        gain_db: tuple[float, float] | None = None,
        augmentation: Augmentation | None = None,
        speakers: Sequence[str] | None = None,
        align: int = 1,
    ):
        if not corpora or min(weight for _, weight in corpora) <= 0:
            raise ConfigError("corpora: at least one corpus is needed, and every weight must be above 0")
        if batch_size < 1 or batch_size % world_size:
            raise ConfigError(f"batch_size: {batch_size} segments can't be shared evenly by {world_size} processes")
        if seed < 0:
            raise ConfigError(f"seed: {seed}, must not be negative")
        if segment_samples < 1:
            raise ConfigError(f"segment_samples: {segment_samples}, must be at least 1")
        rates = sorted({corpus.sample_rate for corpus, _ in corpora})
        if len(rates) > 1:
            raise BadDataError(f"{corpora[0][0].path}: corpora have different rates {rates} Hz; pack them at one")
        self.sample_rate = rates[0]
        self.batch_size, self.segment_samples, self.seed = batch_size, segment_samples, seed
        self.rank, self.world_size = rank, world_size
        self.align = align
        self.gain_db, self.augmentation = gain_db, augmentation
        self._corpora = [corpus for corpus, _ in corpora]
        weights = np.array([weight for _, weight in corpora], dtype=np.float64)
        self._weight_ends: list[float] = np.cumsum(weights / weights.sum()).tolist()
        self._duration_ends = [np.cumsum([u.num_samples for u in corpus.utterances]) for corpus in self._corpora]
        self._speakers = [_speaker_indices(corpus, speakers) for corpus in self._corpora]

    def batch(self, step: int) -> Batch:
        """This rank's part of batch `step`: waveform float32 `[B, 1, T]`; int64 speaker, num_samples `[B]`, and
        origin `[B, 3]`: corpus, utterance and first sample.

        A segment shorter than T (a short utterance) is filled with zeros at its end; num_samples is its real length.
        """
        local = self.batch_size // self.world_size
        first = step * self.batch_size + self.rank * local
        waveform = torch.zeros(local, 1, self.segment_samples)
        speaker = torch.zeros(local, dtype=torch.int64)
        num_samples = torch.zeros(local, dtype=torch.int64)
        origin = torch.zeros(local, 3, dtype=torch.int64)
        for i in range(local):
            samples, speaker[i], place = self._item(first + i)
            origin[i] = torch.tensor(place)
            waveform[i, 0, : len(samples)] = torch.from_numpy(samples)
            num_samples[i] = len(samples)
        return {"waveform": waveform, "speaker": speaker, "num_samples": num_samples, "origin": origin}

    def _item(self, index: int) -> tuple[NDArray[np.float32], int, tuple[int, int, int]]:
        """The segment number `index` of the endless stream that `seed` names."""
        # a counter-based generator: stream `index` is reached at no cost, and no two items share random numbers
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=index << 64))
        u_corpus, u_utterance, u_start, u_gain = generator.random(4).tolist()
        c = min(bisect.bisect_right(self._weight_ends, u_corpus), len(self._corpora) - 1)
        corpus, ends = self._corpora[c], self._duration_ends[c]
        i = int(np.searchsorted(ends, int(u_utterance * int(ends[-1])), side="right"))
        spare = max(0, corpus.utterances[i].num_samples - self.segment_samples)
        start = int(u_start * (spare + 1)) // self.align * self.align
        samples = corpus.read(i, start, self.segment_samples)
        if self.augmentation is not None:
            samples = self.augmentation(samples, self.sample_rate, generator)
        if self.gain_db is not None or self.augmentation is not None:
            low, high = self.gain_db or (0.0, 0.0)
            gain = 10 ** ((low + (high - low) * u_gain) / 20)
            peak = float(np.abs(samples).max())
            samples *= np.float32(min(gain, 1.0 / peak) if peak > 0 else gain)
        return samples, int(self._speakers[c][i]), (c, i, start)


class SegmentDataset(IterableDataset[Batch]):
    """The batches from `start_step` on, for ever, for a DataLoader with `batch_size=None` and any number of workers."""

    def __init__(self, batches: SegmentBatches, start_step: int = 0):
        self.batches = batches
        self.start_step = start_step

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        # DataLoader takes from the workers in turn, so worker w of n makes every n-th step
        step, stride = (self.start_step, 1) if worker is None else (self.start_step + worker.id, worker.num_workers)
        while True:
            yield self.batches.batch(step)
            step += stride


def eval_segments(
    corpus: Corpus, segment_samples: int, count: int, *, speakers: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """The same `count` validation segments at every call: the middle of utterances spread evenly over the corpus.

    Each is a dict of waveform float32 `[1, T]`, speaker and num_samples (int64 scalars) and the utterance's id, so that
    a DataLoader collates them. Fewer come back if the corpus holds fewer utterances.
    """
    indices = _speaker_indices(corpus, speakers)
    count = min(count, len(corpus))
    items = []
    for k in range(count):
        i = k * len(corpus) // count
        start = max(0, corpus.utterances[i].num_samples - segment_samples) // 2
        samples = corpus.read(i, start, segment_samples)
        waveform = torch.zeros(1, segment_samples)
        waveform[0, : len(samples)] = torch.from_numpy(samples)
        items.append(
            {
                "waveform": waveform,
                "speaker": torch.tensor(int(indices[i])),
                "num_samples": torch.tensor(len(samples)),
                "utterance": corpus.utterances[i].id,
            }
        )
    return items


def _speaker_indices(corpus: Corpus, speakers: Sequence[str] | None) -> NDArray[np.int64]:
    """The index in `speakers` of each utterance's speaker."""
    if speakers is None:
        return np.zeros(len(corpus), dtype=np.int64)
    place = {speaker: i for i, speaker in enumerate(speakers)}
    for speaker in corpus.speakers:
        if speaker not in place:
            raise BadDataError(
                f"{corpus.path}: speaker {speaker} is not among the model's {len(speakers)} speakers; "
                "leave it out or train a model that knows it"
            )
    return np.array([place[u.speaker] for u in corpus.utterances], dtype=np.int64)
