"""One run of any kind: data, module, trainer, lock, resume, record. `audiovq train` calls this."""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Protocol

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from audiovq.codec.loading import pick_device
from audiovq.errors import AudioVQError, ConfigError
from audiovq.train import record
from audiovq.train.callbacks import (
    AverageWeights,
    ExportModel,
    PrintProgress,
    SaveCheckpoints,
    Stopped,
    raise_if_told,
)
from audiovq.train.checkpoints import CheckpointFiles
from audiovq.train.config import OptimizationConfig
from audiovq.train.experiment import Experiment
from audiovq.train.image.config import ImageExperimentConfig
from audiovq.train.image.module import ImageModule
from audiovq.train.image.run import ImageRun
from audiovq.train.prior.config import PriorRunConfig
from audiovq.train.prior.module import PriorModule
from audiovq.train.speech.module import AudioVQVAEModule
from audiovq.train.speech.run import SpeechRun


class Run(Protocol):
    """What sound, images and priors bring along, each of its own kind.

    Attributes:
        batch: what a batch consists of, in words.
        tables: files to leave beside config.yaml, by name.
    """

    batch: str
    tables: dict[str, str]

    @property
    def config(self) -> Experiment | PriorRunConfig:
        """The whole configuration, resolved."""
        ...

    def stamps(self) -> list[str]:
        """What changes when the training data do."""
        ...

    def summaries(self) -> list[str]:
        """A line a set of training data, for the record."""
        ...

    def module(self) -> AudioVQVAEModule | ImageModule | PriorModule:
        """To be trained."""
        ...

    def data(self) -> pl.LightningDataModule:
        """To train it on."""
        ...

    def callbacks(self) -> list[pl.Callback]:
        """Beside those that every run has."""
        ...


def train(
    config: Experiment,
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

    Under torchrun every process takes part; the batch size is that of all of them together. SIGTERM, SIGUSR1 and
    SIGHUP save the run and end the call. Raises OutputError if another run is writing to exp_dir, TrainingError if what
    it computes is not finite any more, KeyboardInterrupt after SIGINT, once the run is saved.
    """
    with suppress(Stopped):
        train_until_told(config, exp_dir, resume=resume, device=device, progress=progress)
    return Path(exp_dir) / "models"


def train_until_told(
    config: Experiment,
    exp_dir: str | Path,
    *,
    resume: str = "auto",
    device: str = "auto",
    progress: bool | None = None,
) -> Path:
    """As `train`, but raises Stopped if a signal ended the run before its end (not in a process of torchrun's)."""
    exp_dir = Path(exp_dir)
    try:
        execute(lambda fresh: make_run(config, exp_dir, fresh=fresh), exp_dir, resume, device, progress)
    except Stopped:
        if not launched():  # torchrun takes any status but 0 for a crash; it says itself that it was told to stop
            raise
    return exp_dir / "models"


def execute(make: Callable[[bool], Run], exp_dir: Path, resume: str, device: str, progress: bool | None) -> bool:
    """Go through a run in `exp_dir`, as its only writer; whether it came to `train.max_steps`, now or earlier.

    make: the run, told whether it starts anew. The rest as in `train_until_told`. Raises KeyboardInterrupt or Stopped
    if a signal stopped the run before its end.
    """
    progress = bool(sys.stderr and sys.stderr.isatty()) if progress is None else progress
    first = is_first()
    with record.sole_writer(exp_dir) if first else nullcontext():
        return _execute(make, exp_dir, resume, device, progress, first=first)


def _execute(
    make: Callable[[bool], Run], exp_dir: Path, resume: str, device: str, progress: bool, *, first: bool
) -> bool:
    if resume == "none" and first:
        record.move_earlier_run_away(exp_dir)
    checkpoint = find_checkpoint(exp_dir, resume)
    run = make(checkpoint is None)
    options = run.config.train
    settings = record.run_settings(run.config, run.stamps())
    if resume == "auto" and record.is_finished(exp_dir, settings):
        if first:
            print(f"{exp_dir}: trained to step {options.max_steps} with the same settings before, nothing to do")
        return True
    pl.seed_everything(options.seed, verbose=False)
    module = run.module()
    callbacks = run_callbacks(options, exp_dir, progress, run.callbacks())
    trainer = build_trainer(options, exp_dir, callbacks, device, progress)
    if trainer.is_global_zero:
        if checkpoint:
            record.tell_changes(exp_dir, run.config)
        (exp_dir / record.FINISHED).unlink(missing_ok=True)  # going on from it: it isn't at its end
        record.write_config(exp_dir, run.config, run.tables)
        record.write_environment(exp_dir, trainer.world_size, run.summaries())
        print(
            f"{module.model.num_parameters():,} parameters; batch of {run.batch} over {trainer.world_size} process(es),"
            f" {run.config.data.batch_size // trainer.world_size} in each; to step {options.max_steps}; "
            + (f"from {checkpoint}" if checkpoint else "from scratch"),
            flush=True,
        )
    fit(trainer, module, run.data(), checkpoint)
    finished = trainer.global_step >= options.max_steps
    if trainer.is_global_zero and finished:
        record.mark_finished(exp_dir, trainer.global_step, settings)
    return finished


def fit(trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule, checkpoint: Path | None) -> None:
    """Train. Raises KeyboardInterrupt or Stopped if a signal stopped the run before its end."""
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as error:  # what Lightning makes of a KeyboardInterrupt
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    except AudioVQError as error:  # one from a process that loads data comes with that process's traceback in its text
        if str(error).startswith("Caught "):
            raise type(error)(str(error).strip().splitlines()[-1].partition(": ")[2]) from error
        raise
    raise_if_told(trainer)


def launched() -> bool:
    """Whether torchrun started this process, as one of several."""
    return bool(TorchElasticEnvironment.detect())


def is_first() -> bool:
    """Whether this process is the only one of the run, or the first of several."""
    return not launched() or int(os.environ["RANK"]) == 0


def make_run(config: Experiment, exp_dir: Path, *, fresh: bool) -> Run:
    """The run that a configuration describes; not `fresh` if it goes on in exp_dir."""
    return ImageRun(config) if isinstance(config, ImageExperimentConfig) else SpeechRun(config, exp_dir, fresh=fresh)


def build_trainer(
    options: OptimizationConfig, exp_dir: Path, callbacks: list[pl.Callback], device: str, progress: bool
) -> pl.Trainer:
    """The trainer of any run: under torchrun one of its processes, with logs in exp_dir.

    Raises ConfigError for a device that this machine does not have.
    """
    processes = on_this_node = 1
    environment: ClusterEnvironment = LightningEnvironment()
    if launched():
        processes, on_this_node = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        environment = TorchElasticEnvironment()
    else:  # what Slurm, MPI or a shell left in the environment does not count
        environment.set_global_rank(0)
    return pl.Trainer(
        accelerator={"cpu": "cpu", "cuda": "gpu"}[pick_device(device).type],
        plugins=[environment, CheckpointFiles()],
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
    callbacks.append(
        SaveCheckpoints(
            folder,
            every=options.save_every,
            valid_every=valid_every,
            keep=options.keep,
            max_minutes=options.max_minutes,
        )
    )
    if progress:
        callbacks.append(TQDMProgressBar())
    return callbacks
