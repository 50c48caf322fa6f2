"""The model folder: `config.json` and `model.safetensors`, read once, and the folder that a name stands for.

This module knows no particular model. The layout is Hugging Face's; nothing in it is ever unpickled.
"""

import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from audiovq.config import ConfigT
from audiovq.data.files import atomic_output
from audiovq.errors import BadModelError
from audiovq.quantize import training_state

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_CONFIG_BYTES = MAX_WEIGHTS_HEADER_BYTES = 2**22  # some hundred times what a large model has
ModelT = TypeVar("ModelT", bound=nn.Module)
# what a model may change, or be given later, while its codes stay what they are
NOT_IN_CODES = ("decoder", "decoders", "speakers", "speaker_dim", "default_num_quantizers")
NOT_IN_CODES_TENSORS = ("decoder.", "decoders.", "speaker_table.")
_LFS = b"version https://git-lfs.github.com/"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class StoredModel:
    """A model folder that was read: what is asked of it later opens no file again.

    Attributes:
        folder: where it is.
        config: of `config.json`.
        tensors: of `model.safetensors`, in the types they are stored in.
    """

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def is_image(self) -> bool:
        """Whether it is a model of images."""
        return self.config.get("kind") == "image"

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 (32 bytes) over configuration and tensors: names, types, shapes and values, in sorted order."""
        return _sha256(self.config, self.tensors)

    @property
    def codes_fingerprint(self) -> bytes:
        """The same without decoders and voices: models that agree in it give the same codes and read each other's."""
        kept = {name: tensor for name, tensor in self.tensors.items() if not name.startswith(NOT_IN_CODES_TENSORS)}
        return _sha256({key: value for key, value in self.config.items() if key not in NOT_IN_CODES}, kept)


def bundled_models() -> dict[str, Path]:
    """Models that come with the package: name -> folder."""
    home = Path(str(files("audiovq"))) / "models"
    return {f.parent.name: f.parent for f in sorted(home.glob(f"*/{CONFIG}"))}


def resolve_model(name_or_path: str | Path, *, revision: str | None = None) -> Path:
    """A bundled name, a local folder, or a hub id "owner/name" (downloaded to the hub's cache) -> folder."""
    if str(name_or_path) in bundled_models():
        return bundled_models()[str(name_or_path)]
    path = Path(os.path.expanduser(name_or_path))
    if os.path.isdir(path):  # where Path.is_dir fails for a name that no file can have, this says no
        return path
    known = ", ".join(bundled_models()) or "none"
    if not _HUB_ID.fullmatch(str(name_or_path)) or os.path.exists(path):
        raise BadModelError(
            f"{str(name_or_path)[:100]}: not a model folder, nor a bundled model ({known}), nor a hub id owner/name"
        )
    from huggingface_hub import snapshot_download  # slow to import, and only wanted here

    try:
        return Path(
            snapshot_download(str(name_or_path), revision=revision, allow_patterns=[CONFIG, WEIGHTS, "coder.*"])
        )
    except Exception as error:  # the hub raises many types, of several libraries
        reason = str(error).strip().splitlines()[0]
        raise BadModelError(
            f"{name_or_path}: no such folder or bundled model ({known}), and the hub said: {reason}"
        ) from error


def read_model(name_or_path: str | Path, *, revision: str | None = None) -> StoredModel:
    """What a bundled name, a local folder or a hub id leads to; BadModelError, with the mend, for anything else."""
    return read_model_folder(resolve_model(name_or_path, revision=revision))


