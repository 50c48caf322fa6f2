"""The similarity of a prior's samples to the encoder's codes: pairs of neighbouring codes, and features once decoded.

Two references go with every figure: other items of the encoder (the best possible), and their codes shuffled over items
and positions, which keeps only how often each code is used. All sets have the same number of items of the same sizes,
because both measures depend on that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from audiovq.errors import BadDataError
from audiovq.prior import CodeItem, CodeSpec, Prior, sample
from audiovq.prior.base import Codes
from audiovq.prior.sampling import uniform_streams
from studies.recognition.frechet import Features, frechet_distance, kernel_distance

PIECES = 200  # items compared, at most
LONGEST_SECONDS = 1.0  # of a sequence; longer ones are cut
LONGEST_POSITIONS = 64  # of a sequence whose frame rate is not known


@dataclass(frozen=True)
class Judge:
    """Decodes codes and extracts features.

    Attributes:
        description: of the features: whose, how good.
        features: items, whose labels name the voice -> `[N, D]`.
    """

    description: str
    features: Callable[[Sequence[CodeItem]], Features]


@dataclass(frozen=True)
class Quality:
    """Distances to codes of the encoder.

    Attributes:
        pairs: Jensen-Shannon divergence of neighbouring codes, in bits, 0 to 1; see `pair_divergence`.
        frechet, kernel: of decoded features (`studies.recognition.frechet`); None without a judge.
    """

    pairs: float
    frechet: float | None = None
    kernel: float | None = None


class SampleQuality:
    """Measures against as many training items as there are test items.

    Args:
        spec: of the codes.
        train, test: items of the encoder.
        judge: None to compare codes only.

    Raises BadDataError if there are fewer than two of either.
    """

    def __init__(
        self, spec: CodeSpec, train: Sequence[CodeItem], test: Sequence[CodeItem], judge: Judge | None
    ) -> None:
        both = [pieces(items, spec) for items in (train, test)]
        count = min(PIECES, *map(len, both))
        if count < 2:
            raise BadDataError("two items to fit on and two to test on are needed to compare samples with")
        reference, self.own = ([found[k * len(found) // count] for k in range(count)] for found in both)
        self.spec, self.judge = spec, judge
        self.pairs = [pair_counts(reference, level, spec) for level in range(spec.num_quantizers)]
        self.features = None if judge is None else judge.features(reference)

    def anchors(self) -> dict[str, Quality]:
        """Of the test items, and of their codes shuffled."""
        return {"(encoder, test part)": self.of(self.own), "(the same, shuffled)": self.of(shuffled(self.own))}

    def of_prior(self, prior: Prior, seed: int = 0) -> Quality:
        """Of items drawn from `prior`, of the sizes and in the voices of the test items."""
        longest = max((item.codes.shape[1:] for item in self.own), key=np.prod)
        uniforms = uniform_streams(seed, len(self.own), int(np.prod(longest)), self.spec.num_quantizers)
        drawn = sample(prior, uniforms, longest)  # what comes first does not depend on what comes after
        cut = [tuple(slice(n) for n in item.codes.shape) for item in self.own]
        return self.of([replace(item, codes=x[c]) for item, x, c in zip(self.own, drawn, cut, strict=True)])

    def of(self, items: Sequence[CodeItem]) -> Quality:
        """Of any items."""
        levels = range(self.spec.num_quantizers)
        pairs = float(np.mean([pair_divergence(self.pairs[q], pair_counts(items, q, self.spec)) for q in levels]))
        if self.judge is None or self.features is None:
            return Quality(pairs)
        features = self.judge.features(items)
        return Quality(pairs, frechet_distance(self.features, features), kernel_distance(self.features, features))


def pieces(items: Sequence[CodeItem], spec: CodeSpec) -> list[CodeItem]:
    """Sequences cut into whole seconds, or as they are if shorter; grids as they are."""
    if spec.layout == "grid":
        return list(items)
    size = max(2, round(spec.frame_rate * LONGEST_SECONDS)) if spec.frame_rate else LONGEST_POSITIONS
    found = []
    for item in items:
        ends = range(size, item.codes.shape[1] + 1, size) or [item.codes.shape[1]]
        found += [replace(item, codes=item.codes[:, max(0, end - size) : end]) for end in ends]
    return [item for item in found if item.codes.shape[1] > 1]


def shuffled(items: Sequence[CodeItem], seed: int = 0) -> list[CodeItem]:
    """Items of the same shapes, with all codes of a level exchanged between items and positions."""
    rng = np.random.default_rng(seed)
    levels = [
        rng.permutation(np.concatenate([item.codes[q].ravel() for item in items])) for q in range(len(items[0].codes))
    ]
    ends = np.cumsum([item.codes[0].size for item in items])[:-1]
    rows = [np.split(level, ends) for level in levels]
    return [
        replace(item, codes=np.stack([row[i] for row in rows]).reshape(item.codes.shape))
        for i, item in enumerate(items)
    ]


def pair_counts(items: Sequence[CodeItem], level: int, spec: CodeSpec) -> NDArray[np.float64]:
    """How often each code of a level follows each (in a grid: stands to its right), `[K * K]`."""
    size = spec.codebook_sizes[level]
    counts = np.zeros(size * size)
    for item in items:
        row: Codes = item.codes[level]
        counts += np.bincount((row[..., :-1] * size + row[..., 1:]).ravel(), minlength=size * size)
    return counts


def pair_divergence(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Jensen-Shannon divergence in bits of two lists of counts: 0 for the same shares, 1 if nothing occurs in both.

    Of few counts it is well above 0 for two sets of one origin, the more so the larger K; the anchors show how much.
    """
    p, q = (counts / counts.sum() for counts in (x, y))

    def entropy(shares: NDArray[np.float64]) -> float:
        positive = shares[shares > 0]
        return float(-(positive * np.log2(positive)).sum())

    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
