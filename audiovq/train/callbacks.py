"""Callbacks that every run has: a line per validation, throughput, model folders."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
from torch import Tensor

from audiovq.data.files import atomic_output

TOLD_BY = (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGINT)  # signals that stop a run, after saving it


class Throughput(pl.Callback):
    """Logs samples/s of training, over all processes, since the last time; validation's time does not count.

    `key` says which tensor of the batch is counted, `unit` what its elements are called.
    """

    def __init__(self, every: int, key: str = "waveform", unit: str = "samples") -> None:
        self.every, self.key, self.unit = every, key, unit
        self.seconds, self.samples = 0.0, 0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.seconds += time.perf_counter() - self.started
        self.samples += batch[self.key].numel() * trainer.world_size
        if trainer.global_step % self.every == 0:
            pl_module.log(f"train/{self.unit}_per_second", self.samples / max(self.seconds, 1e-9))
            self.seconds, self.samples = 0.0, 0


class Stopped(KeyboardInterrupt):
    """A signal ended the run, which is saved: the same command goes on from there."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later


def raise_if_told(trainer: pl.Trainer) -> None:
    """After `fit`: KeyboardInterrupt if SIGINT stopped the run before its end, Stopped if another signal did."""
    told = [c.received for c in trainer.callbacks if isinstance(c, SaveCheckpoints)]  # type: ignore[attr-defined]
    if any(told) and trainer.global_step < trainer.max_steps:
        raise KeyboardInterrupt if "SIGINT" in told else Stopped


def leave_signals_to_the_run(worker: int) -> None:
    """In a process that loads data: signals to the whole group (Ctrl-C, `scancel`) must not take the data away."""
    for signum in TOLD_BY:
        signal.signal(signum, signal.SIG_IGN)


class SaveCheckpoints(Checkpoint):
    """`stepN.ckpt` and, the same file, `last.ckpt`: every so many steps, at the end, and when the run is told to stop.

    SIGTERM, SIGUSR1 (how a cluster announces the end), SIGHUP and SIGINT stop the run after the current step; a second
    SIGINT does at once, and nothing is saved. A step that is validated is saved after its validation: a run killed in
    between resumes before both, and misses no validation.

    Args:
        folder: of the checkpoints; every: steps between two; keep: how many by step remain.
        valid_every: steps between two validations.
        max_minutes: after which the run is validated, saved and stopped; None for no limit.
    """

    def __init__(
        self, folder: Path, *, every: int, valid_every: int, keep: int, max_minutes: float | None = None
    ) -> None:
        self.folder, self.every, self.valid_every, self.keep = folder, every, valid_every, keep
        self.max_minutes = max_minutes
        self.received: str | None = None
        self.waiting = False  # for the end of the validation

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the signals over from Lightning, whose own handler leaves by an exception."""
        self.started = time.monotonic()

        def note(signum: int, frame: Any) -> None:
            if self.received == "SIGINT" and signum == signal.SIGINT:
                raise KeyboardInterrupt
            self.received = signal.Signals(signum).name

        if threading.current_thread() is threading.main_thread():  # elsewhere Python lets nobody take signals
            for signum in TOLD_BY:
                if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:  # nohup
                    signal.signal(signum, note)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # processes hear of it at different times, and must stop at the same step
        stop = trainer.strategy.reduce_boolean_decision(self.received is not None, all=False)
        late = trainer.strategy.reduce_boolean_decision(self._is_late(), all=False)
        step = trainer.global_step
        if stop or step % self.every == 0 or step >= trainer.max_steps:
            self.waiting = step % self.valid_every == 0
            if stop or not self.waiting:  # a cluster may not wait for a validation
                self._save(trainer)
        if late and not stop and step < trainer.max_steps:
            self.waiting = trainer.should_stop = True  # Lightning validates before it stops
            if trainer.is_global_zero:
                print(f"{self.max_minutes:g} minutes: stopped at step {step}; the same command goes on", flush=True)
        if stop:
            trainer.should_stop = True
            if trainer.is_global_zero:
                print(f"{self.received}: stopped at step {step}; the same command goes on from there", flush=True)

    def _is_late(self) -> bool:
        return self.max_minutes is not None and time.monotonic() - self.started > 60 * self.max_minutes

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.waiting and not trainer.sanity_checking:
            self.waiting = False
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        path = self.folder / f"step{trainer.global_step:07d}.ckpt"
        # all processes take part; it is written under a temporary name and renamed
        trainer.save_checkpoint(path, weights_only=False)
        if not trainer.is_global_zero:
            return
        with atomic_output(self.folder / "last.ckpt", force=True) as temporary:
            temporary.unlink()
            try:
                os.link(path, temporary)
            except OSError:  # a file system without hard links
                shutil.copyfile(path, temporary)
        saved = sorted(self.folder.glob("step*.ckpt"))
        for old in saved[: len(saved) - self.keep]:
            old.unlink()


class PrintProgress(pl.Callback):
    """One line per validation on rank 0, for logs that are not a terminal."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        shown = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith(("valid/", "train/"))}
        figures = "  ".join(f"{k} {v:.4g}" for k, v in sorted(shown.items()))
        print(f"{time.strftime('%H:%M:%S')}  step {trainer.global_step}  {figures}", flush=True)


class AverageWeights(WeightAveraging):
    """Exponential average of the weights, which takes their place in validation and in exports."""

    def __init__(self, decay: float) -> None:
        # codebooks follow the current weights: they are averages already
        super().__init__(use_buffers=False, multi_avg_fn=rising_average(decay))


def rising_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """The update of an exponential average, in place, whose factor rises as (1 + n) / (10 + n) to `decay`.

    With `decay` from the first step on, a good part of the average would be random weights for 1 / (1 - decay) steps.
    """

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        factor = min(decay, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, 1 - factor)

    return update


class ExportModel(pl.Callback):
    """After each validation writes the model folder `latest`, and `best` if the loss is the lowest yet.

    Stands before the weight-averaging callback in the list, so that it sees the averaged weights.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.best = float("inf")

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        model: Any = pl_module.model
        if hasattr(model, "quantizer") and not model.quantizer.ready:
            return
        model.save_pretrained(self.folder / "latest")
        loss = float(trainer.callback_metrics["valid/loss"])
        if loss < self.best:
            self.best = loss
            model.save_pretrained(self.folder / "best")

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
