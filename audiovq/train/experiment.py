"""The two kinds of experiment of `audiovq train`: a codec of sound or a model of images, chosen by `model.kind`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from audiovq.train.config import load_tree, parse_as
from audiovq.train.image.config import ImageExperimentConfig
from audiovq.train.speech.config import SpeechExperimentConfig

Experiment = SpeechExperimentConfig | ImageExperimentConfig


def load_experiment(
    path: str | Path, overrides: Sequence[str] = (), *, changes: Sequence[str | Path] = ()
) -> Experiment:
    """Read a configuration of either sort (see `audiovq.train.config.load_tree`); ConfigError names file and key."""
    return parse_experiment(load_tree(path, overrides, changes), ", ".join(str(p) for p in (path, *changes)))


def parse_experiment(tree: dict[str, Any], source: str) -> Experiment:
    """A plain tree as a config; ConfigError names the first wrong key."""
    model = tree.get("model")
    images = isinstance(model, dict) and model.get("kind") == "image"
    return parse_as(ImageExperimentConfig, tree, source) if images else parse_as(SpeechExperimentConfig, tree, source)
