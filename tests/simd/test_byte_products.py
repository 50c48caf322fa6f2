"""Products of bytes are exact on every instruction set, at the ends of the range too."""

from typing import Any

import numba
import numpy as np
import pytest
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from audiovq.simd import byte_products
from audiovq.simd.vectors import I32, LANES, Emitter

pytestmark = pytest.mark.skipif(not byte_products.AVAILABLE, reason="this processor has no instructions for it")


@intrinsic
def dot(typing_context: Any, total: Any, x: Any, w: Any, out: Any) -> Any:
    """One register of each, at addresses."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        v = Emitter(builder)
        result = byte_products.dot_u8_i8(v, *(v.load(I32, LANES, address) for address in values[:3]))
        v.store(result, values[3])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@numba.njit
def run(total, x, w, out):
    dot(total.ctypes.data, x.ctypes.data, w.ctypes.data, out.ctypes.data)


@pytest.mark.parametrize("case", ["random", "largest", "smallest"])
def test_sums_are_those_of_whole_numbers(case):
    random = np.random.default_rng(0)
    for _ in range(20 if case == "random" else 1):
        x = random.integers(1, 256, (LANES, 4), dtype=np.uint8)
        limit = 127 if byte_products.PAIR_LIMIT is None else byte_products.PAIR_LIMIT // 2
        w = random.integers(-limit, limit + 1, (LANES, 4), dtype=np.int8)
        if case != "random":
            x[:] = 255
            w[:] = {"largest": limit, "smallest": -limit}[case]
        total = random.integers(-(2**20), 2**20, LANES, dtype=np.int32)
        out = np.empty_like(total)
        run(total, x, w, out)
        np.testing.assert_array_equal(out, total + (x.astype(np.int32) * w).sum(1, dtype=np.int32))
