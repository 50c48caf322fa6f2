"""The configuration of a prior's training: the same style as a codec's, with defaults that need no file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiovq.config import Config
from audiovq.prior.config import CodeSpec, NetworkConfig
from audiovq.train.config import OptimizationConfig, override, parse_as, read_tree

TRAIN = {"max_steps": 2000, "learning_rate": 1e-3, "valid_every": 200, "save_every": 200}


class PriorDataConfig(Config):
    """How codes become batches.

    Attributes:
        segment_frames: frames of a segment of a sequence, where it starts the past is unknown; grids are taken whole.
        batch_size: segments or grids per step over all processes together.
        valid_segments: how many held-out segments or grids are looked at in training, at most.
    """

    segment_frames: int = 256
    batch_size: int = 16
    valid_segments: int = 64


class PriorExperimentConfig(Config):
    """A whole training run of a prior."""

    prior: NetworkConfig
    data: PriorDataConfig = PriorDataConfig()
    train: OptimizationConfig


class PriorRunConfig(PriorExperimentConfig):
    """The same with the codes that are given beside it: what a run's config.yaml holds."""

    codes: CodeSpec


def load_prior_config(kind: str, path: str | Path | None, changes: Sequence[str] = ()) -> PriorExperimentConfig:
    """The defaults of a kind, a YAML file over them if given, and `a.b=value` changes over both.

    Raises ConfigError that names the file and the key.
    """
    tree: dict[str, Any] = {} if path is None else read_tree(path)
    tree["prior"] = {"kind": kind} | (tree.get("prior") or {})
    tree["train"] = TRAIN | (tree.get("train") or {})
    for change in changes:
        override(tree, change)
    return parse_as(PriorExperimentConfig, tree, str(path or f"prior {kind}"))
