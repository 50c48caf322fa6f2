"""What codecs of all media do alike when they load a model, and when they meet a file of another one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

from audiovq import modelfolder
from audiovq.bitstream import Header
from audiovq.errors import BadModelError, ConfigError, ModelMismatchError
from audiovq.modelfolder import CONFIG


def pick_device(name: str) -> torch.device:
    """auto (CUDA if there is one), cpu or cuda; ConfigError for a device that this machine does not have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r}; use auto, cpu or cuda")
    if name != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"device {name}: this machine has no usable CUDA device; use cpu or auto")
    return torch.device(name)


def is_image_model(folder: Path) -> bool:
    """Whether a model folder's configuration says that it is one of images."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False  # reading the model will say what is wrong
    return isinstance(config, dict) and config.get("kind") == "image"


def name_for_files(name_or_path: str | os.PathLike[str]) -> str:
    """What files call a model: a bundled name or a hub id as it is, a folder by its own name without the way there."""
    name, folder = os.fspath(name_or_path), Path(name_or_path).expanduser()
    if name in modelfolder.bundled_models() or not folder.is_dir():
        return name
    return folder.resolve().name or "model"


def bundled_model(name: str, source: str, option: str) -> str:
    """A model that a file names, if it is bundled; else BadModelError that asks for `option`.

    Whoever wrote the file chose the name. So no folder of this machine is opened and nothing is downloaded by it.
    """
    bundled = modelfolder.bundled_models()
    if name not in bundled:
        known = ", ".join(bundled) or "none"
        raise BadModelError(
            f"{source} by model {name!r}, which is not bundled ({known}); name its folder with {option}"
        )
    return name


def model_at_hand(header: Header) -> str:
    """The bundled model that a `.codes` file names; else BadModelError."""
    return bundled_model(header.model, "the codes were made", "--model")


def check_fingerprint(header: Header, source: str, name: str, fingerprint: bytes) -> None:
    """ModelMismatchError unless the codes are those of this model."""
    if header.fingerprint != fingerprint[:8]:
        raise ModelMismatchError(
            f"{source}: made by model {header.model} {header.fingerprint.hex()}, but this is {name}"
            f" {fingerprint[:8].hex()}; get the right model, or use --allow-mismatch to try this one"
        )
