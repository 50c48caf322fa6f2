"""Functions that codecs of all media share: loading a model, and refusing the file of another one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from audiovq import modelfolder
from audiovq.bitstream import FINGERPRINT_BYTES, Header
from audiovq.errors import BadModelError, ConfigError, ModelMismatchError

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def released(device: torch.device) -> Iterator[None]:
    """Within, a model runs as it was released: without gradients, and inside autocast as outside."""
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        yield


def as_released(method: Callable[P, R]) -> Callable[P, R]:
    """For methods of codecs: they run as the model was `released`."""

    @wraps(method)
    def run(*args: P.args, **options: P.kwargs) -> R:
        device: torch.device = args[0].device  # type: ignore[attr-defined]
        with released(device):
            return method(*args, **options)

    return run


def pick_device(device: str | torch.device) -> torch.device:
    """auto (CUDA if there is one), cpu or cuda; ConfigError for a device that this machine does not have."""
    name = str(device)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise ConfigError(f"device {name!r}; use auto, cpu or cuda")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device {name}: this machine has no usable CUDA device; use cpu or auto")
    try:
        place = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"device {name}: this machine has {torch.cuda.device_count()} CUDA devices, from 0 on")
    return place


def name_for_files(name_or_path: str | os.PathLike[str]) -> str:
    """What files call a model: a bundled name or a hub id as it is, a folder by its own name without the way there."""
    name, folder = os.fspath(name_or_path), os.path.expanduser(name_or_path)
    if name in modelfolder.bundled_models() or not os.path.isdir(folder):
        return name
    return Path(folder).resolve().name or "model"


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


def check_trained(model: torch.nn.Module, name: object) -> None:
    """BadModelError for a model with a codebook that waits for its first training batch."""
    if any(key.endswith(".initialised") and not value for key, value in model.named_buffers()):
        raise BadModelError(f"{name}: was never trained, its codebook is empty; train it first")


def check_fingerprint(header: Header, source: str, name: str, fingerprint: bytes) -> None:
    """ModelMismatchError unless the codes are those of this model."""
    if header.fingerprint != fingerprint[:FINGERPRINT_BYTES]:
        raise ModelMismatchError(
            f"{source}: made by model {header.model} {header.fingerprint.hex()}, but this is {name}"
            f" {fingerprint[:FINGERPRINT_BYTES].hex()}; get the right model, or use --allow-mismatch to try this one"
        )
