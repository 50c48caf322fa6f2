"""The pitch of training segments: each utterance is tracked once, whole, when a segment of it is first drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from audiovq.audio.excitation import Pulses
from audiovq.audio.pitch import PitchTrack, track_pitch
from audiovq.data.corpus.base import Corpus

Batch = dict[str, Any]


class SegmentsWithPitch(IterableDataset[Batch]):
    """Batches with `f0`, `voiced` `[B, F]` and `cycles` `[B, T]` beside the waveform, see `pulses_of`.

    Args:
        segments: whose starts lie on frames of the track.
        corpora: that they are drawn from.
    """

    def __init__(self, segments: Iterable[Batch], corpora: Sequence[Corpus]) -> None:
        self.segments, self.corpora = segments, corpora
        self._tracks: dict[tuple[int, int], PitchTrack] = {}

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.segments:
            length = batch["waveform"].shape[-1]
            rows = [self._track(c, i).between(start, length) for c, i, start in batch["origin"].tolist()]
            yield {**batch, **_stacked(rows)}

    def _track(self, corpus: int, utterance: int) -> PitchTrack:
        key = corpus, utterance
        if key not in self._tracks:
            source = self.corpora[corpus]
            self._tracks[key] = track_pitch(source.read(utterance), source.sample_rate)
        return self._tracks[key]


def with_pitch(item: Batch, sample_rate: int) -> Batch:
    """The same of a single segment: waveform `[1, T]`."""
    waveform = item["waveform"]
    rows = [track_pitch(waveform[0].numpy(), sample_rate).between(0, waveform.shape[-1])]
    return {**item, **{name: value[0] for name, value in _stacked(rows).items()}}


def pulses_of(batch: Batch) -> Pulses:
    """The pulse train that is in step with a batch's recordings."""
    return Pulses(batch["cycles"], batch["f0"], batch["voiced"])


def _stacked(rows: list[tuple[Any, Any, Any]]) -> dict[str, Tensor]:
    names = ("f0", "voiced", "cycles")
    return {name: torch.from_numpy(np.stack(part)) for name, part in zip(names, zip(*rows, strict=True), strict=True)}
