"""Fits a prior, by counting or training, and writes its folder. `audiovq prior fit` calls this."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lightning.pytorch as pl
import yaml

from audiovq.errors import ConfigError
from audiovq.modelfolder import CONFIG
from audiovq.prior import CodeItem, CodeSpec, Prior, load_prior
from audiovq.train import record
from audiovq.train.callbacks import Throughput
from audiovq.train.config import parse_as
from audiovq.train.data import StepwiseData
from audiovq.train.prior.config import PriorExperimentConfig, PriorRunConfig
from audiovq.train.prior.data import CodeBatches, held_out_batches
from audiovq.train.prior.module import PriorModule
from audiovq.train.run import execute, is_first

RUN = "run"  # the folder, inside the prior's own, of checkpoints and logs


class PriorRun:
    """See `audiovq.train.run.Run`.

    Args:
        config, spec, items, held_out: as in `train_prior`.
        exp_dir, fresh: of the run; not `fresh` if it goes on, which it may with the same codes and network only.
    """

    def __init__(
        self,
        config: PriorExperimentConfig,
        spec: CodeSpec,
        items: Sequence[CodeItem],
        held_out: Sequence[CodeItem],
        exp_dir: Path,
        *,
        fresh: bool,
    ) -> None:
        self.config = PriorRunConfig(codes=spec, **dict(config))
        self._sets = {"to train on": items, "held out": held_out}
        self.tables: dict[str, str] = {}
        self.batch = f"{config.data.batch_size} " + (
            f"x {config.data.segment_frames} frames" if spec.layout == "sequence" else "grids"
        )
        path = exp_dir / record.CONFIG
        if path.exists() and not fresh:
            earlier = parse_as(PriorRunConfig, yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
            for part in ("codes", "prior"):
                if getattr(earlier, part) != getattr(self.config, part):
                    raise ConfigError(f"{path}: the run there has other {part}; choose another --out, or --resume none")

    def stamps(self) -> list[str]:
        """Of the codes."""
        return [_stamp(items) for items in self._sets.values()]

    def summaries(self) -> list[str]:
        """A line for the codes to train on, one for those held out."""
        return [
            f"codes {name}: {len(items)} items, {sum(item.codes.size for item in items):,} codes"
            for name, items in self._sets.items()
        ]

    def module(self) -> PriorModule:
        """With random weights."""
        return PriorModule(self.config)

    def data(self) -> StepwiseData:
        """Batches and held-out codes."""
        items, held_out = self._sets.values()
        spec, data = self.config.codes, self.config.data
        batches = partial(CodeBatches, items, spec, data, seed=self.config.train.seed)
        return StepwiseData(batches, held_out_batches(held_out, spec, data))

    def callbacks(self) -> list[pl.Callback]:
        """Throughput."""
        return [Throughput(self.config.train.log_every, key="codes", unit="codes")]


def _stamp(items: Sequence[CodeItem]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr((item.name, item.label, item.codes.shape)).encode())
        digest.update(item.codes.astype("<i8").tobytes())
    return digest.hexdigest()


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
        folder: config.json and model.safetensors go there; into its folder `run` what `audiovq.train.run.train` leaves.
        resume, device, progress: as there.

    Raises ConfigError if another prior was begun in `folder`, BadDataError for codes that can't be trained on,
    OutputError if another run is writing there, KeyboardInterrupt if a signal (SIGTERM, SIGUSR1) stopped it; the same
    call goes on from there.
    """
    exp_dir = Path(folder) / RUN
    finished = execute(
        lambda fresh: PriorRun(config, spec, items, held_out, exp_dir, fresh=fresh), exp_dir, resume, device, progress
    )
    if not finished:  # its time was up, and it has said so
        raise KeyboardInterrupt
    best = load_prior(exp_dir / "models" / "best")
    if is_first():
        best.save_pretrained(folder)
    return best


def refuse_finished(folder: Path, *, goes_on: bool, force: bool) -> None:
    """Raise ConfigError if a prior in `folder` would be overwritten; not if a run there `goes_on`."""
    if (folder / CONFIG).exists() and not force and not (goes_on and (folder / RUN).exists()):
        raise ConfigError(f"{folder}: holds a prior already; choose another --out, or use --force to overwrite it")
