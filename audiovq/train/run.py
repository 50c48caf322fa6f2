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

from audiovq.data.files import atomic_output
from audiovq.data.pack import PackedCorpus
from audiovq.data.segments import SegmentBatches, SegmentDataset, eval_segments
from audiovq.errors import ConfigError
from audiovq.train.callbacks import AudioExample, AverageWeights, ExportModel, PrintProgress, StopOnSignal, Throughput
from audiovq.train.config import ExperimentConfig, parse_config
from audiovq.train.module import AudioVQVAEModule


class SegmentData(pl.LightningDataModule):
    """Training batches from the step the trainer stands at, and fixed validation segments."""

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__()
        self.config = config

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from `trainer.global_step` on: a resumed run sees the data of an uninterrupted one."""
        data, trainer = self.config.data, self.trainer
        batches = SegmentBatches(
            [(PackedCorpus.open(pack.path), pack.weight) for pack in data.train],
            batch_size=data.batch_size,
            segment_samples=data.segment_samples,
            seed=self.config.train.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            gain_db=data.gain_db,
            speakers=self.config.model.speakers or None,
        )
        if batches.sample_rate != self.config.model.sample_rate:
            raise ConfigError(
                f"data.train: packed at {batches.sample_rate} Hz, but model.sample_rate is "
                f"{self.config.model.sample_rate}; pack the corpus at the model's rate"
            )
        start = trainer.global_step if trainer else 0
        return DataLoader(SegmentDataset(batches, start), batch_size=None, num_workers=data.num_workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """The same segments at every validation."""
        data = self.config.data
        corpus = PackedCorpus.open(data.valid)
        items = eval_segments(
            corpus, data.valid_samples, data.valid_segments, speakers=self.config.model.speakers or None
        )
        return DataLoader(items, batch_size=data.batch_size)  # type: ignore[arg-type]


def with_speakers(config: ExperimentConfig) -> ExperimentConfig:
    """Fill `model.speakers` from the training packs if the model wants a table (speaker_dim > 0) and has none."""
    if config.model.speaker_dim == 0 or config.model.speakers:
        return config
    names = sorted({name for pack in config.data.train for name in PackedCorpus.open(pack.path).speakers})
    model = config.model.model_copy(update={"speakers": names})
    return config.model_copy(update={"model": model})


def freeze_config(config: ExperimentConfig, exp_dir: Path, fresh: bool) -> ExperimentConfig:
    """Write the resolved configuration to exp_dir/config.yaml; on resume the speakers written there stay in force."""
    path = exp_dir / "config.yaml"
    if path.exists() and not fresh:
        earlier = parse_config(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
        if config.model.speaker_dim and not config.model.speakers:
            model = config.model.model_copy(update={"speakers": earlier.model.speakers})
            config = config.model_copy(update={"model": model})
        if config.model != earlier.model:
            raise ConfigError(
                f"{path}: the run there has another model; resume with its configuration, or choose a new --exp"
            )
    config = with_speakers(config)
    exp_dir.mkdir(parents=True, exist_ok=True)
    if int(os.environ.get("RANK", "0")) == 0:
        with atomic_output(path, force=True) as temporary:
            text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
            Path(temporary).write_text(text, encoding="utf-8")
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
        exp_dir: config.yaml, checkpoints/, models/, tensorboard/ and csv/ go there.
        resume: "auto" goes on from exp_dir's last checkpoint if there is one, "none" starts anew, else a checkpoint.
        device: "auto", "cpu" or "cuda".
        progress: show a bar; None for: if standard error is a terminal.

    Under torchrun every process takes part; the batch size is that of all of them together.
    """
    exp_dir = Path(exp_dir)
    progress = sys.stderr.isatty() if progress is None else progress
    checkpoint = _checkpoint(exp_dir, resume)
    config = freeze_config(config, exp_dir, fresh=checkpoint is None)
    options = config.train
    pl.seed_everything(options.seed, verbose=False)
    module = AudioVQVAEModule(config)
    trainer = pl.Trainer(
        accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[device],
        devices=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        num_nodes=int(os.environ.get("WORLD_SIZE", "1")) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        precision=options.precision,
        max_steps=options.max_steps,
        max_epochs=-1,
        val_check_interval=options.valid_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        gradient_clip_val=options.gradient_clip,
        log_every_n_steps=options.log_every,
        logger=[
            TensorBoardLogger(exp_dir, name=None, version="tensorboard"),
            CSVLogger(exp_dir, name="csv"),  # a new version_N at every start: a resumed run overwrites nothing
        ],
        callbacks=_callbacks(config, exp_dir, progress),
        enable_model_summary=False,
        enable_progress_bar=progress,
        use_distributed_sampler=False,  # the data knows its rank
    )
    if trainer.is_global_zero:
        count = module.model.num_parameters()
        print(
            f"{count:,} parameters; batch of {config.data.batch_size} x {config.data.segment_samples} samples over "
            f"{trainer.world_size} process(es); to step {options.max_steps}; "
            + (f"from {checkpoint}" if checkpoint else "from scratch"),
            flush=True,
        )
    trainer.fit(module, datamodule=SegmentData(config), ckpt_path=checkpoint, weights_only=True)
    return exp_dir / "models"


def _checkpoint(exp_dir: Path, resume: str) -> Path | None:
    last = exp_dir / "checkpoints" / "last.ckpt"
    if resume == "auto":
        return last if last.exists() else None
    if resume == "none":
        return None
    if not Path(resume).is_file():
        raise ConfigError(f"--resume {resume}: no such checkpoint; use auto, none, or a .ckpt file")
    return Path(resume)


def _callbacks(config: ExperimentConfig, exp_dir: Path, progress: bool) -> list[pl.Callback]:
    options = config.train
    callbacks: list[pl.Callback] = [Throughput(options.log_every), LearningRateMonitor()]
    callbacks += [ExportModel(exp_dir / "models"), AudioExample(), PrintProgress()]
    if options.weight_average:
        callbacks.append(AverageWeights(options.weight_average))
    folder = exp_dir / "checkpoints"
    callbacks.append(StopOnSignal(folder / "last.ckpt"))  # after the averaging, whose update belongs to the step
    callbacks.append(
        ModelCheckpoint(
            folder,
            "step{step:07d}",
            every_n_train_steps=options.save_every,
            save_top_k=options.keep,
            monitor="step",
            mode="max",
            save_last=True,
            auto_insert_metric_name=False,
        )
    )
    callbacks.append(ModelCheckpoint(folder, "best", monitor="valid/loss", enable_version_counter=False))
    if progress:
        callbacks.append(TQDMProgressBar())
    return callbacks
