"""Counted priors: uniform, unigram, bigram and trigram, smoothed by hierarchical Dirichlet priors.

Order n falls back on order n - 1 with the weight of `a` counts (MacKay and Peto 1995, "A hierarchical Dirichlet
language model"):

    p_n(c | context) = (count(context, c) + a_n p_{n-1}(c | shorter context)) / (count(context) + a_n),  p_0 = 1 / K

Each level has its own `a_n`, chosen on the training codes themselves: every code is predicted from the counts without
it. So codes without structure get a large `a_n`, and the prior stays uniform.

The contexts, nearest first, are: in a sequence, the same level one frame before, then the level above in the same frame
(for the first level, two frames before); in a grid, the same level to the left, then the level above in the same place
(for the first level, the place above). A place outside is a symbol of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.errors import BadDataError
from audiovq.prior.base import CodeItem, Codes, Prior, Probabilities, Stepper, check_codes
from audiovq.prior.config import COUNTED, CountedConfig, PriorConfig

CONCENTRATIONS = 2.0 ** np.arange(-6, 25, 0.5)
Table = tuple[NDArray[np.int64], NDArray[np.int64]]  # sorted keys context * K + code, and how often each occurred


class NGramPrior(Prior):
    """Counts of codes after 0, 1 or 2 others. Made by `fit`.

    Args:
        config: with the concentrations of each level and order.
        tables: of each level, of each order from 1 on.
    """

    def __init__(self, config: PriorConfig, tables: Sequence[Sequence[Table]]) -> None:
        self.config = config
        self.tables = [list(level) for level in tables]
        kind = config.prior
        assert isinstance(kind, CountedConfig)
        self.order = COUNTED.index(kind.kind)
        self.concentrations = kind.concentrations
        # Tables of contexts alone: the same, with one code.
        self.contexts = [
            [_merge(keys // size, counts) for keys, counts in level]
            for level, size in zip(self.tables, config.codes.codebook_sizes, strict=True)
        ]

    @classmethod
    def fit(cls, config: PriorConfig, items: Iterable[CodeItem]) -> NGramPrior:
        """Count `items` and choose the concentrations; BadDataError if there is no code."""
        kind, sizes = config.prior, config.codes.codebook_sizes
        assert isinstance(kind, CountedConfig)
        order = COUNTED.index(kind.kind)
        seen: list[list[list[Codes]]] = [[[] for _ in range(order)] for _ in sizes]
        empty = True
        for item in items:
            check_codes(config.codes, item.codes)
            empty &= item.codes.size == 0
            for level in range(len(sizes)):
                keys = context_keys(item.codes, level, order, sizes)
                for n in range(1, order + 1):
                    seen[level][n - 1].append((keys[n] * sizes[level] + item.codes[level]).ravel())
        if empty:
            raise BadDataError("there are no codes to count; check the paths")
        joined = [[np.concatenate(keys) for keys in level] for level in seen]
        tables = [[_merge(keys) for keys in level] for level in joined]
        found = [_concentrations(*level) for level in zip(tables, joined, sizes, strict=True)]
        chosen = kind.model_copy(update={"concentrations": found})
        return cls(config.model_copy(update={"prior": chosen}), tables)

    def bits(self, codes: Codes, label: str | None = None) -> Probabilities:
        """See `Prior.bits`."""
        self.check(codes)
        self.label_index(label)
        sizes = self.spec.codebook_sizes
        bits = np.zeros(codes.shape)
        for level, size in enumerate(sizes):
            keys = context_keys(codes, level, self.order, sizes)
            p = np.full(codes.shape[1:], 1 / size)
            for n in range(1, self.order + 1):
                a = self.concentrations[level][n - 1]
                count = look_up(self.tables[level][n - 1], keys[n] * size + codes[level])
                total = look_up(self.contexts[level][n - 1], keys[n])
                p = (count + a * p) / (total + a)
            bits[level] = -np.log2(p)
        return bits

    def distribution(self, level: int, contexts: Sequence[int]) -> Probabilities:
        """p of every code `[K]`, from the context keys of orders 1, 2, ..."""
        size = self.spec.codebook_sizes[level]
        p = np.full(size, 1 / size)
        for n, context in enumerate(contexts, start=1):
            keys, counts = self.tables[level][n - 1]
            first, last = np.searchsorted(keys, [context * size, (context + 1) * size])
            p *= self.concentrations[level][n - 1]
            p[keys[first:last] - context * size] += counts[first:last]
            p /= p.sum()
        return p

    def steps(self, batch_size: int, space: Sequence[int], label: str | None = None) -> Stepper:
        """See `Prior.steps`."""
        self.label_index(label)
        return NGramSteps(self, batch_size, space)

    def tensors(self) -> dict[str, Tensor]:
        """The tables, as `level.order.keys` and `level.order.counts`; one empty tensor for the uniform prior."""
        found = {
            f"{level}.{n}.{name}": torch.from_numpy(values)
            for level, tables in enumerate(self.tables)
            for n, table in enumerate(tables, start=1)
            for name, values in zip(("keys", "counts"), table, strict=True)
        }
        return found or {"empty": torch.zeros(0, dtype=torch.int64)}

    @classmethod
    def from_tensors(cls, config: PriorConfig, tensors: dict[str, Tensor]) -> NGramPrior:
        """What `tensors` gave; KeyError if some are missing, ValueError for those that are no such tables."""
        order = COUNTED.index(config.prior.kind)
        tables = [
            [
                (tensors[f"{level}.{n}.keys"].numpy(), tensors[f"{level}.{n}.counts"].numpy())
                for n in range(1, order + 1)
            ]
            for level in range(config.codes.num_quantizers)
        ]
        for level in tables:
            for keys, counts in level:
                if keys.ndim != 1 or keys.shape != counts.shape or {keys.dtype, counts.dtype} != {np.dtype(np.int64)}:
                    raise ValueError("its tables are no lists of integers")
                if not keys.size or keys[0] < 0 or counts.min() < 1 or (np.diff(keys) <= 0).any():
                    raise ValueError("its tables are no sorted counts")
        found = config.prior.concentrations if isinstance(config.prior, CountedConfig) else []
        if order and (len(found) != len(tables) or any(len(own) != order or min(own) <= 0 for own in found)):
            raise ValueError("its concentrations are not one of each level and order")
        return cls(config, tables)

    def num_parameters(self) -> int:
        """Counts that are kept, and concentrations."""
        return sum(len(keys) for level in self.tables for keys, _ in level) + sum(map(len, self.concentrations))


class NGramSteps(Stepper):
    """Keeps what has come, and looks up one distribution at a time."""

    def __init__(self, prior: NGramPrior, batch_size: int, space: Sequence[int]) -> None:
        self.prior, self.level, self.position = prior, 0, 0
        self.shape = tuple(space)
        self.codes = np.zeros((batch_size, prior.spec.num_quantizers, *self.shape), np.int64)

    def log_probabilities(self) -> Probabilities:
        """See `Stepper`."""
        sizes, place = self.prior.spec.codebook_sizes, np.unravel_index(self.position, self.shape)
        rows = []
        for codes in self.codes:
            found = contexts_at(codes, self.level, tuple(map(int, place)), sizes)[: max(0, self.prior.order - 1)]
            keys = [0]
            for code, width in found:
                keys.append(keys[-1] * width + code)
            rows.append(self.prior.distribution(self.level, keys[: self.prior.order]))
        return np.log(np.stack(rows))

    def push(self, codes: Codes) -> None:
        """See `Stepper`."""
        self.codes.reshape(*self.codes.shape[:2], -1)[:, self.level, self.position] = codes
        self.level += 1
        if self.level == self.codes.shape[1]:
            self.level, self.position = 0, self.position + 1


def neighbours(level: int, rank: int) -> list[tuple[int, tuple[int, ...]]]:
    """Of a code, (level, offset to earlier positions) of the codes it is predicted from, nearest first."""
    before = (1,) if rank == 1 else (0, 1)
    second = (level - 1, (0,) * rank) if level else (level, (2,) if rank == 1 else (1, 0))
    return [(level, before), second]


def contexts_at(codes: Codes, level: int, place: tuple[int, ...], sizes: Sequence[int]) -> list[tuple[int, int]]:
    """(code, number of symbols) of each neighbour of one place."""
    found = []
    for other, offset in neighbours(level, len(place)):
        there = tuple(p - o for p, o in zip(place, offset, strict=True))
        outside = min(there) < 0
        found.append((sizes[other] if outside else int(codes[(other, *there)]), sizes[other] + 1))
    return found


def context_keys(codes: Codes, level: int, order: int, sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Context of every code of a level as one integer, for orders 0 (unused), 1, ..., each of the codes' shape."""
    space = codes.shape[1:]
    keys = [np.zeros(space, np.int64), np.zeros(space, np.int64)]
    for other, offset in neighbours(level, len(space))[: max(0, order - 1)]:
        shifted = np.full(space, sizes[other], np.int64)
        into = tuple(slice(o, None) for o in offset)
        shifted[into] = codes[other][tuple(slice(0, max(0, n - o)) for o, n in zip(offset, space, strict=True))]
        keys.append(keys[-1] * (sizes[other] + 1) + shifted)
    return keys


def look_up(table: Table, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each key occurred; 0 for one that is not there."""
    known, counts = table
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, counts[place], 0)


def _merge(keys: NDArray[np.int64], counts: NDArray[np.int64] | None = None) -> Table:
    """Sorted distinct keys and the sum of their counts."""
    distinct, inverse = np.unique(keys, return_inverse=True)
    return distinct, np.bincount(inverse, counts, len(distinct)).astype(np.int64)


def _concentrations(tables: Sequence[Table], keys: Sequence[NDArray[np.int64]], size: int) -> list[float]:
    """a_n of each order, one after the other, that give the training codes most probability without themselves."""
    found: list[float] = []
    p: float | NDArray[np.float64] = 1 / size
    for table, own in zip(tables, keys, strict=True):
        others = look_up(table, own) - 1
        total = look_up(_merge(table[0] // size, table[1]), own // size) - 1
        likelihood = [np.log(others + a * p).sum() - np.log(total + a).sum() for a in CONCENTRATIONS]
        a = float(CONCENTRATIONS[int(np.argmax(likelihood))])
        found.append(a)
        p = (others + a * p) / (total + a)
    return found
