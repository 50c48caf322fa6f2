"""The range coder: symbols come back, bytes are as many as the information, and no other bytes are taken."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiovq.prior.coder.rangecoder import TOTAL, RangeDecoder, encode_symbols


def decoded(data: bytes, symbols: list[tuple[int, int]]) -> None:
    """Read `symbols` back; AssertionError if another one is found, ValueError as of the decoder."""
    decoder = RangeDecoder(data)
    for start, frequency in symbols:
        assert start <= decoder.target() < start + frequency
        decoder.take(start, frequency)
    decoder.finish()


SYMBOL = st.integers(0, TOTAL - 1).flatmap(lambda a: st.tuples(st.just(a), st.integers(1, TOTAL - a)))
# the ends of the interval, where carries and zeros come from
EDGES = st.sampled_from([(TOTAL - 1, 1), (0, 1), (0, TOTAL), (1, TOTAL - 1), (0, TOTAL - 1), (TOTAL // 2, TOTAL // 2)])


@given(st.lists(SYMBOL | EDGES, max_size=60))
def test_symbols_come_back_in_as_many_bytes_as_their_information(symbols):
    data = encode_symbols(symbols)
    decoded(data, symbols)
    information = sum(math.log2(TOTAL / frequency) for _, frequency in symbols) / 8
    assert len(data) <= information * 1.001 + 2


@given(st.lists(SYMBOL | EDGES, max_size=20), st.binary(min_size=1, max_size=4))
def test_bytes_of_given_symbols_are_unique(symbols, more):
    data = encode_symbols(symbols)
    for other in (data + more, data[:-1], data + b"\0"):
        if other != data:
            with pytest.raises((ValueError, AssertionError)):
                decoded(other, symbols)


def test_a_carry_runs_through_many_bytes():
    symbols = [(TOTAL - 1, 1)] * 40 + [(0, 1)] * 40 + [(TOTAL - 1, 1), (0, TOTAL)] * 20
    decoded(encode_symbols(symbols), symbols)


def test_long_random_sequences_cost_their_entropy():
    rng = np.random.default_rng(0)
    frequencies = rng.integers(1, 2000, 20000)
    symbols = [(int(rng.integers(0, TOTAL - f + 1)), int(f)) for f in frequencies]
    data = encode_symbols(symbols)
    decoded(data, symbols)
    assert len(data) == pytest.approx(np.log2(TOTAL / frequencies).sum() / 8, abs=2)
