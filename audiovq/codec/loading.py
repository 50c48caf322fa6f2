"""What codecs of all media do alike when they load a model, and when they meet a file of another one."""

from __future__ import annotations

from pathlib import Path

import torch

from audiovq.bitstream import Header
from audiovq.errors import BadModelError, ConfigError, ModelMismatchError
from audiovq.modelfolder import CONFIG, read_config
from audiovq.pretrained import bundled_models


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
    return read_config(folder).get("kind") == "image"


def model_at_hand(header: Header) -> str:
    """The model that a file names, if it is bundled or a folder here; else BadModelError.

    A hub id in a stranger's file is not followed: nothing is downloaded but by the user's word.
    """
    if header.model not in bundled_models() and not (Path(header.model).expanduser() / CONFIG).is_file():
        known = ", ".join(bundled_models()) or "none"
        raise BadModelError(
            f"the codes were made by model {header.model!r}, which is neither bundled ({known})"
            " nor a folder here; get the model and name it with --model"
        )
    return header.model


def check_trained(model: torch.nn.Module, name: object) -> None:
    """BadModelError for a model with a codebook that waits for its first training batch."""
    if any(key.endswith(".initialised") and not value for key, value in model.named_buffers()):
        raise BadModelError(f"{name}: was never trained, its codebook is empty; train it first")


def check_fingerprint(header: Header, source: str, name: str, fingerprint: bytes) -> None:
    """ModelMismatchError unless the codes are those of this model."""
    if header.fingerprint != fingerprint[:8]:
        raise ModelMismatchError(
            f"{source}: made by model {header.model} {header.fingerprint.hex()}, but this is {name}"
            f" {fingerprint[:8].hex()}; get the right model, or use --allow-mismatch to try this one"
        )
