"""Fits a prior, counted or trained, and leaves its folder. What `audiovq prior fit` calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from torch.utils.data import DataLoader

from audiovq.data.files import atomic_output
from audiovq.errors import ConfigError
from audiovq.modelfolder import CONFIG
from audiovq.prior import CodeItem, CodeSpec, Prior, load_prior
from audiovq.train.callbacks import Throughput
from audiovq.train.prior.config import PriorExperimentConfig
from audiovq.train.prior.data import CodeBatches, held_out_batches
from audiovq.train.prior.module import PriorModule
from audiovq.train.run import build_trainer, find_checkpoint, fit, run_callbacks

RUN = "run"  # the folder, inside the prior's own, of checkpoints and logs


class CodeData(pl.LightningDataModule):
    """Training batches from the step the trainer stands at, and fixed held-out ones."""

    def __init__(
        self, config: PriorExperimentConfig, spec: CodeSpec, items: Sequence[CodeItem], held_out: Sequence[CodeItem]
    ) -> None:
        super().__init__()
        self.config, self.spec, self.items, self.held_out = config, spec, items, held_out

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from `trainer.global_step` on."""
        trainer = self.trainer
        batches = CodeBatches(
            self.items,
            self.spec,
            self.config.data,
            seed=self.config.train.seed,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
            start_step=trainer.global_step if trainer else 0,
        )
        return DataLoader(batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        """The same at every validation."""
        return DataLoader(held_out_batches(self.held_out, self.spec, self.config.data), batch_size=None)  # type: ignore[arg-type]


def train_prior(
    config: PriorExperimentConfig,
    spec: CodeSpec,
    items: Sequence[CodeItem],
    held_out: Sequence[CodeItem],
    folder: str | Path,
    *,
    resume: str = "auto",
    device: str = "auto",
    progress: bool | None = None,
) -> Prior:
    """Train a network to `config.train.max_steps`; the prior with the lowest held-out bits is left in `folder`.

    Args:
        config: the run.
        spec: of the codes.
        items: codes to train on; held_out: codes to choose by.
        folder: config.json and model.safetensors go there; checkpoints, logs and config.yaml into its folder `run`.
        resume: "auto" goes on from the last checkpoint if there is one, "none" starts anew, else a checkpoint.
        device: "auto", "cpu" or "cuda".
        progress: show a bar; None for: if standard error is a terminal.

    Raises ConfigError if another prior was begun in `folder`, BadDataError for codes that can't be trained on,
    KeyboardInterrupt if a signal (SIGTERM, SIGUSR1) stopped it; the same call goes on from there.
    """
    exp_dir = Path(folder) / RUN
    progress = sys.stderr.isatty() if progress is None else progress
    checkpoint = find_checkpoint(exp_dir, resume)
    pl.seed_everything(config.train.seed, verbose=False)
    module = PriorModule(config, spec)
    _freeze_config(config, spec, exp_dir, fresh=checkpoint is None)
    own: list[pl.Callback] = [Throughput(config.train.log_every, key="codes", unit="codes")]
    callbacks = run_callbacks(config.train, exp_dir, progress, own)
    trainer = build_trainer(config.train, exp_dir, callbacks, device, progress)
    if trainer.is_global_zero:
        print(
            f"{module.model.num_parameters():,} parameters; {sum(i.codes.size for i in items):,} codes to train on,"
            f" {sum(i.codes.size for i in held_out):,} held out; to step {config.train.max_steps}; "
            + (f"from {checkpoint}" if checkpoint else "from scratch"),
            flush=True,
        )
    fit(trainer, module, CodeData(config, spec, items, held_out), checkpoint)
    if trainer.global_step < config.train.max_steps:  # its time was up, and it has said so
        raise KeyboardInterrupt
    best = load_prior(exp_dir / "models" / "best")
    if trainer.is_global_zero:
        best.save_pretrained(folder)
    return best


def _freeze_config(config: PriorExperimentConfig, spec: CodeSpec, exp_dir: Path, fresh: bool) -> None:
    """Write what is trained on what to config.yaml; a run that goes on must agree with what stands there."""
    path = exp_dir / "config.yaml"
    tree = {"codes": spec.model_dump(mode="json"), **config.model_dump(mode="json")}
    if path.exists() and not fresh:
        earlier = yaml.safe_load(path.read_text(encoding="utf-8"))
        for part in ("codes", "prior"):
            if earlier[part] != tree[part]:
                raise ConfigError(f"{path}: the run there has other {part}; choose another --out, or --resume none")
    exp_dir.mkdir(parents=True, exist_ok=True)
    if int(os.environ.get("RANK", "0")) == 0:
        with atomic_output(path, force=True) as temporary:
            temporary.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")


def refuse_finished(folder: Path, *, goes_on: bool, force: bool) -> None:
    """Raise ConfigError if a prior in `folder` would be overwritten; not if a run there `goes_on`."""
    if (folder / CONFIG).exists() and not force and not (goes_on and (folder / RUN).exists()):
        raise ConfigError(f"{folder}: holds a prior already; choose another --out, or use --force to overwrite it")
