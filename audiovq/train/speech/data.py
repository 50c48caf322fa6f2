"""Segments of corpora, batched for a codec's training, with their pitch where that is needed."""

from collections.abc import Sequence
from typing import Any

from torch.utils.data import IterableDataset, default_collate

from audiovq.audio.config import SourceDecoderConfig
from audiovq.audio.pitch import FRAMES_PER_SECOND
from audiovq.data.corpus.base import Corpus
from audiovq.data.corpus.segments import SegmentBatches, SegmentDataset, eval_segments
from audiovq.train.speech.config import SpectralObjectiveConfig, SpeechExperimentConfig
from audiovq.train.speech.pitch_targets import SegmentsWithPitch, with_pitch


def training_segments(
    config: SpeechExperimentConfig, corpora: Sequence[Corpus], *, start_step: int, rank: int, world_size: int
) -> IterableDataset[Any]:
    """This rank's part of the batches from a step on, out of the corpora in the order of `config.data.train`."""
    data, pitch = config.data, has_pitch(config)
    batches = SegmentBatches(
        [(corpus, c.weight) for corpus, c in zip(corpora, data.train, strict=True)],
        batch_size=data.batch_size,
        segment_samples=data.segment_samples,
        seed=config.train.seed,
        rank=rank,
        world_size=world_size,
        gain_db=data.gain_db,
        augmentation=data.augment,
        speakers=config.model.speakers or None,
        align=config.model.sample_rate // FRAMES_PER_SECOND if pitch else 1,
    )
    segments = SegmentDataset(batches, start_step)
    return SegmentsWithPitch(segments, corpora) if pitch else segments


def validation_segments(config: SpeechExperimentConfig, corpus: Corpus) -> list[dict[str, Any]]:
    """The same segments at every validation, in batches; the last may be smaller."""
    data = config.data
    items = eval_segments(corpus, data.valid_samples, data.valid_segments, speakers=config.model.speakers or None)
    if has_pitch(config):
        items = [with_pitch(item, corpus.sample_rate) for item in items]
    return [default_collate(items[i : i + data.batch_size]) for i in range(0, len(items), data.batch_size)]


def has_pitch(config: SpeechExperimentConfig) -> bool:
    """Whether what is trained must be told the recordings' pitch."""
    objective = config.objective
    source = isinstance(config.model.decoders.get(objective.decoder), SourceDecoderConfig)
    return source or (isinstance(objective, SpectralObjectiveConfig) and objective.periodicity_weight > 0)
