"""Vector code for numba: a thin layer over LLVM's IR. The speed of autovectorised loops varies by a factor of ten.

One source serves every processor: LLVM turns the vectors into AVX-512, AVX2, SSE or NEON instructions. All memory is
addressed by int64 addresses and byte offsets, which numba passes at no cost.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir
from numba.core import cgutils
from numba.core.registry import cpu_target

FEATURES: frozenset[str] = frozenset(cpu_target.target_context.codegen().magic_tuple()[2].split(","))
LANES = 16 if "+avx512f" in FEATURES else 8 if "+avx" in FEATURES else 4
"""Float32 numbers in a vector register."""
REGISTERS = 16 if LANES == 8 or ("+sse2" in FEATURES and LANES == 4) else 32
"""How many vector registers there are: AVX-512 and NEON have 32."""
HAS_VNNI = "+avx512vnni" in FEATURES and "+avx512vl" in FEATURES and LANES == 16

I8, I32, I64, F32, F64 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
LOG2_E = 1.4426950408889634  # stated once more: layers/ stands above
# 1.5 * 2^23: added to a float32 of less than 2^22 and subtracted again, rounds it to the nearest integer
ROUND_F32, ROUND_BITS_F32 = 12582912.0, 0x4B400000
ROUND_F64, ROUND_BITS_F64 = 6755399441055744.0, 0x4338000000000000


def constant(vector_type: ir.VectorType, value: float | int) -> ir.Constant:
    """The same value in every lane."""
    return ir.Constant(vector_type, [value] * vector_type.count)


class Emitter:
    """An IRBuilder with vectors."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.b = builder

    def load(self, element: ir.Type, lanes: int, address: ir.Value, offset: int = 0) -> ir.Value:
        """`lanes` elements at a byte address."""
        kind = ir.VectorType(element, lanes)
        return self.b.load(self._pointer(kind, address, offset), align=1 if element is I8 else 4)

    def store(self, value: ir.Value, address: ir.Value, offset: int = 0) -> None:
        """Write a vector to a byte address."""
        self.b.store(value, self._pointer(value.type, address, offset), align=1 if value.type.element is I8 else 4)

    def load_scalar(self, kind: ir.Type, address: ir.Value, offset: int = 0) -> ir.Value:
        return self.b.load(self._pointer(kind, address, offset), align=4)

    def store_scalar(self, value: ir.Value, address: ir.Value, offset: int = 0) -> None:
        self.b.store(value, self._pointer(value.type, address, offset), align=4)

    def _pointer(self, kind: ir.Type, address: ir.Value, offset: int) -> ir.Value:
        if offset:
            address = self.b.add(address, ir.Constant(I64, offset))
        return self.b.inttoptr(address, kind.as_pointer())

    def splat(self, scalar: ir.Value, lanes: int) -> ir.Value:
        """A scalar in every lane."""
        kind = ir.VectorType(scalar.type, lanes)
        first = self.b.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
        return self.b.shuffle_vector(
            first, ir.Constant(kind, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        )

    def fma(self, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """x * y + z. fmuladd, not fma: that would call a library function where the processor has no FMA."""
        name = f"llvm.fmuladd.v{x.type.count}f{32 if x.type.element is F32 else 64}"
        kind = ir.FunctionType(x.type, [x.type] * 3)
        return self.b.call(cgutils.get_or_insert_function(self.b.module, kind, name), [x, y, z])

    def clamp(self, x: ir.Value, low: float, high: float) -> ir.Value:
        """x limited to [low, high]."""
        x = self.larger(x, constant(x.type, low))
        return self.b.select(self.b.fcmp_ordered("<", x, constant(x.type, high)), x, constant(x.type, high))

    def larger(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """The larger one, lane by lane."""
        return self.b.select(self.b.fcmp_ordered(">", x, y), x, y)

    def across(self, x: ir.Value, join: Callable[[ir.Value, ir.Value], ir.Value]) -> ir.Value:
        """All lanes joined to one scalar, by halves."""
        lanes = x.type.count
        while lanes > 1:
            lanes //= 2
            count = x.type.count
            order = ir.Constant(ir.VectorType(I32, count), [(i + lanes) % count for i in range(count)])
            x = join(x, self.b.shuffle_vector(x, x, order))
        return self.b.extract_element(x, ir.Constant(I32, 0))

    def exp2(self, x: ir.Value) -> ir.Value:
        """2^x, |x| < 126: a power of two times a polynomial on [-1/2, 1/2]; float32 or float64 to their precision."""
        double = x.type.element is F64
        degree, magic, bits = (11, ROUND_F64, ROUND_BITS_F64) if double else (7, ROUND_F32, ROUND_BITS_F32)
        integer = ir.VectorType(I64 if double else I32, x.type.count)
        shifted = self.b.fadd(x, constant(x.type, magic))
        fraction = self.b.fsub(x, self.b.fsub(shifted, constant(x.type, magic)))
        total = constant(x.type, _taylor(degree))
        for power in range(degree - 1, -1, -1):
            total = self.fma(total, fraction, constant(x.type, _taylor(power)))
        whole = self.b.sub(self.b.bitcast(shifted, integer), constant(integer, bits))
        biased = self.b.add(whole, constant(integer, 1023 if double else 127))
        scale = self.b.bitcast(self.b.shl(biased, constant(integer, 52 if double else 23)), x.type)
        return self.b.fmul(total, scale)

    @contextmanager
    def steps(self, total: ir.Value, step: int, first: ir.Value | None = None) -> Iterator[ir.Value]:
        """A loop over first, first + step, ... while a whole step fits in `total`; gives the counter."""
        end = self.b.sub(total, ir.Constant(I64, step - 1))
        start = ir.Constant(I64, 0) if first is None else first
        with cgutils.for_range_slice(self.b, start, end, ir.Constant(I64, step)) as (i, _):
            yield i


def _taylor(power: int) -> float:
    """Coefficient of f^power in 2^f = exp(f ln 2)."""
    value = 1.0
    for i in range(1, power + 1):
        value *= 0.6931471805599453 / i
    return value
