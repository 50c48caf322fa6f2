"""What a run that trains a codec of sound consists of: corpora, module, callbacks."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from torch.utils.data import DataLoader, IterableDataset

from audiovq.audio.config import SourceDecoderConfig
from audiovq.audio.pitch import FRAMES_PER_SECOND
from audiovq.data.corpus.augment import Augmentation, BandLimit, Noise, Room
from audiovq.data.corpus.open import open_corpus
from audiovq.data.corpus.pack import summary
from audiovq.data.corpus.segments import SegmentBatches, SegmentDataset, eval_segments
from audiovq.errors import ConfigError
from audiovq.train import record
from audiovq.train.callbacks import AudioExample, Throughput, leave_signals_to_the_run
from audiovq.train.config import AugmentConfig, ExperimentConfig, SpectralConfig, parse_config
from audiovq.train.speech.module import AudioVQVAEModule
from audiovq.train.speech.pitch_targets import SegmentsWithPitch, with_pitch
from audiovq.train.speech.scores import ValidationScores


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
        rate = self.config.model.sample_rate
        corpora = [open_corpus(data.root / c.path, rate) for c in data.train]
        batches = SegmentBatches(
            [(corpus, c.weight) for corpus, c in zip(corpora, data.train, strict=True)],
            batch_size=data.batch_size,
            segment_samples=data.segment_samples,
            seed=self.config.train.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            gain_db=data.gain_db,
            augmentation=build_augmentation(data.augment),
            speakers=self.config.model.speakers or None,
            align=rate // FRAMES_PER_SECOND if self.has_pitch else 1,
        )
        segments: IterableDataset[Any] = SegmentDataset(batches, trainer.global_step if trainer else 0)
        if self.has_pitch:
            segments = SegmentsWithPitch(segments, corpora)
        return DataLoader(
            segments, batch_size=None, num_workers=data.num_workers, worker_init_fn=leave_signals_to_the_run
        )

    def val_dataloader(self) -> DataLoader[Any]:
        """The same segments at every validation."""
        data = self.config.data
        corpus = open_corpus(data.root / data.valid, self.config.model.sample_rate)
        items = eval_segments(
            corpus, data.valid_samples, data.valid_segments, speakers=self.config.model.speakers or None
        )
        if self.has_pitch:
            items = [with_pitch(item, corpus.sample_rate) for item in items]
        return DataLoader(items, batch_size=data.batch_size)  # type: ignore[arg-type]

    @property
    def has_pitch(self) -> bool:
        """Whether what is trained must be told the recordings' pitch."""
        objective = self.config.objective
        source = isinstance(self.config.model.decoders.get(objective.decoder), SourceDecoderConfig)
        return source or (isinstance(objective, SpectralConfig) and objective.periodicity_weight > 0)


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
