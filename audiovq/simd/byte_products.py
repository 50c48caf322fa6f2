"""Products of 8-bit integers as vector code: VNNI's one instruction, or three of AVX2 or SSSE3 with the same result."""

import functools

from llvmlite import binding as llvm
from llvmlite import ir
from numba.core import cgutils

from audiovq.simd.vectors import FEATURES, HAS_VNNI, I8, I32, LANES, Emitter, constant

I16 = ir.IntType(16)
AVAILABLE = HAS_VNNI or ("+ssse3" if LANES == 4 else "+avx2") in FEATURES
"""Whether this processor has the instructions."""
PAIR_LIMIT = None if HAS_VNNI else 128
"""What the magnitudes of bytes 0 and 1, or 2 and 3, of a lane of w may add up to: without VNNI, such a pair of products
is added in 16 bits. None for no limit."""
VPDPBUSD = f"llvm.x86.avx512.vpdpbusd.{32 * LANES}"
PAIRS, JOIN = (  # of 128 or 256 bits
    ("llvm.x86.ssse3.pmadd.ub.sw.128", "llvm.x86.sse2.pmadd.wd")
    if LANES == 4
    else ("llvm.x86.avx2.pmadd.ub.sw", "llvm.x86.avx2.pmadd.wd")
)


def dot_u8_i8(v: Emitter, total: ir.Value, x: ir.Value, w: ir.Value) -> ir.Value:
    """total + the sum of four products of a byte of x, unsigned, and one of w, signed, in every lane of 32 bits.

    Bytes of w are -127 to 127, and within PAIR_LIMIT.
    """
    if HAS_VNNI:
        operand = _vnni_operand()
        return _call(v, VPDPBUSD, total.type, total, v.b.bitcast(x, operand), v.b.bitcast(w, operand))
    lanes = total.type.count
    if lanes > 8:  # AVX-512 without VNNI
        halves = [[_half(v, value, lanes, first) for value in (total, x, w)] for first in (0, lanes // 2)]
        return v.b.shuffle_vector(
            *(dot_u8_i8(v, *half) for half in halves), ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
        )
    octets, pairs = ir.VectorType(I8, 4 * lanes), ir.VectorType(I16, 2 * lanes)
    products = _call(v, PAIRS, pairs, v.b.bitcast(x, octets), v.b.bitcast(w, octets))
    return v.b.add(total, _call(v, JOIN, total.type, products, constant(pairs, 1)))


def _call(v: Emitter, name: str, result: ir.Type, *operands: ir.Value) -> ir.Value:
    kind = ir.FunctionType(result, [operand.type for operand in operands])
    return v.b.call(cgutils.get_or_insert_function(v.b.module, kind, name), operands)


def _half(v: Emitter, value: ir.Value, lanes: int, first: int) -> ir.Value:
    order = ir.Constant(ir.VectorType(I32, lanes // 2), list(range(first, first + lanes // 2)))
    return v.b.shuffle_vector(value, value, order)


@functools.cache
def _vnni_operand() -> ir.VectorType:
    """The type that this version of LLVM gives vpdpbusd's operands: it has changed."""
    lanes, octets = ir.VectorType(I32, LANES), ir.VectorType(I8, 4 * LANES)
    for operand in (lanes, octets):
        module = ir.Module()
        kind = ir.FunctionType(lanes, [lanes, operand, operand])
        inner = ir.Function(module, kind, VPDPBUSD)
        function = ir.Function(module, kind, "trial")
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(builder.call(inner, function.args))
        try:
            llvm.parse_assembly(str(module)).verify()
        except RuntimeError:
            continue
        return operand
    raise RuntimeError(f"this version of LLVM has no {VPDPBUSD} of a known form")
