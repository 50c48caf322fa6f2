"""The coder by tables: one table of frequencies a level, its row chosen by one code that is known already.

The context of the first level is its code one frame before, that of any other level the code of the level above in the
same frame. A table of K x K counts would be large and mostly empty, so it is fitted as a softmax of low rank: the
logits of row i are output . context[i] + bias, in int8 with 16 columns or fewer (the log-bilinear model of Mnih and
Hinton 2007 with one word of context). They are expanded to frequencies row by row, when a row is first used.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream.coder import Coding
from audiovq.prior.coder.base import IntegerCoder, checked_sizes
from audiovq.prior.coder.integers import MAX_TERMS, Ints, fingerprint, frequencies, product, starts
from audiovq.prior.coder.rangecoder import TOTAL

WEIGHT_BITS = 5  # a weight 1 is stored as 32
LOGIT_BITS = 2 * WEIGHT_BITS - 5  # of a logit below 1 / STEPS_PER_NAT
MAX_CODEBOOK = 2**13  # rows are kept once expanded, so this bounds the memory


class TableCoder(IntegerCoder):
    """See above.

    Args:
        tensors: of each level q `q.context` int8 `[rows, R]`, `q.output` int8 `[K, R]` and `q.bias` int32 `[K]`. The
            first level has K + 1 rows, the last for the start of a packet; the others one for each code above.

    Raises ValueError for others.
    """

    coding = Coding.TABLES

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.tensors = dict(tensors)
        levels = len(tensors) // 3
        wanted = {f"{q}.{part}" for q in range(levels) for part in ("context", "output", "bias")}
        if set(tensors) != wanted:
            raise ValueError(f"tensors {sorted(tensors)[:6]}; wanted {sorted(wanted)[:6]}")
        self.codebook_sizes = checked_sizes([tensors[f"{q}.bias"].size for q in range(levels)], MAX_CODEBOOK)
        self._tables = [
            _Table(rows, tensors[f"{q}.context"], tensors[f"{q}.output"], tensors[f"{q}.bias"])
            for q, rows in enumerate([self.codebook_sizes[0] + 1, *self.codebook_sizes[:-1]])
        ]
        self.fingerprint = fingerprint("tables", tensors)

    def parts(self, codes: Ints) -> tuple[Ints, Ints]:
        """See `IntegerCoder`."""
        begin, end = np.empty(codes.shape, np.int64), np.empty(codes.shape, np.int64)
        for level in range(codes.shape[1]):
            context = codes[:, level - 1]
            if level == 0:
                context = np.roll(codes[:, 0], 1, axis=-1)
                context[:, :1] = self.codebook_sizes[0]
            begin[:, level], end[:, level] = self._tables[level].parts(context, codes[:, level])
        return begin, end - begin

    def walk(self, levels: int, frames: int) -> Generator[NDArray[Any], int, None]:
        """See `IntegerCoder`."""
        before = self.codebook_sizes[0]
        for _ in range(frames):
            before = context = yield self._tables[0].row(before)
            for table in self._tables[1:levels]:
                context = yield table.row(context)


class _Table:
    """Rows of starts `[rows, K + 1]`, expanded when they are first asked for."""

    def __init__(self, rows: int, context: NDArray[Any], output: NDArray[Any], bias: NDArray[Any]) -> None:
        shapes = [tensor.shape for tensor in (context, output, bias)]
        rank = output.shape[1] if output.ndim == 2 else -1
        if shapes != [(rows, rank), (bias.size, rank), (bias.size,)] or not 0 <= rank <= MAX_TERMS:
            raise ValueError(f"a table of shapes {shapes}; wanted [{rows}, R], [{bias.size}, R], [{bias.size}]")
        if (context.dtype, output.dtype, bias.dtype) != (np.dtype("i1"), np.dtype("i1"), np.dtype("i4")):
            raise ValueError("a table that is not of int8, int8, int32")
        self._context, self._output, self._bias = context, output, bias
        self._starts = np.zeros((rows, bias.size + 1), np.uint32)  # zero pages take no memory until they are written

    def parts(self, contexts: Ints, codes: Ints) -> tuple[Ints, Ints]:
        """Where the parts of codes begin and end in the rows of their contexts."""
        self._expand(np.unique(contexts))
        return self._starts[contexts, codes].astype(np.int64), self._starts[contexts, codes + 1].astype(np.int64)

    def row(self, context: int) -> NDArray[np.uint32]:
        """Starts `[K + 1]` of one context."""
        if self._starts[context, -1] != TOTAL:
            self._expand(np.array([context]))
        return self._starts[context]

    def _expand(self, rows: Ints) -> None:
        missing = rows[self._starts[rows, -1] != TOTAL]
        if missing.size:
            factors = self._context[missing].astype(np.float32)
            logits = product(factors, self._output.astype(np.float32)) + self._bias
            self._starts[missing] = starts(frequencies(logits, LOGIT_BITS))
