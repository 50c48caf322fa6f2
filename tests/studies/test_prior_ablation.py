"""The ablation: every prior measured on the same codes, and controls that can't learn what is not in their codes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from audiovq.prior import CodeItem, CodeSpec
from studies.prior_ablation.ablation import (
    CodeSet,
    ResultRow,
    Results,
    ablate,
    counted,
    drawn_like,
    figure,
    table,
    tree,
)
from studies.prior_ablation.sample_quality import Judge


def rising(count: int, seed: int) -> list[CodeItem]:
    rng = np.random.default_rng(seed)
    steps = np.where(rng.random((count, 200)) < 0.75, 1, rng.integers(0, 8, (count, 200)))
    return [CodeItem(str(i), row[None] % 8) for i, row in enumerate(np.cumsum(steps, axis=1))]


def code_set() -> CodeSet:
    spec = CodeSpec(codebook_sizes=[8], frame_rate=50.0)
    judge = Judge(
        "share of steps up", lambda items: np.array([np.diff(item.codes[0])[:2] % 8 == 1 for item in items], float)
    )
    return CodeSet("rising", spec, rising(20, 0), rising(5, 1), rising(10, 2), reconstruction=1000.0, judge=judge)


def fit_bigram(kind, spec, train, valid, seed):
    """In place of a network."""
    return counted("bigram", spec, [*train, *valid]), 1.5


def fake_coder():
    """A byte a code."""

    def encode(prior, items):
        return b"".join(codes.astype(np.uint8).tobytes() for codes in items)

    def decode(prior, data, spaces):
        ends = np.cumsum([int(np.prod(space)) for space in spaces])[:-1]
        parts = np.split(np.frombuffer(data, np.uint8), ends)
        return [part.reshape(1, *space) for part, space in zip(parts, spaces, strict=True)]

    return encode, decode


@pytest.fixture(scope="module")
def results() -> Results:
    kinds = ["uniform", "unigram", "bigram", "wavenet"]
    return ablate(code_set(), kinds, "wavenet", range(2), fit_bigram, fake_coder())


@pytest.fixture
def rows(results) -> list[ResultRow]:
    return results.rows


def test_networks_have_a_row_a_seed_and_two_controls(rows):
    assert [(row.prior, row.seed) for row in rows] == [
        ("uniform", 0),
        ("unigram", 0),
        ("bigram", 0),
        ("wavenet", 0),
        ("wavenet", 1),
        ("wavenet on uniform codes", 0),
        ("wavenet on uniform codes", 1),
        ("wavenet on unigram codes", 0),
        ("wavenet on unigram codes", 1),
    ]


def test_controls_score_log2_k_however_well_the_network_fits(rows):
    found = {row.prior: row.bits_per_code for row in rows}
    assert found["wavenet"] < 1.6
    assert found["wavenet on uniform codes"] == pytest.approx(3, rel=0.01)
    assert found["wavenet on unigram codes"] == pytest.approx(found["unigram"], rel=0.01)


def test_elbo_is_reconstruction_and_prior_together(rows):
    uniform = rows[0]
    assert uniform.bits_per_second == pytest.approx(150)
    assert uniform.elbo == pytest.approx(1150)
    assert uniform.coded_ratio == pytest.approx(8 / 3)
    assert uniform.decoded


def test_an_elbo_of_images_is_in_bits_per_dimension():
    rng = np.random.default_rng(0)
    items = [CodeItem(str(i), rng.integers(0, 8, (1, 4, 4))) for i in range(30)]
    spec = CodeSpec(codebook_sizes=[8], layout="grid")
    grids = CodeSet("grids", spec, items[:20], items[20:24], items[24:], reconstruction=2.5, dims=192)
    found = ablate(grids, ["uniform"], None, [0], fit_bigram, fake_coder())
    row = found.rows[0]
    assert row.bits_per_second is None
    assert row.bits_per_dim == pytest.approx(16 * 3 / 192)
    assert row.elbo == pytest.approx(2.75)
    assert row.coded_ratio == pytest.approx(8 / 3)
    assert row.decoded
    assert "bits/dim | ELBO bits/dim" in table(found)
    assert tree(found)["rows"][0]["elbo"] == pytest.approx(2.75)


def test_drawn_codes_have_the_shapes_and_shares_of_their_origin():
    spec = CodeSpec(codebook_sizes=[3])
    items = [CodeItem("a", np.array([[0] * 900 + [2] * 100])), CodeItem("b", np.zeros((1, 500), np.int64))]
    drawn = drawn_like(items, counted("unigram", spec, items), seed=0)
    assert [item.codes.shape for item in drawn] == [(1, 1000), (1, 500)]
    shares = np.bincount(np.concatenate([item.codes[0] for item in drawn]), minlength=3) / 1500
    np.testing.assert_allclose(shares, [1400 / 1500, 0, 100 / 1500], atol=0.03)
    assert (drawn_like(items, counted("unigram", spec, items), seed=1)[0].codes != drawn[0].codes).any()


def test_samples_are_measured_beside_codes_of_the_encoder(results):
    pairs = {row.prior: row.quality.pairs for row in results.rows}
    anchors = {anchor.name: anchor.quality.pairs for anchor in results.anchors}
    assert anchors["(encoder, test part)"] < 0.05
    assert pairs["wavenet"] == pytest.approx(anchors["(encoder, test part)"], abs=0.02)
    assert min(pairs["uniform"], pairs["wavenet on uniform codes"], anchors["(the same, shuffled)"]) > 0.2
    assert all(row.quality.frechet is not None for row in results.rows)
    assert {row.seconds for row in results.rows if "wavenet" in row.prior} == {1.5}


def test_table_json_and_figure_show_every_prior(results):
    rows = results.rows
    text = table(results)
    lines = text.splitlines()
    assert len(lines) == 2 + 6 + 2 + 2
    assert lines[-1] == "rising: share of steps up"
    first = [cell.strip() for cell in lines[2].split("|")[1:-1]]
    assert first[:8] == ["rising", "uniform", "3.000", "0.0%", "150", "1150", "13.04%", "2.6667"]
    assert first[11] == f"{rows[0].quality.pairs:.3f}"
    anchor = [cell.strip() for cell in lines[8].split("|")[1:-1]]
    assert anchor[:4] == ["rising", "(encoder, test part)", "-", "-"]
    assert float(anchor[11]) < float(first[11])
    found = tree(results)
    assert len(found["rows"]) == len(rows)
    assert found["rows"][0]["elbo"] == pytest.approx(1150)
    assert found["rows"][0]["quality"]["pairs"] == rows[0].quality.pairs
    assert [anchor["name"] for anchor in found["anchors"]] == ["(encoder, test part)", "(the same, shuffled)"]
    drawing = figure(results)
    assert len(drawing.axes) == 2
    labels = [tick.get_text() for tick in drawing.axes[0].get_yticklabels()]
    assert labels == ["uniform", "unigram", "bigram", "wavenet", "wavenet on uniform codes", "wavenet on unigram codes"]


def test_several_sets_stand_in_one_table(results):
    both = Results()
    both.add(results)
    other = ablate(replace(code_set(), name="again", judge=None), ["bigram"], None, [0], fit_bigram, None)
    both.add(other)
    names = [line.split("|")[1].strip() for line in table(both).splitlines()[2:13]]
    assert names == ["rising"] * 8 + ["again"] * 3
    assert len(figure(both).axes) == 4
