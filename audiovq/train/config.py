"""Configuration that all runs share: optimization, and reading YAML with `-o key=value` overrides into types."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from audiovq.config import Config, ConfigT
from audiovq.errors import ConfigError

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")  # how pydantic calls it, of models and of dataclasses


class OptimizationConfig(Config):
    """How the weights move.

    Attributes:
        max_minutes: of one start of the run, after which it is validated, saved and ends; the next start goes on.
        max_steps: optimizer steps; learning_rate: peak; warmup_steps: linear from 0.
        final_rate: share of the peak that a cosine reaches at max_steps.
        gradient_clip: norm.
        weight_average: EMA factor, at its highest, of the weights that are validated and exported; 0 for none.
        valid_every, save_every: in steps; log_every: in steps.
        keep: how many checkpoints by step stay beside `last` and `best`.
        precision: "32-true", "bf16-mixed" or "16-mixed".
        collapse_usage: a warning is printed when a level uses a smaller share of its codes between two validations.
        score_segments: how many validation segments are scored with PESQ and STOI, in a process beside the training.
    """

    seed: int = 0
    max_steps: int
    max_minutes: float | None = Field(None, gt=0)
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    final_rate: float = 0.02
    gradient_clip: float = 1.0
    weight_average: float = 0.0
    valid_every: int = 500
    save_every: int = 500
    log_every: int = 20
    keep: int = 1
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    collapse_usage: float = 0.1
    score_segments: int = 0


def load_tree(path: str | Path, overrides: Sequence[str] = (), changes: Sequence[str | Path] = ()) -> dict[str, Any]:
    """Read YAML, lay the files `changes` over it, apply `a.b=value` overrides (values are YAML too).

    Raises ConfigError that names the file and the key.
    """
    tree = read_tree(path)
    for change in changes:
        tree = merge(tree, read_tree(change))
    for one in overrides:
        override(tree, one)
    return tree


def merge(tree: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`tree` with the keys of `change` in place of its own; mappings merge, unless they are of another `kind`."""
    if change.get("kind", tree.get("kind")) != tree.get("kind"):
        return change
    merged = tree | change
    for key in tree.keys() & change.keys():
        if isinstance(tree[key], dict) and isinstance(change[key], dict):
            merged[key] = merge(tree[key], change[key])
    return merged


def read_tree(path: str | Path) -> dict[str, Any]:
    """A YAML file as a plain tree; ConfigError if it is none."""
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: must hold keys and values, as model, data, train")
    return tree


def parse_as(kind: type[ConfigT], tree: dict[str, Any], source: str) -> ConfigT:
    """A plain tree as a config; ConfigError names the first wrong key."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = "unknown key" if first["type"] in UNKNOWN else first["msg"]
        raise ConfigError(f"{source}: {where}: {reason}") from error


def override(tree: dict[str, Any], change: str) -> None:
    """Apply `a.b=value` to a plain tree; ConfigError if there is no such place."""
    key, equals, value = change.partition("=")
    if not equals:
        raise ConfigError(f"-o {change}: want key=value, for instance -o train.max_steps=100")
    *path, last = key.split(".")
    node: Any = tree
    for i, part in enumerate(path):
        node = _child(node, part, ".".join(path[: i + 1]), change)
    if isinstance(node, list):
        _child(node, last, key, change)  # only existing items can be replaced
        node[int(last)] = yaml.safe_load(value)
    elif isinstance(node, dict):
        node[last] = yaml.safe_load(value)
    else:
        raise ConfigError(f"-o {change}: {'.'.join(path)} is a value, not a group of keys")


def _child(node: Any, part: str, path: str, change: str) -> Any:
    if isinstance(node, dict):
        return node.setdefault(part, {})
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        return node[int(part)]
    raise ConfigError(f"-o {change}: there is no {path}")
