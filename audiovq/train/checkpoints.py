"""Checkpoint files: written beside their target and renamed, read without unpickling anything but tensors."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from audiovq.data.files import atomic_output
from audiovq.errors import ConfigError, OutputError

PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "epoch")


class CheckpointFiles(TorchCheckpointIO):
    """How the trainer keeps its checkpoints. Lightning's own way writes to TMPDIR first, which may be small."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write `path`, whole or not at all; OutputError if there is no room."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with atomic_output(path, force=True) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as error:  # torch's writer hides the reason of a file that can't grow
            reason = next((e.strerror for e in causes(error) if isinstance(e, OSError) and e.strerror), str(error))
            raise OutputError(
                f"{path}: can't be written ({reason}); make room there, then the same command goes on"
            ) from error

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """What `save_checkpoint` wrote, on the CPU; ConfigError for anything else, naming the newest that is whole."""
        path = Path(path)
        try:
            if damage := damage_of(path):
                raise ConfigError(f"{path}: {damage}{_mend(path)}")
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except OSError as error:
            raise ConfigError(f"{path}: can't be read ({error.strerror}){_mend(path)}") from error
        except ConfigError:
            raise
        except Exception as error:  # torch raises many types, depending on what is wrong where
            raise ConfigError(f"{path}: not a checkpoint of audiovq train, or a damaged one{_mend(path)}") from error
        if not isinstance(checkpoint, dict) or not checkpoint.keys() >= set(PARTS):
            raise ConfigError(f"{path}: holds no run that could go on{_mend(path)}")
        return checkpoint


def damage_of(path: Path) -> str | None:
    """What is wrong with the bytes of a checkpoint; None if all of its parts have their checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return None if archive.testzip() is None else "damaged, its checksums are wrong"
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError):
        return "empty" if not path.stat().st_size else "cut off, damaged or no checkpoint"


def newest_whole(folder: Path, but: Path) -> Path | None:
    """The checkpoint in `folder` that was written last and is whole, other than `but`."""
    found = sorted((p for p in folder.glob("*.ckpt") if p != but), key=lambda p: p.stat().st_mtime, reverse=True)
    return next((path for path in found if damage_of(path) is None), None)


def _mend(path: Path) -> str:
    whole = newest_whole(path.parent, but=path)
    return f"; go on from the newest whole one: --resume {whole}" if whole else "; begin anew with --resume none"


def causes(error: BaseException | None) -> list[BaseException]:
    """The error and what it was raised from or while handling."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain
