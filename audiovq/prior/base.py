"""The contract of every prior over codes: the bits of given codes, and one distribution after the other.

All kinds factorise in the same way, without approximation: positions (frames, or places of a grid in raster order) one
after the other, and within a position its levels, coarsest first ("depth" order):

    p(codes) = product over positions p and levels q of p(c[q, p] | all codes of positions before p, c[0 .. q-1, p])
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from audiovq.errors import BadCodesError, ConfigError
from audiovq.modelfolder import write_model_folder
from audiovq.prior.config import CodeSpec, PriorConfig

Codes = NDArray[np.int64]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class CodeItem:
    """The codes of one recording or image: int64 `[Q, F]` or `[Q, H, W]`, and the speaker or class if known."""

    name: str
    codes: Codes
    label: str | None = None


class Stepper(ABC):
    """Goes through positions and levels in order, with B streams in step.

    Attributes:
        level: of the next code.
    """

    level: int

    @abstractmethod
    def log_probabilities(self) -> Probabilities:
        """ln p of every value of the next code, `[B, K]`, given all that was pushed."""

    @abstractmethod
    def push(self, codes: Codes) -> None:
        """Tell the next code of each stream, `[B]`."""


class Prior(ABC):
    """A distribution over codes.

    Attributes:
        config: its codes and kind.
    """

    config: PriorConfig

    @property
    def spec(self) -> CodeSpec:
        """The codes it is for."""
        return self.config.codes

    @abstractmethod
    def bits(self, codes: Codes, label: str | None = None) -> Probabilities:
        """-log2 p of every code of an item, in the shape of `codes`; errors: those of `check`."""

    @abstractmethod
    def steps(self, batch_size: int, space: Sequence[int], label: str | None = None) -> Stepper:
        """Code after code, for items of `space` positions: (F,) or (H, W)."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """What stands in `model.safetensors`."""

    @abstractmethod
    def num_parameters(self) -> int:
        """Weights, or counts that were kept."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, as a codec does: weights in float16, counts exact."""
        write_model_folder(folder, self.config.model_dump(mode="json"), self.tensors())

    def check(self, codes: Codes) -> None:
        """Raise BadCodesError unless `codes` is a whole item of this prior's spec."""
        check_codes(self.spec, codes)

    def label_index(self, label: str | None) -> int | None:
        """Place of a label, None for a prior without; ConfigError for one that is unknown or missing."""
        labels = self.spec.labels
        if not labels:
            if label is not None:
                raise ConfigError(f"label {label!r}: this prior has no labels; leave it out")
            return None
        if label not in labels:
            known = ", ".join(labels[:8]) + (" ..." if len(labels) > 8 else "")
            raise ConfigError(f"label {label!r} is not one that this prior knows: {known}")
        return labels.index(label)


def check_codes(spec: CodeSpec, codes: NDArray[Any]) -> None:
    """Raise BadCodesError unless `codes` are integers of the shape and range that `spec` says."""
    rank = 2 if spec.layout == "sequence" else 3
    if codes.ndim != rank or len(codes) != spec.num_quantizers or codes.dtype.kind not in "iu":
        wanted = f"integers [{spec.num_quantizers}, {'F' if rank == 2 else 'H, W'}]"
        raise BadCodesError(f"codes are {codes.dtype} {list(codes.shape)}; this prior wants {wanted}")
    for level, (row, size) in enumerate(zip(codes, spec.codebook_sizes, strict=True)):
        if row.size and not 0 <= row.min() <= row.max() < size:
            raise BadCodesError(f"level {level}: codes go from {row.min()} to {row.max()}, its codebook to {size - 1}")


def positions(space: Sequence[int]) -> int:
    """How many positions an item of that shape has."""
    return math.prod(space)
