"""The search for large batches, compiled: products and the best code so far stay in registers, no score is written.

The same scores as in search.py, which is the definition. Here a score is summed in the order of the dimensions
whatever the batch, so that a row's code doesn't depend on the rows beside it.
"""

# mypy: ignore-errors
# Compiled by numba, whose language has types of its own.

import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from audiovq.simd.disk_cache import compiled_and_kept, sources_stamp
from audiovq.simd.vectors import F32, I32, I64, LANES, Emitter, constant

VECTOR = LANES * 4  # bytes
# A block is what the registers hold: 24 sums of the 32 that AVX-512 and NEON have, 12 of the 16 of other processors.
ROWS, VECTORS = 6, 4 if LANES == 16 or platform.machine().lower() in ("aarch64", "arm64") else 2
PANEL = VECTORS * LANES
"""Codes in a block. The codebook must have as many at least."""
CHUNK = 2**18  # elements of x that are centred at a time: 1 MB stays in a core's L2 cache
LONGEST = 160 * ROWS  # rows of a chunk
PART = 2**20  # elements of x in a call of the loops: what has to be copied where x is not in order of memory
SHARE = 2**27  # multiplications that are worth a thread


def search(x: np.ndarray, table: np.ndarray, codebook_size: int, threads: int) -> np.ndarray:
    """Codes [N] int64 of rows x [N, D] float32 by the table of at least PANEL codes that `search_table` makes."""
    codes, table = np.empty(len(x), np.int64), np.ascontiguousarray(table)
    mean = np.ascontiguousarray(table[:-1, codebook_size])
    threads = max(1, min(threads, x.size * codebook_size // SHARE))
    size = -(-min(len(x) // threads + 1, PART // x.shape[1] + 1) // ROWS) * ROWS

    def search_part(start: int) -> None:
        part = slice(start, start + size)
        _search(np.ascontiguousarray(x[part]), table, mean, codebook_size, codes[part])

    with ThreadPoolExecutor(threads) if threads > 1 else nullcontext() as pool:
        list((pool.map if pool else map)(search_part, range(0, len(x), size)))
    return codes


def _kept_search(stamp: int) -> Callable[..., None]:
    """The loops, compiled. `stamp` makes a change of the imported files known to the cache on disk."""

    def run(x, table, mean, codebook_size, codes):
        """x: [N, D]; table: [D + 1, >= K]; mean: [D]; codes: [N], to be filled."""
        _ = stamp
        count, dim = x.shape
        width = dim + 16  # strides of a power of two would crowd a few sets of the cache
        size = min(LONGEST, max(CHUNK // width // ROWS, 1) * ROWS, -(-count // ROWS) * ROWS)
        rows = np.zeros((size, width), np.float32)
        panel = np.empty((dim + 1, PANEL), np.float32)
        scores = np.empty((size, 2, LANES), np.float32)  # each row's best ones, lane by lane, and their codes
        found = scores.view(np.int32)
        for start in range(0, count, size):
            n = min(size, count - start)
            for r in range(n):
                source, target = x[start + r], rows[r]
                for d in range(dim):
                    target[d] = source[d] - mean[d]
            scores[:, 0] = -np.inf
            found[:, 1] = 0
            for begin in range(0, codebook_size, PANEL):
                first = min(begin, codebook_size - PANEL)  # the last panel overlaps the one before
                _copy_panel(table.ctypes.data + 4 * first, table.strides[0], panel.ctypes.data, dim + 1)
                for r in range(0, n, ROWS):
                    _try_codes(
                        rows[r].ctypes.data, rows.strides[0], panel.ctypes.data, dim, scores[r].ctypes.data, first
                    )
            for r in range(n):
                codes[start + r] = _best_code(scores[r].ctypes.data)

    return compiled_and_kept(run)


@intrinsic
def _copy_panel(typing_context, source, stride, target, count):
    """`count` rows of PANEL numbers, from rows `stride` bytes apart to contiguous ones. (Addresses are int64.)"""

    def generate(context, builder, signature, values):
        v, (source, stride, target, count) = Emitter(builder), values
        with v.steps(count, 1) as i:
            at, to = builder.add(source, builder.mul(i, stride)), _offset(builder, target, i, PANEL * 4)
            for j in range(VECTORS):
                v.store(v.load(F32, LANES, at, j * VECTOR), to, j * VECTOR)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic
def _try_codes(typing_context, x, stride, panel, dim, best, first):
    """ROWS rows at x, `stride` bytes apart, against the codes of a panel; `best` is where their best ones stand.

    The panel holds D rows of the codes' components and one of their half norms, negative; `first` is its first code.
    """

    def generate(context, builder, signature, values):
        b, v, (x, stride, panel, dim, best, first) = builder, Emitter(builder), values
        rows = [b.add(x, b.mul(stride, ir.Constant(I64, r))) for r in range(ROWS)]
        bias = _offset(b, panel, dim, PANEL * 4)
        start = [v.load(F32, LANES, bias, j * VECTOR) for j in range(VECTORS)]
        sums = [[cgutils.alloca_once_value(b, value) for value in start] for _ in rows]  # in registers, once optimised
        with v.steps(dim, 1) as d:
            column = _offset(b, panel, d, PANEL * 4)
            codes = [v.load(F32, LANES, column, j * VECTOR) for j in range(VECTORS)]
            for row, slots in zip(rows, sums, strict=True):
                x_d = v.splat(v.load_scalar(F32, _offset(b, row, d, 4)), LANES)
                for slot, code in zip(slots, codes, strict=True):
                    b.store(v.fma(x_d, code, b.load(slot)), slot)
        first = v.splat(b.trunc(first, I32), LANES)
        for r, slots in enumerate(sums):
            at = 2 * r * VECTOR
            score, code = v.load(F32, LANES, best, at), v.load(I32, LANES, best, at + VECTOR)
            for j, slot in enumerate(slots):
                new = b.load(slot)
                better = b.fcmp_ordered(">", new, score)  # strictly, so that the lowest wins; never for NaN
                score = b.select(better, new, score)
                code = b.select(better, b.add(first, constant(first.type, j * LANES)), code)
            v.store(score, best, at)
            v.store(code, best, at + VECTOR)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6), generate


@intrinsic
def _best_code(typing_context, best):
    """The lowest of the codes with the greatest score, of those that `_try_codes` left lane by lane."""

    def generate(context, builder, signature, values):
        b, v, (best,) = builder, Emitter(builder), values
        score, code = v.load(F32, LANES, best), v.load(I32, LANES, best, VECTOR)
        code = b.add(code, ir.Constant(code.type, list(range(LANES))))
        top = v.splat(v.across(score, v.larger), LANES)
        code = b.select(b.fcmp_ordered("==", score, top), code, constant(code.type, 2**31 - 1))
        lowest = v.across(code, lambda x, y: b.select(b.icmp_signed("<", x, y), x, y))
        return b.sext(lowest, I64)

    return types.int64(types.int64), generate


def _offset(builder: ir.IRBuilder, address: ir.Value, index: ir.Value, size: int) -> ir.Value:
    return builder.add(address, builder.mul(index, ir.Constant(I64, size)))


_search = _kept_search(sources_stamp(Path(__file__).parent))
