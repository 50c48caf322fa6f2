"""Operations on one row of numbers, as vector code: what a product reads, and the exponentials of a softmax."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from audiovq.simd.vectors import (
    F32,
    F64,
    I8,
    I32,
    I64,
    LANES,
    LOG2_E,
    ROUND_F32,
    Emitter,
    constant,
)

SIGNED, UNSIGNED = 128, 0
"""What uint8 inputs have for zero: those of one sign can use all steps for it."""
SUMMED = 2 * LANES  # numbers that `sum_block` adds: outputs come in multiples of it


@intrinsic
def store_row(typing_context: Any, kind: Any, x: Any, size: Any, out: Any, scale: Any) -> Any:
    """Write `size` (a multiple of 4) floats at x to `out` in the form that products take them in, and what a step of
    them is worth to `scale`: as they are, or with int8 weights as uint8 with 128 for zero."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        _, x, size, out, scale = values
        if kind is types.int8:
            _quantize(Emitter(builder), x, size, out, scale, SIGNED)
        else:
            _copy(Emitter(builder), x, size, out)
        return context.get_dummy_value()

    return types.void(kind, types.int64, types.int64, types.int64, types.int64), generate


@intrinsic(prefer_literal=True)
def operand(typing_context: Any, kind: Any, x: Any, size: Any, buffer: Any, scale: Any, zero: Any) -> Any:
    """Where a product can read `size` floats that lie at x: there, or quantized, in `buffer`.

    zero: SIGNED, or UNSIGNED where none of the floats is negative.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        _, x, size, buffer, scale, _ = values
        if kind is types.int8:
            _quantize(Emitter(builder), x, size, buffer, scale, zero.literal_value)
            return buffer
        return x

    return types.int64(kind, types.int64, types.int64, types.int64, types.int64, zero), generate


def _copy(v: Emitter, x: ir.Value, size: ir.Value, out: ir.Value) -> None:
    whole = v.b.and_(size, ir.Constant(I64, -LANES))
    for lanes, first, end in ((LANES, None, whole), (4, whole, size)):
        with v.steps(end, lanes, first) as i:
            offset = v.b.mul(i, ir.Constant(I64, 4))
            v.store(v.load(F32, lanes, v.b.add(x, offset)), v.b.add(out, offset))


def _quantize(v: Emitter, x: ir.Value, size: ir.Value, out: ir.Value, scale: ir.Value, zero: int) -> None:
    """x / step + zero as uint8, where the largest |x| is 255 - zero steps."""
    b, steps = v.b, 255 - zero
    largest = _fold(v, x, size, absolute=True)
    silent = b.fcmp_ordered("<", largest, ir.Constant(F32, 1e-30))
    v.store_scalar(b.select(silent, ir.Constant(F32, 0.0), b.fmul(largest, ir.Constant(F32, 1 / steps))), scale)
    inverse = b.select(silent, ir.Constant(F32, 0.0), b.fdiv(ir.Constant(F32, float(steps)), largest))
    whole = b.and_(size, ir.Constant(I64, -LANES))
    for lanes, first, end in ((LANES, None, whole), (4, whole, size)):
        with v.steps(end, lanes, first) as i:
            floats = v.load(F32, lanes, b.add(x, b.mul(i, ir.Constant(I64, 4))))
            rounded = v.fma(floats, v.splat(inverse, lanes), constant(floats.type, ROUND_F32))
            integers = b.bitcast(rounded, ir.VectorType(I32, lanes))  # their low bytes are the rounded numbers
            octets = b.trunc(integers, ir.VectorType(I8, lanes))
            v.store(b.add(octets, constant(octets.type, zero)), b.add(out, i))


def _fold(v: Emitter, x: ir.Value, size: ir.Value, *, absolute: bool) -> ir.Value:
    """The largest of `size` floats, by value or magnitude; size is a multiple of 4."""
    b = v.b

    def loaded(lanes: int, i: ir.Value) -> ir.Value:
        floats = v.load(F32, lanes, b.add(x, b.mul(i, ir.Constant(I64, 4))))
        if not absolute:
            return floats
        integers = ir.VectorType(I32, lanes)
        return b.bitcast(b.and_(b.bitcast(floats, integers), constant(integers, 0x7FFFFFFF)), floats.type)

    whole = b.and_(size, ir.Constant(I64, -LANES))
    results = []
    for lanes, first, end in ((LANES, None, whole), (4, whole, size)):
        slot = cgutils.alloca_once_value(b, constant(ir.VectorType(F32, lanes), 0.0 if absolute else -3e38))
        with v.steps(end, lanes, first) as i:
            b.store(v.larger(b.load(slot), loaded(lanes, i)), slot)
        results.append(v.across(b.load(slot), v.larger))
    wide, narrow = results
    return b.select(b.fcmp_ordered(">", wide, narrow), wide, narrow)


@intrinsic
def largest(typing_context: Any, x: Any, size: Any) -> Any:
    """The largest of `size` (a multiple of 4) float32 at x."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return _fold(Emitter(builder), *values, absolute=False)

    return types.float32(types.int64, types.int64), generate


@intrinsic
def exp_row(typing_context: Any, x: Any, size: Any, shift: Any, out: Any) -> Any:
    """exp(x - shift) of `size` (a multiple of SUMMED) float32 at x, x <= shift, as float64 at out."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        x, size, shift, out = values
        v, lanes = Emitter(builder), LANES // 2
        shift = v.splat(builder.fpext(shift, F64), lanes)
        with v.steps(size, lanes) as i:
            floats = v.load(F32, lanes, builder.add(x, builder.mul(i, ir.Constant(I64, 4))))
            wide = builder.fsub(builder.fpext(floats, shift.type), shift)
            power = v.clamp(builder.fmul(wide, constant(wide.type, LOG2_E)), -1000.0, 0.0)
            v.store(v.exp2(power), builder.add(out, builder.mul(i, ir.Constant(I64, 8))))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32, types.int64), generate


@intrinsic
def sum_block(typing_context: Any, x: Any) -> Any:
    """The sum of SUMMED float64 at x."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        v, lanes = Emitter(builder), LANES // 2
        parts = [v.load(F64, lanes, values[0], 8 * lanes * j) for j in range(4)]
        total = builder.fadd(builder.fadd(parts[0], parts[1]), builder.fadd(parts[2], parts[3]))
        return v.across(total, builder.fadd)

    return types.float64(types.int64), generate
