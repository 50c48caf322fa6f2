"""The coder by a small network in whole numbers: a GRU over frames, and a head for each level.

    x[t]      = input[0] e[0][c[0, t-1]] + input[1] e[1][c[1, t-1]] + ...                nothing at the first frame
    h[t]      = GRU(h[t-1], x[t])                                      (Cho et al. 2014, with the reset gate inside)
    u[0]      = h[t],  u[q] = clip(hidden[q] h[t] + below[q][0] e[0][c[0, t]] + ... e[q-1][c[q-1, t]], 0, 4)
    logits[q] = e[q] . clip(output[q] u[q], -4, 4) + bias[q]

Each level's embedding e[q] is its output matrix too. The x of a packet has the levels that the packet has, at most the
first few, so that any prefix of the levels can be coded.

Weights are int8, sums are exact (`integers.product`), gates and exponentials are looked up. Between the layers stand
shifts only: every tensor has a fixed power of two as its unit. `audiovq.train.prior.coder` trains it.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream.coder import Coding
from audiovq.prior.coder.base import IntegerCoder, checked_sizes, chosen
from audiovq.prior.coder.integers import (
    GATE_ONE,
    MAX_TERMS,
    Floats,
    Ints,
    fingerprint,
    frequencies,
    product,
    rounded_shift,
    sigmoid,
    starts,
    tanh,
    to_int8,
)

# Units, as powers of two: a weight 1 is stored as 2^bits.
EMBEDDING_BITS = OUTPUT_BITS = 6
MATRIX_BITS = 7  # of input, recurrent, hidden and below
STATE_BITS = 7  # of h as the products take it
SUM_BITS = MATRIX_BITS + STATE_BITS  # of what goes into gates and u
HEAD_BITS = 5  # of u[q] and of what the embeddings are multiplied by: +-4 in int8
LOGIT_BITS = EMBEDDING_BITS + HEAD_BITS - 5  # of a logit below 1 / STEPS_PER_NAT
MAX_CODEBOOK = 2**14
MAX_TABLE = 2**22  # entries of what is made of a level's codes beforehand, int32: 16 MB


class LearnedCoder(IntegerCoder):
    """See above.

    Args:
        tensors: matrices int8 `[rows, columns]`, biases int32. Of the GRU `recurrent` `[3H, H]` (reset, update, new
            state), `bias` `[3H]`, `bias_new` `[H]`; of each level q `q.embedding` `[K, D]`, `q.bias` `[K]`, `q.output`
            `[D, M]`, `q.output_bias` `[D]`; of the first levels `q.input` `[3H, D]`; of all but the first `q.hidden`
            `[M, H]`, `q.hidden_bias` `[M]` and `q.below.j` `[M, D of level j]` for each j < q.

    Raises ValueError for others.
    """

    coding = Coding.LEARNED

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.tensors = dict(tensors)
        levels = sum(name.endswith(".embedding") for name in tensors)
        inputs = sum(name.endswith(".input") for name in tensors)
        _check(tensors, levels, inputs)
        self.codebook_sizes = checked_sizes([len(tensors[f"{q}.embedding"]) for q in range(levels)], MAX_CODEBOOK)
        self.fingerprint = fingerprint("learned", tensors)

    @cached_property
    def _network(self) -> _Network:
        """Made when first used: a file that is only packed or coded by tables does not wait for it."""
        return _Network(self.tensors, len(self.codebook_sizes))

    def parts(self, codes: Ints) -> tuple[Ints, Ints]:
        """See `IntegerCoder`."""
        network = self._network
        channels, levels, frames = codes.shape
        inputs = network.inputs(codes.transpose(1, 0, 2))  # [C, F, 3H]
        state = network.first_state(channels)
        states = np.empty((channels, frames, state.shape[-1]), np.float32)
        for t in range(frames):
            state = network.step(state, inputs[:, t - 1] if t else network.nothing)
            states[:, t] = network.rounded(state)
        begin, frequency = np.empty(codes.shape, np.int64), np.empty(codes.shape, np.int64)
        for channel, own in enumerate(codes):
            for level in range(levels):
                found = network.frequencies(states[channel], own[:level])
                begin[channel, level], frequency[channel, level] = chosen(found, own[level])
        return begin, frequency

    def walk(self, levels: int, frames: int) -> Generator[NDArray[Any], int, None]:
        """See `IntegerCoder`."""
        network = self._network
        state, given = network.first_state(1), network.nothing
        codes = np.zeros((levels, 1), np.int64)
        for _ in range(frames):
            state = network.step(state, given)
            rounded = network.rounded(state)
            for level in range(levels):
                codes[level] = yield starts(network.frequencies(rounded, codes[:level])[0])
            given = network.inputs(codes)


class _Network:
    """The tensors as the arithmetic takes them, with products of embeddings made once."""

    def __init__(self, tensors: Mapping[str, NDArray[Any]], levels: int) -> None:
        floats: dict[str, Floats] = {k: t.astype(np.float32) for k, t in tensors.items() if t.dtype == np.int8}
        ints: dict[str, Ints] = {k: t.astype(np.int64) for k, t in tensors.items() if t.dtype == np.int32}
        self.embeddings = [floats[f"{q}.embedding"] for q in range(levels)]
        self.biases = [ints[f"{q}.bias"] for q in range(levels)]
        self.recurrent = floats["recurrent"]
        self.nothing, self.bias_new = ints["bias"], ints["bias_new"]
        more = SUM_BITS - EMBEDDING_BITS - MATRIX_BITS
        self.input_tables = [
            (product(embedding, floats[f"{q}.input"]) << more).astype(np.int32)
            for q, embedding in enumerate(self.embeddings)
            if f"{q}.input" in floats
        ]
        self.heads = [(floats[f"{q}.output"], ints[f"{q}.output_bias"]) for q in range(levels)]
        self.hidden = [(floats[f"{q}.hidden"], ints[f"{q}.hidden_bias"]) for q in range(1, levels)]
        self.below = [
            [(product(self.embeddings[j], floats[f"{q}.below.{j}"]) << more).astype(np.int32) for j in range(q)]
            for q in range(1, levels)
        ]

    def first_state(self, channels: int) -> Ints:
        """Zeros `[C, H]`, in units of 1 / STATE_ONE."""
        return np.zeros((channels, len(self.bias_new)), np.int64)

    def inputs(self, codes: Ints) -> Ints:
        """What the codes `[Q, ...]` of a frame tell the GRU: `[..., 3H]`."""
        return self.nothing + sum(table[own] for table, own in zip(self.input_tables, codes, strict=False))

    def step(self, state: Ints, given: Ints) -> Ints:
        """State `[C, H]` and what is `given` `[C, 3H]` or `[3H]` -> the next state."""
        width = len(self.bias_new)
        sums = product(self.rounded(state), self.recurrent)
        gates = sigmoid(given[..., : 2 * width] + sums[:, : 2 * width])
        reset, update = gates[:, :width], gates[:, width:]
        recalled = rounded_shift(reset * (sums[:, 2 * width :] + self.bias_new), _GATE_BITS)
        return state + rounded_shift(update * (tanh(given[..., 2 * width :] + recalled) - state), _GATE_BITS)

    def rounded(self, state: Ints) -> Floats:
        """The state as products take it."""
        return to_int8(state, SUM_BITS - STATE_BITS)

    def frequencies(self, states: Floats, above: Ints) -> Ints:
        """Of level `len(above)`, from rounded states `[F, H]` and the codes of the levels above `[level, F]`."""
        level, hidden, bits = len(above), states, STATE_BITS
        if level:
            matrix, bias = self.hidden[level - 1]
            sums = product(states, matrix) + bias
            for table, codes in zip(self.below[level - 1], above, strict=True):
                sums += table[codes]
            hidden, bits = to_int8(sums, SUM_BITS - HEAD_BITS, lowest=0), HEAD_BITS
        matrix, bias = self.heads[level]
        head = to_int8(product(hidden, matrix) + bias, OUTPUT_BITS + bits - HEAD_BITS)
        return frequencies(product(head, self.embeddings[level]) + self.biases[level], LOGIT_BITS)


_GATE_BITS = GATE_ONE.bit_length() - 1


def _check(tensors: Mapping[str, NDArray[Any]], levels: int, inputs: int) -> None:
    """Raise ValueError unless all tensors are there, of one network's shapes."""
    try:
        width = tensors["recurrent"].shape[-1]
        sizes: Sequence[tuple[int, ...]] = [tensors[f"{q}.embedding"].shape for q in range(levels)]
        heads = [tensors[f"{q}.output"].shape[-1] for q in range(levels)]
    except (KeyError, IndexError) as error:
        raise ValueError(f"no tensor {error}") from None
    if levels == 0 or any(len(size) != 2 for size in sizes) or heads[0] != width:
        raise ValueError("tensors of no network")
    wanted: dict[str, tuple[int, ...]] = {"recurrent": (3 * width, width), "bias": (3 * width,), "bias_new": (width,)}
    for q, ((size, columns), head) in enumerate(zip(sizes, heads, strict=True)):
        wanted |= {f"{q}.embedding": (size, columns), f"{q}.bias": (size,)}
        wanted |= {f"{q}.output": (columns, head), f"{q}.output_bias": (columns,)}
        if q < inputs:
            wanted[f"{q}.input"] = (3 * width, columns)
        if q:
            wanted |= {f"{q}.hidden": (head, width), f"{q}.hidden_bias": (head,)}
            wanted |= {f"{q}.below.{j}": (head, sizes[j][1]) for j in range(q)}
    if set(wanted) != set(tensors):
        raise ValueError(f"tensors {sorted(set(wanted) ^ set(tensors))[:4]} are missing or too many")
    for name, shape in wanted.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.dtype != (np.int8 if len(shape) == 2 else np.int32):
            raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}; wanted {list(shape)}")
        if name.endswith(".input") and shape[0] * sizes[int(name.split(".")[0])][0] > MAX_TABLE:
            raise ValueError(f"{name} has {shape[0]} rows; with such codebooks that is too many")
        if len(shape) == 2 and not 1 <= shape[1] <= MAX_TERMS:
            raise ValueError(f"{name} has {shape[1]} columns; a sum has at most {MAX_TERMS}")
