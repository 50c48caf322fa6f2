"""Scores codes with a prior: bits per code, and bits per second where the frame rate is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from audiovq.prior.base import CodeItem, Prior


@dataclass(frozen=True)
class Score:
    """Of one item, or of several together.

    Attributes:
        name: of the item.
        bits: -log2 p of all its codes.
        level_bits: the same, level by level.
        num_codes: how many codes that is.
        uniform_bits: what they cost under the uniform prior.
        seconds: duration; None where the frame rate is not known, and for grids.
    """

    name: str
    bits: float
    level_bits: tuple[float, ...]
    num_codes: int
    uniform_bits: float
    seconds: float | None

    @property
    def bits_per_code(self) -> float:
        """NaN without codes."""
        return self.bits / self.num_codes if self.num_codes else float("nan")

    @property
    def bits_per_second(self) -> float | None:
        """None where the duration is not known, or is 0."""
        return self.bits / self.seconds if self.seconds else None

    @property
    def saved(self) -> float:
        """Share of the uniform prior's bits that this prior saves; NaN without codes."""
        return 1 - self.bits / self.uniform_bits if self.num_codes else float("nan")


def score_items(
    prior: Prior, items: Sequence[CodeItem], progress: Callable[[int, int], None] | None = None
) -> list[Score]:
    """The score of each item. Errors: those of `Prior.bits`. `progress` hears of items done and their number."""
    found = []
    for item in items:
        bits = prior.bits(item.codes, item.label if prior.spec.labels else None)
        num_positions = item.codes[0].size
        rate = prior.spec.frame_rate
        found.append(
            Score(
                name=item.name,
                bits=float(bits.sum()),
                level_bits=tuple(float(row.sum()) for row in bits),
                num_codes=item.codes.size,
                uniform_bits=num_positions * prior.spec.bits_per_position,
                seconds=num_positions / rate if rate and prior.spec.layout == "sequence" else None,
            )
        )
        if progress is not None:
            progress(len(found), len(items))
    return found


def total(scores: Sequence[Score], name: str = "all") -> Score:
    """All of them as one, each code counting alike."""
    seconds = [s.seconds for s in scores]
    return Score(
        name=name,
        bits=sum(s.bits for s in scores),
        level_bits=tuple(np.sum([s.level_bits for s in scores], axis=0).tolist()),
        num_codes=sum(s.num_codes for s in scores),
        uniform_bits=sum(s.uniform_bits for s in scores),
        seconds=None if None in seconds else sum(s for s in seconds if s is not None),
    )
