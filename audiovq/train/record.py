"""The files in which a run records itself: configuration, environment, tables, and whether it is finished."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from audiovq import __version__
from audiovq.config import Config
from audiovq.data.files import atomic_output
from audiovq.errors import ConfigError, OutputError
from audiovq.train.config import parse_as

CONFIG, FINISHED = "config.yaml", "trained.json"
LOCK_SECONDS = 15  # to wait for another run's end
VERSIONS = ("torch", "lightning", "numpy", "soundfile", "soxr", "librosa")
# What may differ between two starts of the same run: it says where things lie and how often they are written down.
INCIDENTAL = ("data.root", "data.num_workers", "train.save_every", "train.log_every", "train.keep", "train.max_minutes")


def run_settings(config: Config, stamps: Sequence[str]) -> dict[str, Any]:
    """All that decides what comes out of a run, one value a key: `{"train.max_steps": 100, ..., "corpora": [...]}`.

    stamps: change when the training data do.
    """
    flat = {key: value for key, value in _flat(config.model_dump(mode="json")).items() if key not in INCIDENTAL}
    return flat | {"corpora": list(stamps)}


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """`key: old -> new` of every key that differs."""
    keys = [k for k in dict.fromkeys([*before, *after]) if before.get(k) != after.get(k)]
    return ["the training data" if k == "corpora" else f"{k}: {before.get(k)} -> {after.get(k)}" for k in keys]


def is_finished(exp_dir: Path, settings: dict[str, Any]) -> bool:
    """Whether the very same run was finished here.

    Raises ConfigError if another run was: it is not overwritten, and going on from its last step would change nothing.
    """
    path = exp_dir / FINISHED
    if not path.is_file():
        return False
    before = json.loads(path.read_text("utf-8"))["settings"]
    if before == settings:
        return True
    if settings["train.max_steps"] > before["train.max_steps"]:
        return False
    listed = changes(before, settings)
    raise ConfigError(
        f"{exp_dir}: a run was finished there with other settings ({'; '.join(listed[:3])}"
        f"{f' and {len(listed) - 3} more' if len(listed) > 3 else ''}); choose another folder, raise train.max_steps "
        "to go on, or begin anew with --resume none"
    )


def mark_finished(exp_dir: Path, step: int, settings: dict[str, Any]) -> None:
    """To be called when all steps are done and all models are written."""
    with atomic_output(exp_dir / FINISHED, force=True) as temporary:
        temporary.write_text(json.dumps({"step": step, "settings": settings}, indent=1) + "\n", encoding="utf-8")


def tell_changes(exp_dir: Path, config: Config) -> None:
    """Print what differs from the configuration that the run so far was made with."""
    if (exp_dir / CONFIG).is_file():
        before = run_settings(parse_as(type(config), yaml.safe_load((exp_dir / CONFIG).read_text("utf-8")), CONFIG), [])
        if listed := changes(before, run_settings(config, [])):
            print(f"{exp_dir}: going on with other settings than before: {'; '.join(listed)}", flush=True)


def move_earlier_run_away(exp_dir: Path) -> None:
    """Checkpoints, models and marks of a run go to `previous_N`, so that nothing of it is taken for the next one's."""
    names = [n for n in ("checkpoints", "models", CONFIG, FINISHED, "spk2idx") if (exp_dir / n).exists()]
    if not names:
        return
    number = next(n for n in range(1, 10**6) if not (exp_dir / f"previous_{n}").exists())
    (exp_dir / f"previous_{number}").mkdir()
    for name in names:
        (exp_dir / name).rename(exp_dir / f"previous_{number}" / name)
    print(f"{exp_dir}: the earlier run is in previous_{number}", flush=True)


@contextmanager
def sole_writer(exp_dir: Path) -> Iterator[None]:
    """While the block runs no other process enters it for the same folder.

    A killed torchrun leaves its processes behind, which go on: two runs would write over each other's checkpoints.
    Raises OutputError after a few seconds; what a killed run leaves behind (data loaders) is gone by then.
    """
    import fcntl

    exp_dir.mkdir(parents=True, exist_ok=True)
    with (exp_dir / ".lock").open("w") as lock:
        for _ in range(LOCK_SECONDS):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(1)
        else:
            raise OutputError(f"{exp_dir}: another run is writing there; stop it first, or choose another folder")
        yield


def write_config(exp_dir: Path, config: Config, tables: Mapping[str, str]) -> None:
    """`config.yaml`, as resolved, and `tables` beside it: the content of each file by its name."""
    texts = {CONFIG: yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)}
    for name, text in {**texts, **tables}.items():
        with atomic_output(exp_dir / name, force=True) as temporary:
            temporary.write_text(text, encoding="utf-8")


def write_environment(exp_dir: Path, processes: int, corpora: Sequence[str]) -> None:
    """Append to `env.txt`: when and how the run was started, with which versions, on which data (a line a corpus)."""
    path = exp_dir / "env.txt"
    earlier = path.read_text("utf-8") + "\n" if path.is_file() else ""
    lines = [
        f"started {time.strftime('%Y-%m-%d %H:%M:%S %z')}",
        f"command {' '.join(sys.argv)}",
        f"processes {processes}",
        f"audiovq {__version__}{_commit()}",
        f"python {platform.python_version()} on {platform.platform()}",
        *(f"{name} {version(name)}" for name in VERSIONS),
        *corpora,
    ]
    with atomic_output(path, force=True) as temporary:
        temporary.write_text(earlier + "\n".join(lines) + "\n", encoding="utf-8")


def _commit() -> str:
    """The git commit of a checkout, and whether it has changes; nothing for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f", git {done.stdout.strip()}" if done.returncode == 0 else ""


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
