"""Matrix times vectors, as vector code: the one operation that a WaveNet's sample consists of.

`product` computes, for each of `rows` input vectors x, act(a * a_scale + b + W x). It keeps half of the registers for
sums while W streams by. A row's sums are added in the order of the inputs whatever `rows` is, so that one row at a time
and eight at a time give the same bits.

W lies in tiles of 8, then 4, then 2 registers of outputs. A tile holds, input by input, the weights of its outputs:
float32; bfloat16, two registers interleaved (the even one in the low halves); or int8, four inputs by four. With int8,
each register of outputs has `consts`: the sums' starting values (int32, they undo what the inputs have for zero) and
the weights' step (float32).
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from audiovq.simd.byte_products import dot_u8_i8
from audiovq.simd.vectors import F32, I32, I64, LANES, LOG2_E, REGISTERS, Emitter, constant

ONE_ROW, TWO_ROWS, FOUR_ROWS, EIGHT_ROWS = (
    (0,),
    (0,) * 2,
    (0,) * 4,
    (0,) * 8,
)  # numba knows a tuple's length when it compiles
LINEAR, RELU, GATE = 0, 1, 2
"""What is done with the sums. GATE: registers are pairs of filter and gate; tanh(filter) * sigmoid(gate)."""
ARGUMENTS = (
    "registers",  # of outputs, even
    "out",  # address of float32 outputs; GATE gives half as many
    "out_stride",  # bytes between the rows' outputs, as with all strides
    "a",
    "a_stride",
    "b",
    "b_stride",
    "weights",
    "consts",  # of int8 weights
    "x",  # inputs: float32, or uint8 with int8 weights
    "x_stride",
    "x_scales",  # of uint8 inputs: one float32 a row, what a step is worth
    "x_scales_stride",
    "quads",  # inputs / 4
)
VECTOR = LANES * 4  # bytes
SUMS = REGISTERS // 2  # at once


@intrinsic(prefer_literal=True)
def product(typing_context: Any, kind: Any, rows: Any, act: Any, a_scale: Any, arguments: Any) -> Any:
    """See above. kind: a scalar of the weights' type (float32, uint16 for bfloat16, int8); rows: ONE_ROW to
    EIGHT_ROWS; act: LINEAR, RELU or GATE; a_scale: float32; arguments: a tuple of int64, named in ARGUMENTS."""
    signature = types.void(kind, rows, act, types.float32, types.UniTuple(types.int64, len(ARGUMENTS)))
    constants = (kind, rows.count, act.literal_value)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        function = _product_function(builder.module, *constants)
        builder.call(function, [values[3], *cgutils.unpack_tuple(builder, values[4])])
        return context.get_dummy_value()

    return signature, generate


def _product_function(module: ir.Module, kind: Any, rows: int, act: int) -> ir.Function:
    """The function for these constants, written out at its first use in a module."""
    name = f"wavenet_product_{kind}_{rows}_{act}"
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [F32] + [I64] * len(ARGUMENTS)), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    _Product(builder, kind, rows, act, *function.args).emit()
    builder.ret_void()
    return function


class _Product:
    """Writes the function's body: a loop over tiles of 8 registers, then one of 4 and one of 2 if need be."""

    def __init__(
        self, builder: ir.IRBuilder, kind: Any, rows: int, act: int, a_scale: ir.Value, *values: ir.Value
    ) -> None:
        self.b, self.v = builder, Emitter(builder)
        self.kind, self.rows, self.act = kind, rows, act
        self.bits = kind.bitwidth  # of a weight
        self.a_scale = self.v.splat(a_scale, LANES)
        self.at = dict(zip(ARGUMENTS, values, strict=True))
        # what moves from tile to tile
        self.cursor = {
            name: cgutils.alloca_once_value(builder, self.at[name]) for name in ("out", "a", "b", "weights", "consts")
        }

    def emit(self) -> None:
        registers = self.at["registers"]
        with self.v.steps(registers, 8):
            self._tile(8)
        for width in (4, 2):
            wanted = self.b.icmp_unsigned("!=", self.b.and_(registers, ir.Constant(I64, width)), ir.Constant(I64, 0))
            with self.b.if_then(wanted):
                self._tile(width)

    def _tile(self, width: int) -> None:
        """All outputs of a tile; the cursors move to the next."""
        rows_at_once = min(self.rows, SUMS // 2)
        at_once = min(width, SUMS // rows_at_once)
        start = self.b.load(self.cursor["weights"])
        part_bytes = at_once * VECTOR * self.bits // 32 * (4 if self.bits == 8 else 1)
        for part in range(0, width, at_once):
            weights = self.b.add(start, ir.Constant(I64, part // at_once * part_bytes)) if part else start
            for first in range(0, self.rows, rows_at_once):
                sums = {row: self._start(row, at_once) for row in range(first, first + rows_at_once)}
                self._accumulate(sums, at_once, weights, width)
                for row, slots in sums.items():
                    self._finish(row, [self.b.load(slot) for slot in slots])
            halved = 2 if self.act == GATE else 1
            for name, step in {"out": VECTOR // halved, "a": VECTOR, "b": VECTOR, "consts": 2 * VECTOR}.items():
                self._move(name, ir.Constant(I64, at_once * step))
        tile_bytes = width * VECTOR * self.bits // 32 * 4  # per four inputs
        self._move("weights", self.b.mul(self.at["quads"], ir.Constant(I64, tile_bytes)))

    def _move(self, name: str, step: ir.Value) -> None:
        self.b.store(self.b.add(self.b.load(self.cursor[name]), step), self.cursor[name])

    def _of_row(self, address: ir.Value, stride: str, row: int) -> ir.Value:
        return self.b.add(address, self.b.mul(self.at[stride], ir.Constant(I64, row))) if row else address

    def _initial(self, row: int, j: int) -> ir.Value:
        """a * a_scale + b of register j."""
        a = self.v.load(F32, LANES, self._of_row(self.b.load(self.cursor["a"]), "a_stride", row), j * VECTOR)
        b = self.v.load(F32, LANES, self._of_row(self.b.load(self.cursor["b"]), "b_stride", row), j * VECTOR)
        return self.v.fma(a, self.a_scale, b)

    def _start(self, row: int, registers: int) -> list[ir.Value]:
        """Stack slots (registers, once optimised) with the sums' first values."""
        if self.bits == 8:
            consts = self.b.load(self.cursor["consts"])
            first = [self.v.load(I32, LANES, consts, 2 * j * VECTOR) for j in range(registers)]
        else:
            first = [self._initial(row, j) for j in range(registers)]
        return [cgutils.alloca_once_value(self.b, value) for value in first]

    def _accumulate(self, sums: dict[int, list[ir.Value]], at_once: int, weights: ir.Value, width: int) -> None:
        """sums += W x, the inputs in their order; unrolled by four float inputs or four quads of int8."""
        x_rows = {row: self._of_row(self.at["x"], "x_stride", row) for row in sums}
        row_bytes = width * VECTOR * self.bits // 32 * (4 if self.bits == 8 else 1)  # to the next input or quad
        x_type, x_bytes = (I32 if self.bits == 8 else F32), 4  # a float, or four uint8

        def steps(first: ir.Value, count: int) -> None:
            w = self.b.add(weights, self.b.mul(first, ir.Constant(I64, row_bytes)))
            offset = self.b.mul(first, ir.Constant(I64, x_bytes))
            xs = {row: self.b.add(x, offset) for row, x in x_rows.items()}
            for k in range(count):
                matrix = self._weights(w, k * row_bytes, at_once)
                for row, slots in sums.items():
                    x = self.v.splat(self.v.load_scalar(x_type, xs[row], k * x_bytes), LANES)
                    for slot, column in zip(slots, matrix, strict=True):
                        self.b.store(self._multiply(x, column, self.b.load(slot)), slot)

        if self.bits == 8:
            whole = self.b.and_(self.at["quads"], ir.Constant(I64, -4))
            with self.v.steps(whole, 4) as i:
                steps(i, 4)
            with self.v.steps(self.at["quads"], 1, whole) as i:
                steps(i, 1)
        else:
            with self.v.steps(self.b.mul(self.at["quads"], ir.Constant(I64, 4)), 4) as i:
                steps(i, 4)

    def _weights(self, address: ir.Value, offset: int, registers: int) -> list[ir.Value]:
        """One input's (or quad's) weights for `registers` of outputs."""
        if self.bits == 32:
            return [self.v.load(F32, LANES, address, offset + j * VECTOR) for j in range(registers)]
        if self.bits == 8:
            return [self.v.load(I32, LANES, address, offset + j * VECTOR) for j in range(registers)]
        loaded = []
        for j in range(registers // 2):
            both = self.v.load(I32, LANES, address, offset + j * VECTOR)
            even = self.b.shl(both, constant(both.type, 16))
            loaded += [self.b.bitcast(half, ir.VectorType(F32, LANES)) for half in (even, both)]
        return loaded

    def _multiply(self, x: ir.Value, w: ir.Value, total: ir.Value) -> ir.Value:
        return dot_u8_i8(self.v, total, x, w) if self.bits == 8 else self.v.fma(w, x, total)

    def _finish(self, row: int, sums: list[ir.Value]) -> None:
        """Sums to outputs."""
        if self.bits == 8:
            consts = self.b.load(self.cursor["consts"])
            x_scale = self.v.splat(
                self.v.load_scalar(F32, self._of_row(self.at["x_scales"], "x_scales_stride", row)), LANES
            )
            for j, total in enumerate(sums):
                w_scale = self.v.load(F32, LANES, consts, (2 * j + 1) * VECTOR)
                floats = self.b.sitofp(total, w_scale.type)
                sums[j] = self.v.fma(floats, self.b.fmul(w_scale, x_scale), self._initial(row, j))
        if self.act == GATE:
            sums = [self._gate(sums[j], sums[j + 1]) for j in range(0, len(sums), 2)]
        out = self._of_row(self.b.load(self.cursor["out"]), "out_stride", row)
        for j, y in enumerate(sums):
            self.v.store(self.v.larger(y, constant(y.type, 0.0)) if self.act == RELU else y, out, j * VECTOR)

    def _gate(self, filtered: ir.Value, gate: ir.Value) -> ir.Value:
        """tanh(f) * sigmoid(g) = (1 - e^-2f) / ((1 + e^-2f) (1 + e^-g)): one division."""
        one = constant(filtered.type, 1.0)
        limit = 30.0 * LOG2_E
        a = self.v.exp2(self.v.clamp(self.b.fmul(filtered, constant(one.type, -2 * LOG2_E)), -limit, limit))
        b = self.v.exp2(self.v.clamp(self.b.fmul(gate, constant(one.type, -LOG2_E)), -limit, limit))
        return self.b.fdiv(self.b.fsub(one, a), self.b.fmul(self.b.fadd(one, a), self.b.fadd(one, b)))