def read_model_folder(folder: Path) -> StoredModel:
    """Both files of a folder; BadModelError if one is missing or damaged."""
    config, weights = read_config(folder), folder / WEIGHTS
    with _open(weights) as file:
        if int.from_bytes(file.read(8), "little") > MAX_WEIGHTS_HEADER_BYTES:
            raise BadModelError(f"{weights}: damaged (the length of its header); fetch the model again")
    try:
        return StoredModel(folder, config, load_file(weights))
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise BadModelError(f"{weights}: damaged ({error}); fetch the model again") from error


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` as a dict, not checked yet; BadModelError if it is missing or no JSON object."""
    with _open(folder / CONFIG) as file:
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise BadModelError(f"{folder / CONFIG}: has over {MAX_CONFIG_BYTES} bytes; it is no model's")
    try:
        config = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadModelError(f"{folder / CONFIG}: damaged ({error}); fetch the model again") from error
    if not isinstance(config, dict):
        raise BadModelError(f"{folder / CONFIG}: not a JSON object; fetch the model again")
    return config


def _open(path: Path) -> BinaryIO:
    """A regular file, as a pipe would wait and a device never end, that is not a stand-in of git-lfs."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadModelError(f"{path}: is not a regular file; fetch the model again")
        file = path.open("rb")
    except FileNotFoundError:
        raise BadModelError(f"{path.parent}: no {path.name}; a model folder has {CONFIG} and {WEIGHTS}") from None
    except OSError as error:
        raise BadModelError(f"{path}: can't be read ({error.strerror}); fetch the model again") from None
    if file.read(len(_LFS)) == _LFS:
        file.close()
        raise BadModelError(f"{path}: is a git-lfs pointer, not the file itself; run git lfs pull in {path.parent}")
    file.seek(0)
    return file


def write_model_folder(folder: str | Path, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write both files, each atomically; floating tensors become float16.

    Raises BadModelError, and writes nothing, if one then holds NaN or infinity.
    """
    folder = Path(folder)
    small = {
        k: (v.half() if v.is_floating_point() else v).detach().cpu().contiguous() for k, v in sorted(tensors.items())
    }
    if wrong := [name for name, tensor in small.items() if not tensor.isfinite().all()]:
        raise BadModelError(
            f"{folder}: not written, as {wrong[0]} ({len(wrong)} of {len(small)} tensors) holds NaN, or values beyond"
            " float16; a training went astray: lower train.learning_rate and go on from an earlier checkpoint"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_output(folder / WEIGHTS, force=True) as temporary:
        Path(temporary).write_bytes(save(small))  # save_file would make it readable by its owner only
    with atomic_output(folder / CONFIG, force=True) as temporary:
        Path(temporary).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _sha256(config: dict[str, Any], tensors: dict[str, Tensor]) -> bytes:
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{str(tensor.dtype).removeprefix('torch.')}:{list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.digest()


def write_model(folder: str | Path, config: BaseModel | None, model: nn.Module) -> None:
    """Write a model and its configuration; the state that only training needs is left out."""
    if config is None:
        raise BadModelError("this model was not built from a configuration; use from_config")
    left_out = training_state(model)
    tensors = {k: v for k, v in model.state_dict().items() if k not in left_out}
    write_model_folder(folder, config.model_dump(mode="json"), tensors)


def build_filled(build: Callable[[], ModelT], stored: StoredModel) -> ModelT:
    """The model that `build` makes of a configuration, with the stored tensors, in eval mode.

    A configuration that asks for more than the tensors hold is refused before anything is allocated. BadModelError too
    if it can't be built, or wants other tensors.
    """
    # a model in training has up to twice its codebooks more, and tables that are computed
    budget = _Budget(3 * sum(map(Tensor.numel, stored.tensors.values())) + 2**22)
    try:
        with _single_precision(), budget:
            model = build()
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        what = f"no model can be built of {CONFIG} ({error})"
        raise BadModelError(f"{stored.folder}: {what}; fetch the model again") from error
    fill_model(model, stored)
    return model.eval()


class _Budget(TorchFunctionMode):
    """Raises ValueError as soon as more elements are asked for than there should be."""

    def __init__(self, elements: int) -> None:
        super().__init__()
        self.left = elements

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func in (torch.empty, torch.zeros, torch.ones, torch.full, torch.randn, torch.rand):
            size = (kwargs or {}).get("size", args)
            size = size[0] if size and isinstance(size[0], tuple | list) else size
            self.left -= math.prod(size)
            if self.left < 0:
                raise ValueError(f"it asks for more than {WEIGHTS} holds")
        return func(*args, **(kwargs or {}))


@contextmanager
def _single_precision() -> Iterator[None]:
    """For building a model that is loaded: in float32, whatever torch's default type is just now."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def fill_model(model: nn.Module, stored: StoredModel) -> None:
    """Load stored tensors, each in the type the model has it in; BadModelError if they are others than it wants.

    So are NaN, infinity and values beyond that type, and integers or booleans in place of floats or the reverse. State
    that only training needs may be missing: it starts from the codebooks, so that training can go on.
    """
    wanted, tensors = model.state_dict(), stored.tensors
    missing = training_state(model).keys() - tensors.keys()
    wrong = sorted(wanted.keys() ^ (tensors.keys() | missing))
    wrong = wrong or [k for k in wanted if k not in missing and wanted[k].shape != tensors[k].shape]
    if wrong:
        raise tensors_disagree(stored, wrong[0])
    model.load_state_dict(
        {k: _as_wanted(stored.folder, k, v, wanted[k].dtype) for k, v in tensors.items()}, strict=False
    )
    started = training_state(model)
    model.load_state_dict({k: started[k] for k in missing}, strict=False)


def _as_wanted(folder: Path, name: str, stored: Tensor, dtype: torch.dtype) -> Tensor:
    if stored.is_floating_point() != dtype.is_floating_point:
        raise BadModelError(f"{folder}: {name} is stored as {stored.dtype}, it must be {dtype}; fetch the model again")
    tensor = stored.to(dtype)
    if not tensor.isfinite().all():
        raise BadModelError(f"{folder}: {name} holds NaN or infinity; fetch the model again, or train it anew")
    return tensor


def tensors_disagree(stored: StoredModel, name: object) -> BadModelError:
    """The error for a tensor that is missing, too many, or of another shape than the configuration says."""
    return BadModelError(f"{stored.folder}: {CONFIG} and {WEIGHTS} disagree on {name}; fetch both again")


def validate_config(kind: type[ConfigT], stored: StoredModel) -> ConfigT:
    """The configuration, typed; an unknown or wrong key becomes one line that names it."""
    try:
        return kind.model_validate(stored.config)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadModelError(f"{stored.folder}: {where}: {first['msg']}; made by a newer audiovq?") from error
