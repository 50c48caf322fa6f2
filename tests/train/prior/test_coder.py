"""Fitting of integer coders: the bits are near the truth, and those of the integers near those of the floats."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiovq.errors import BadCodesError, BadDataError, ConfigError
from audiovq.prior import CodeItem, CodeSpec
from audiovq.prior.coder import save_coder
from audiovq.train.prior.coder.learned import LearnedCoderConfig, fit_learned
from audiovq.train.prior.coder.network import CoderNetwork
from audiovq.train.prior.coder.score import score_coder
from audiovq.train.prior.coder.tables import fit_tables
from audiovq.train.prior.simpler import better_and_simpler

SIZES = [12, 8]
SPEC = CodeSpec(codebook_sizes=SIZES, frame_rate=50.0)
SMALL = LearnedCoderConfig(state=24, steps=60, batch_size=8, valid_every=30, warmup_steps=5, learning_rate=0.02)


def items(count: int, frames: int, seed: int) -> list[CodeItem]:
    """The first level goes up by one, three times out of four; the second is the half of it, as often."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        steps = np.where(rng.random(frames) < 0.75, 1, rng.integers(0, SIZES[0], frames))
        first = np.cumsum(steps) % SIZES[0]
        second = np.where(rng.random(frames) < 0.75, first // 2, rng.integers(0, SIZES[1], frames))
        found.append(CodeItem(f"item{i}", np.stack([first, second])))
    return found


def true_bits(size: int) -> float:
    p = np.full(size, 0.25 / size)
    p[0] += 0.75
    return float(-(p * np.log2(p)).sum())


@pytest.fixture(scope="module")
def sets() -> tuple[list[CodeItem], list[CodeItem]]:
    return items(8, 2000, 0), items(2, 5000, 1)


def test_tables_find_what_there_is_to_know(sets):
    coder = fit_tables(SPEC, sets[0])
    assert score_coder(coder, sets[1]) == pytest.approx([true_bits(size) for size in SIZES], rel=0.04)


def test_a_network_learns_and_its_integers_cost_what_its_floats_do(sets, tmp_path):
    said: list[str] = []
    coder = fit_learned(SPEC, *sets, SMALL, report=said.append)
    bits = score_coder(coder, sets[1])
    assert bits == pytest.approx([true_bits(size) for size in SIZES], rel=0.15)
    assert len(said) == 2
    network = CoderNetwork(SIZES, state=24).eval()
    network.start_from(coder)
    assert network.to_coder().fingerprint == coder.fingerprint
    codes = sets[1][0].codes[None, :, :250]
    for levels in (1, 2):
        with torch.no_grad():
            floats = torch.stack(network(torch.from_numpy(codes[:, :levels])), 1).numpy() / math.log(2)
        assert coder.bits(codes[:, :levels]).sum((0, 2)) == pytest.approx(floats.sum((0, 2)), rel=0.01)
    save_coder(coder, tmp_path / "c", {})
    more = SMALL.model_copy(update={"init": str(tmp_path / "c"), "steps": 1, "learning_rate": 1e-9})
    assert score_coder(fit_learned(SPEC, *sets, more), sets[1]) == pytest.approx(bits, rel=0.01)


def test_a_coder_by_tables_or_of_other_widths_is_no_start(sets, tmp_path):
    save_coder(fit_tables(SPEC, sets[0], steps=1), tmp_path / "c", {})
    config = SMALL.model_copy(update={"init": str(tmp_path / "c")})
    with pytest.raises(ConfigError, match="tables"):
        fit_learned(SPEC, *sets, config)
    with pytest.raises(ConfigError, match="other widths"):
        CoderNetwork(SIZES, state=8).start_from(CoderNetwork(SIZES, state=16).to_coder())


def test_nothing_to_fit_is_an_error(sets):
    with pytest.raises(BadDataError):
        fit_tables(SPEC, [CodeItem("a", np.zeros((2, 0), np.int64))])
    with pytest.raises(BadDataError, match="250"):
        fit_learned(SPEC, [CodeItem("a", np.zeros((2, 9), np.int64))], sets[1], SMALL)
    with pytest.raises(BadCodesError):
        fit_tables(SPEC, [CodeItem("a", np.full((2, 9), 12))])


def test_a_prior_worse_than_a_simpler_one_is_told(sets):
    true = true_bits(SIZES[0]) / 2 + true_bits(SIZES[1]) / 2
    assert better_and_simpler("learned", true - 0.1, SPEC, *sets) is None
    found = better_and_simpler("learned", 10.7, SPEC, *sets)
    assert found is not None
    assert found[0] == "bigram"
    assert found[1] < 3.4
    assert better_and_simpler("unigram", 10.7, SPEC, *sets) == ("uniform", pytest.approx(math.log2(96) / 2))
    assert better_and_simpler("uniform", 10.7, SPEC, *sets) is None


def test_codebooks_that_no_coder_can_have_are_refused_before_the_work():
    spec = CodeSpec(codebook_sizes=[2**15])
    one = [CodeItem("a", np.zeros((1, 300), np.int64))]
    with pytest.raises(ConfigError, match="at most"):
        fit_tables(spec, one)
    with pytest.raises(ConfigError, match="codebooks"):
        fit_learned(spec, one, one, SMALL)
