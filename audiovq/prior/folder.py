"""Loads a prior from its folder, and checks which codes it is for."""

from __future__ import annotations

from pathlib import Path

from audiovq.errors import BadModelError, ModelMismatchError
from audiovq.modelfolder import build_filled, read_model_folder, tensors_disagree, validate_config
from audiovq.prior.base import Prior
from audiovq.prior.config import CodeSpec, CountedConfig, PriorConfig
from audiovq.prior.network import NetworkPrior
from audiovq.prior.ngram import NGramPrior


def load_prior(folder: str | Path, device: str = "cpu") -> Prior:
    """Read it, networks in eval mode on `device`; BadModelError for a folder that is not one of a prior."""
    stored = read_model_folder(Path(folder))
    if "prior" not in stored.config:
        raise BadModelError(f"{folder}: holds no prior; make one with `audiovq prior fit`")
    config = validate_config(PriorConfig, stored)
    if isinstance(config.prior, CountedConfig):
        if floats := [name for name, tensor in stored.tensors.items() if tensor.is_floating_point()]:
            raise BadModelError(f"{folder}: {floats[0]} must be of integers; fetch the prior again")
        try:
            return NGramPrior.from_tensors(config, stored.tensors)
        except KeyError as error:
            raise tensors_disagree(stored, error.args[0]) from None
        except ValueError as error:
            raise BadModelError(f"{folder}: config.json and model.safetensors hold no prior: {error}") from None
    return build_filled(lambda: NetworkPrior(config), stored).to(device)


def check_same_codes(ours: CodeSpec, theirs: CodeSpec, source: str, *, allow_mismatch: bool = False) -> None:
    """Refuse codes that are not those a prior was fitted on.

    Args:
        ours: of the prior; theirs: of the codes.
        source: what the message names.
        allow_mismatch: let codes of another codec pass if they have the same shape and codebook sizes.

    Raises ModelMismatchError.
    """
    for what, a, b in (
        ("codebook sizes", ours.codebook_sizes, theirs.codebook_sizes),
        ("layout", ours.layout, theirs.layout),
    ):
        if a != b:
            raise ModelMismatchError(
                f"{source}: {what} {b}, but the prior was fitted on {a}; encode them so, or fit anew"
            )
    if ours.fingerprint != theirs.fingerprint and not allow_mismatch:
        raise ModelMismatchError(
            f"{source}: codes of model {theirs.model} {theirs.fingerprint}, but the prior was fitted on those of"
            f" {ours.model} {ours.fingerprint}; fit one on these codes, or use --allow-mismatch to try this one"
        )
