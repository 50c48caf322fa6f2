"""Segments of corpora, batched for a codec's training, with their pitch where that is needed."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader, IterableDataset

from audiovq.audio.config import SourceDecoderConfig
from audiovq.audio.pitch import FRAMES_PER_SECOND
from audiovq.data.corpus.augment import Augmentation, BandLimit, Noise, Room
from audiovq.data.corpus.base import Corpus
from audiovq.data.corpus.segments import SegmentBatches, SegmentDataset, eval_segments
from audiovq.train.speech.config import AugmentConfig, SpectralObjectiveConfig, SpeechExperimentConfig
from audiovq.train.speech.pitch_targets import SegmentsWithPitch, with_pitch


def build_augmentation(config: AugmentConfig | None) -> Augmentation | None:
    """What the configuration says is done to training segments."""
    if config is None:
        return None
    return Augmentation(
        room=Room(**config.room.model_dump()) if config.room else None,
        noise=Noise(**config.noise.model_dump()) if config.noise else None,
        band_limit=BandLimit(**config.band_limit.model_dump()) if config.band_limit else None,
    )


class SegmentData(pl.LightningDataModule):
    """Training batches from the step the trainer stands at, and fixed validation segments.

    Args:
        config: of the run.
        corpora: to train on, in the order of `config.data.train`.
        valid: that validation segments come from.
    """

    def __init__(self, config: SpeechExperimentConfig, corpora: Sequence[Corpus], valid: Corpus) -> None:
        super().__init__()
        self.config, self.corpora, self.valid = config, corpora, valid

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from `trainer.global_step` on: a resumed run sees the data of an uninterrupted one."""
        data, trainer = self.config.data, self.trainer
        batches = SegmentBatches(
            [(corpus, c.weight) for corpus, c in zip(self.corpora, data.train, strict=True)],
            batch_size=data.batch_size,
            segment_samples=data.segment_samples,
            seed=self.config.train.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            gain_db=data.gain_db,
            augmentation=build_augmentation(data.augment),
            speakers=self.config.model.speakers or None,
            align=self.config.model.sample_rate // FRAMES_PER_SECOND if self.has_pitch else 1,
        )
        segments: IterableDataset[Any] = SegmentDataset(batches, trainer.global_step if trainer else 0)
        if self.has_pitch:
            segments = SegmentsWithPitch(segments, self.corpora)
        return DataLoader(segments, batch_size=None, num_workers=data.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """The same segments at every validation."""
        data = self.config.data
        items = eval_segments(
            self.valid, data.valid_samples, data.valid_segments, speakers=self.config.model.speakers or None
        )
        if self.has_pitch:
            items = [with_pitch(item, self.valid.sample_rate) for item in items]
        return DataLoader(items, batch_size=data.batch_size)  # type: ignore[arg-type]

    @property
    def has_pitch(self) -> bool:
        """Whether what is trained must be told the recordings' pitch."""
        objective = self.config.objective
        source = isinstance(self.config.model.decoders.get(objective.decoder), SourceDecoderConfig)
        return source or (isinstance(objective, SpectralObjectiveConfig) and objective.periodicity_weight > 0)
