"""What a run that trains a codec of sound consists of: corpora, module, callbacks."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from torch.utils.data import DataLoader

from audiovq.data.augment import Augmentation, BandLimit, Noise, Room
from audiovq.data.corpus import open_corpus
from audiovq.data.pack import summary
from audiovq.data.segments import SegmentBatches, SegmentDataset, eval_segments
from audiovq.errors import ConfigError
from audiovq.train import record
from audiovq.train.callbacks import AudioExample, Throughput
from audiovq.train.config import AugmentConfig, ExperimentConfig, parse_config
from audiovq.train.module import AudioVQVAEModule
from audiovq.train.validation_scores import ValidationScores


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
    """Training batches from the step the trainer stands at, and fixed validation segments."""

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        self.config = config

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from `trainer.global_step` on: a resumed run sees the data of an uninterrupted one."""
        data, trainer = self.config.data, self.trainer
        batches = SegmentBatches(
            [(open_corpus(data.root / c.path, self.config.model.sample_rate), c.weight) for c in data.train],
            batch_size=data.batch_size,
            segment_samples=data.segment_samples,
            seed=self.config.train.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            gain_db=data.gain_db,
            augmentation=build_augmentation(data.augment),
            speakers=self.config.model.speakers or None,
        )
        start = trainer.global_step if trainer else 0
        return DataLoader(SegmentDataset(batches, start), batch_size=None, num_workers=data.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """The same segments at every validation."""
        data = self.config.data
        corpus = open_corpus(data.root / data.valid, self.config.model.sample_rate)
        items = eval_segments(
            corpus, data.valid_samples, data.valid_segments, speakers=self.config.model.speakers or None
        )
        return DataLoader(items, batch_size=data.batch_size)  # type: ignore[arg-type]


def with_speakers(config: ExperimentConfig, exp_dir: Path, fresh: bool) -> ExperimentConfig:
    """Fill `model.speakers` if the model wants a table (speaker_dim > 0) and the configuration names none.

    They come from the run that is resumed, or else from the training data: a table never changes under a run's feet.
    Raises ConfigError if the run in exp_dir has another model.
    """
    path = exp_dir / record.CONFIG
    earlier = None if fresh or not path.exists() else parse_config(yaml.safe_load(path.read_text("utf-8")), str(path))
    if config.model.speaker_dim and not config.model.speakers:
        if earlier is not None:
            names = earlier.model.speakers
        else:
            corpora = [open_corpus(config.data.root / c.path, config.model.sample_rate) for c in config.data.train]
            names = sorted({name for corpus in corpora for name in corpus.speakers})
        config = config.model_copy(update={"model": config.model.model_copy(update={"speakers": names})})
    if earlier is not None and config.model != earlier.model:
        raise ConfigError(
            f"{path}: the run there has another model; resume with its configuration, or choose a new --exp"
        )
    return config


class SpeechRun:
    """See `audiovq.train.run.Run`.

    Args:
        config: as read; speakers are filled in by `with_speakers`.
        exp_dir, fresh: of the run; not `fresh` if it goes on.
    """

    def __init__(self, config: ExperimentConfig, exp_dir: Path, *, fresh: bool) -> None:
        self.config = with_speakers(config, exp_dir, fresh)
        data = self.config.data
        self._paths = [data.root / path for path in (*(pack.path for pack in data.train), data.valid)]
        self.batch = f"{data.batch_size} x {data.segment_samples} samples"

    def stamps(self) -> list[str]:
        """Of the corpora."""
        return [record.corpus_stamp(path) for path in self._paths]

    def summaries(self) -> list[str]:
        """A line a corpus."""
        return [summary(open_corpus(path, self.config.model.sample_rate)) for path in self._paths]

    def module(self) -> AudioVQVAEModule:
        """With random or released weights."""
        return AudioVQVAEModule(self.config)

    def data(self) -> SegmentData:
        """Batches and validation segments."""
        return SegmentData(self.config)

    def callbacks(self) -> list[pl.Callback]:
        """Throughput, an example to hear, scores."""
        options = self.config.train
        own: list[pl.Callback] = [Throughput(options.log_every), AudioExample()]
        return [*own, ValidationScores(options.score_segments)] if options.score_segments else own
