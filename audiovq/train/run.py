"""Puts a run together: data, module, trainer, resume. What `audiovq train` calls."""

import os
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader

from audiovq.data.augment import Augmentation, BandLimit, Noise, Room
from audiovq.data.corpus import open_corpus
from audiovq.data.pack import summary
from audiovq.data.segments import SegmentBatches, SegmentDataset, eval_segments
from audiovq.errors import ConfigError
from audiovq.train import record
from audiovq.train.callbacks import (
    AudioExample,
    AverageWeights,
    ExportModel,
    PrintProgress,
    SaveCheckpoints,
    Throughput,
)
from audiovq.train.config import AugmentConfig, ExperimentConfig, OptimizationConfig, parse_config
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


def train(
    config: ExperimentConfig,
    exp_dir: str | Path,
    *,
    resume: str = "auto",
    device: str = "auto",
    progress: bool | None = None,
) -> Path:
    """Train to `config.train.max_steps` and return the folder of the exported models (`latest`, `best`).

    Args:
        config: the run.
        exp_dir: config.yaml, env.txt, spk2idx, checkpoints/, models/, tensorboard/ and csv/ go there, and trained.json
            at the end.
        resume: "auto" goes on from exp_dir's last checkpoint if there is one, and does nothing if the very same run
            came to its end; "none" starts anew, with an earlier run moved to previous_N; else a checkpoint.
        device: "auto", "cpu" or "cuda".
        progress: show a bar; None for: if standard error is a terminal.

    Under torchrun every process takes part; the batch size is that of all of them together. Raises OutputError if
    another run is writing to exp_dir.
    """
    exp_dir = Path(exp_dir)
    progress = sys.stderr.isatty() if progress is None else progress
    if int(os.environ.get("RANK", "0")) > 0:
        return _train(config, exp_dir, resume, device, progress, first=False)
    with record.sole_writer(exp_dir):
        return _train(config, exp_dir, resume, device, progress, first=True)


def _train(config: ExperimentConfig, exp_dir: Path, resume: str, device: str, progress: bool, *, first: bool) -> Path:
    if resume == "none" and first:
        record.move_earlier_run_away(exp_dir)
    checkpoint = find_checkpoint(exp_dir, resume)
    config = with_speakers(config, exp_dir, fresh=checkpoint is None)
    options, data = config.train, config.data
    paths = [data.root / path for path in (*(pack.path for pack in data.train), data.valid)]
    settings = record.run_settings(config, [record.corpus_stamp(path) for path in paths])
    if resume == "auto" and record.came_to_its_end(exp_dir, settings):
        if first:
            print(f"{exp_dir}: trained to step {options.max_steps} with the same settings before, nothing to do")
        return exp_dir / "models"
    pl.seed_everything(options.seed, verbose=False)
    module = AudioVQVAEModule(config)
    trainer = build_trainer(options, exp_dir, _callbacks(config, exp_dir, progress), device, progress)
    if trainer.is_global_zero:
        if checkpoint:
            record.tell_changes(exp_dir, config)
        (exp_dir / record.FINISHED).unlink(missing_ok=True)  # going on from it: it isn't at its end
        record.write_config(exp_dir, config)
        counts = [summary(open_corpus(path, config.model.sample_rate)) for path in paths]
        record.write_environment(exp_dir, trainer.world_size, counts)
        print(
            f"{module.model.num_parameters():,} parameters; batch of {data.batch_size} x {data.segment_samples} samples"
            f" over {trainer.world_size} process(es), {data.batch_size // trainer.world_size} in each; to step"
            f" {options.max_steps}; " + (f"from {checkpoint}" if checkpoint else "from scratch"),
            flush=True,
        )
    trainer.fit(module, datamodule=SegmentData(config), ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero and trainer.global_step >= options.max_steps:
        record.mark_finished(exp_dir, trainer.global_step, settings)
    return exp_dir / "models"


def build_trainer(
    options: OptimizationConfig, exp_dir: Path, callbacks: list[pl.Callback], device: str, progress: bool
) -> pl.Trainer:
    """The trainer of any run: under torchrun one of its processes, with logs in exp_dir."""
    processes, on_this_node = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    return pl.Trainer(
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[device],
        devices=on_this_node,
        num_nodes=processes // on_this_node,
        # a decoder or a codebook that is not trained yet gets no gradient
        strategy="ddp_find_unused_parameters_true" if processes > 1 else "auto",
        precision=options.precision,
        max_steps=options.max_steps,
        max_epochs=-1,
        val_check_interval=min(options.valid_every, options.max_steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=options.gradient_clip,
        log_every_n_steps=options.log_every,
        logger=[
            TensorBoardLogger(exp_dir, name=None, version="tensorboard"),
            CSVLogger(exp_dir, name="csv"),  # a new version_N at every start: a resumed run overwrites nothing
        ],
        callbacks=callbacks,
        enable_model_summary=False,
        enable_progress_bar=progress,
        use_distributed_sampler=False,  # the data knows its rank
    )


def find_checkpoint(exp_dir: Path, resume: str) -> Path | None:
    """Where a run goes on from; None to start anew. ConfigError for a file that is not there."""
    last = exp_dir / "checkpoints" / "last.ckpt"
    if resume == "auto":
        return last if last.exists() else None
    if resume == "none":
        return None
    if not Path(resume).is_file():
        raise ConfigError(f"--resume {resume}: no such checkpoint; use auto, none, or a .ckpt file")
    return Path(resume)


def _callbacks(config: ExperimentConfig, exp_dir: Path, progress: bool) -> list[pl.Callback]:
    own: list[pl.Callback] = [Throughput(config.train.log_every), AudioExample()]
    if config.train.score_segments:
        own.append(ValidationScores(config.train.score_segments))
    return run_callbacks(config.train, exp_dir, progress, own)


def run_callbacks(
    options: OptimizationConfig, exp_dir: Path, progress: bool, own: list[pl.Callback]
) -> list[pl.Callback]:
    """What every run has: its `own` callbacks, exports, a line a validation, averaging, checkpoints, a bar."""
    callbacks = [*own, LearningRateMonitor(), ExportModel(exp_dir / "models"), PrintProgress()]
    if options.weight_average:
        callbacks.append(AverageWeights(options.weight_average))
    folder = exp_dir / "checkpoints"
    callbacks.append(ModelCheckpoint(folder, "best", monitor="valid/loss", enable_version_counter=False))
    valid_every = min(options.valid_every, options.max_steps)
    # the last: what it saves are the states of all others after the step
    callbacks.append(SaveCheckpoints(folder, every=options.save_every, valid_every=valid_every, keep=options.keep))
    if progress:
        callbacks.append(TQDMProgressBar())
    return callbacks
