"""Both integer coders: codes come back whole, bytes are the same everywhere, and any other bytes are refused."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audiovq.errors import BadCodesError
from audiovq.prior.coder.integers import MAX_TERMS, frequencies, product, sigmoid, tanh
from audiovq.prior.coder.rangecoder import TOTAL

from .small import SIZES, codes_of

# SHA-256 of the bytes of `codes_of(2, 3, 60)`: what every machine and every version makes of them.
VECTORS = {
    "tables": "8824ec8b2155d988e9e8eeff4b18428236a381b2c0b97c23abd4752d9d6a2f54",
    "learned": "7700db2b3263b5397cfd6c5d116bd84bbd4059bdf47c7a3a4bca43036161866a",
}
HERE = Path(__file__).parent
PROGRAM = """
import sys
sys.path.insert(0, {here!r})
{before}
import hashlib
import small as made
coders = {{"tables": made.tables(), "learned": made.learned()}}
codes = made.codes_of(2, 3, 60)
for name, coder in coders.items():
    data = coder.encode(codes)
    assert (coder.decode(data, 2, 3, 60) == codes).all()
    print(name, hashlib.sha256(data).hexdigest())
"""
NO_TORCH = "sys.modules['torch'] = sys.modules['numba'] = None"
BFLOAT16 = "import torch; torch.set_default_dtype(torch.bfloat16)"


@pytest.mark.parametrize(
    ("before", "environment"),
    [
        (NO_TORCH, {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
        (NO_TORCH, {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}),
        (NO_TORCH, {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3"}),
        (NO_TORCH, {"OPENBLAS_CORETYPE": "Haswell"}),
        (BFLOAT16, {"ATEN_CPU_CAPABILITY": "default"}),
        (BFLOAT16, {"ATEN_CPU_CAPABILITY": "avx2"}),
        ("import torch; torch.set_num_threads(2)", {"ATEN_CPU_CAPABILITY": "avx512"}),
    ],
    ids=["no torch", "two threads", "old processor", "other BLAS kernel", "bfloat16", "bfloat16 avx2", "avx512"],
)
def test_bytes_are_the_same_in_every_process(before, environment):
    program = PROGRAM.format(here=str(HERE), before=before)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [word for pair in VECTORS.items() for word in pair]


def test_bytes_are_those_that_were_stored(coder):
    data = coder.encode(codes_of(2, 3, 60))
    assert hashlib.sha256(data).hexdigest() == VECTORS[coder.coding.name.lower()]


@pytest.mark.parametrize(("channels", "levels", "frames"), [(1, 1, 1), (1, 2, 250), (3, 3, 17), (2, 1, 0), (1, 3, 60)])
def test_codes_come_back_and_cost_what_they_should(coder, channels, levels, frames):
    codes = codes_of(channels, levels, frames)
    data = coder.encode(codes)
    assert (coder.decode(data, channels, levels, frames) == codes).all()
    assert len(data) <= coder.bits(codes).sum() / 8 * 1.001 + 2


def test_channels_and_packets_start_fresh(coder):
    codes = codes_of(2, 3, 30)
    both = coder.bits(codes)
    for channel in range(2):
        assert (coder.bits(codes[channel : channel + 1])[0] == both[channel]).all()


def test_later_codes_change_no_earlier_cost(coder):
    codes = codes_of(1, 3, 30)
    other = codes.copy()
    other[0, 1, 20] = (other[0, 1, 20] + 1) % SIZES[1]
    before, after = coder.bits(codes), coder.bits(other)
    assert (before[..., :20] == after[..., :20]).all()
    assert (before[0, 0, 20] == after[0, 0, 20]).all()
    assert (before != after).any()


def test_random_bytes_are_refused(coder):
    rng = np.random.default_rng(0)
    refused = 0
    for size in [*range(40), 4000] * 5:
        data = rng.integers(0, 256, size, np.uint8).tobytes()
        try:
            codes = coder.decode(data, 1, 2, 30)
        except ValueError:
            refused += 1
        else:  # then they are what an encoder makes of some codes
            assert coder.encode(codes) == data
    assert refused > 60  # short ones are mostly the bytes of something


def test_a_changed_bit_gives_other_codes_or_an_error(coder):
    codes = codes_of(1, 3, 40)
    data = coder.encode(codes)
    for place in range(8 * len(data)):
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        try:
            found = coder.decode(bytes(changed), 1, 3, 40)
        except ValueError:
            continue
        assert (found != codes).any()


@pytest.mark.parametrize(
    "codes",
    [
        np.full((1, 1, 4), 40),
        np.full((1, 1, 4), -1),
        np.zeros((1, 4, 4), int),
        np.zeros((4, 4), int),
        np.zeros((1, 1, 4)),
    ],
    ids=["beyond", "negative", "levels", "rank", "floats"],
)
def test_codes_of_another_kind_are_refused(coder, codes):
    with pytest.raises(BadCodesError):
        coder.encode(codes)


def test_more_levels_than_known_are_refused(coder):
    with pytest.raises(ValueError, match="knows 3"):
        coder.decode(b"", 1, 4, 3)


def test_products_are_exact_at_their_largest():
    rows = np.full((3, MAX_TERMS), -128, np.float32)
    assert (product(rows, rows) == MAX_TERMS * 128**2).all()
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, (50, MAX_TERMS)) for _ in range(2))
    assert (product(a.astype(np.float32), b.astype(np.float32)) == a @ b.T).all()


@pytest.mark.parametrize("size", [2, 1000, 2**14])
def test_frequencies_are_a_softmax_that_sums_to_the_total(size):
    rng = np.random.default_rng(0)
    logits = rng.integers(-4000, 4001, (20, size))
    found = frequencies(logits, 6)
    assert (found.sum(-1) == TOTAL).all()
    assert found.min() >= 1
    p = np.exp((logits - logits.max(-1, keepdims=True)) / 2048)
    p /= p.sum(-1, keepdims=True)
    q = found / TOTAL
    assert (p * np.log2(p / q)).sum(-1).max() < (0.001 if size == 2 else 0.03 if size == 1000 else 0.7)


def test_looked_up_gates_are_those_of_the_functions():
    x = np.linspace(-12, 12, 999)
    arguments = np.round(x * 2**14).astype(np.int64)
    assert np.abs(sigmoid(arguments) / 2**12 - 1 / (1 + np.exp(-x))).max() < 0.0015
    assert np.abs(tanh(arguments) / 2**14 - np.tanh(x)).max() < 0.005
