"""Means, intervals, groups and tables."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from audiovq.errors import BadDataError
from audiovq.metrics.interval import mean_interval, share_interval
from audiovq.metrics.scores import FileScore, paired_differences, read_groups, summarize
from audiovq.metrics.speech import Metric
from audiovq.metrics.table import markdown, summary_table, to_json

METRIC = Metric("m", "M dB", 1, lambda *_: 0.0)
SCORES = [
    FileScore("a", "seen", 1.0, {"m": 1.0}),
    FileScore("b", "unseen", 1.0, {"m": 3.0}),
    FileScore("c", "unseen", 2.0, {"m": math.nan}, {"m": "broke"}),
]


def test_bootstrap_interval_is_near_the_normal_one_and_repeatable():
    values = np.random.default_rng(1).normal(5, 2, size=200)
    low, high = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(200)
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)
    assert mean_interval(values) == (low, high)


def test_interval_of_one_file_is_a_point_and_of_none_is_unknown():
    assert mean_interval([2.5]) == (2.5, 2.5)
    assert all(math.isnan(bound) for bound in mean_interval([]))


def test_weighted_interval_follows_the_heavy_items():
    low, high = mean_interval([0.0] * 50 + [1.0] * 50, [1.0] * 50 + [99.0] * 50)
    assert 0.95 < low <= 0.99 <= high < 1


def test_share_interval_is_wilsons():
    assert share_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert share_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert share_interval(0, 10)[0] == 0
    assert math.isnan(share_interval(0, 0)[0])


def test_a_failed_file_is_counted_and_not_averaged():
    summaries = summarize(SCORES)
    assert list(summaries) == ["all", "seen", "unseen"]
    assert (summaries["all"]["m"].count, summaries["all"]["m"].failed, summaries["all"]["m"].mean) == (2, 1, 2.0)
    assert (summaries["unseen"]["m"].mean, summaries["unseen"]["m"].failed) == (3.0, 1)
    failed = summarize([SCORES[2]])["all"]["m"]
    assert (failed.count, failed.failed) == (0, 1)
    assert math.isnan(failed.mean)


def test_table_says_failed_where_nothing_could_be_measured():
    table = summary_table(summarize(SCORES), [METRIC]).splitlines()
    assert table[0].split("|")[1:4] == [" files  ", "  n ", "                      M dB "]
    assert "2.0 [1.0, 3.0] (1 failed)" in table[2]
    assert summary_table(summarize([SCORES[2]]), [METRIC]).splitlines()[2].split("|")[3].strip() == "failed"
    assert len({len(line) for line in table}) == 1


def test_markdown_is_aligned():
    assert markdown(["a", "b"], [["xyz", "1"], ["x", "22"]]).splitlines() == [
        "| a   |  b |",
        "| --- | -: |",
        "| xyz |  1 |",
        "| x   | 22 |",
    ]


def test_json_has_null_for_what_failed():
    tree = json.loads(to_json({"values": [s.values for s in SCORES], "pair": (1.5, math.inf)}))
    assert tree == {"values": [{"m": 1.0}, {"m": 3.0}, {"m": None}], "pair": [1.5, None]}


def test_paired_differences_leave_out_what_files_have_in_common():
    level = np.random.default_rng(0).normal(0, 10, 50)
    scores = [FileScore(str(i), None, 1.0, {"m": float(v)}) for i, v in enumerate(level)]
    better = [FileScore(str(i), None, 1.0, {"m": float(v) + 0.5 + 0.1 * (i % 2)}) for i, v in enumerate(level)]
    failed = FileScore("0", None, 1.0, {"m": math.nan}, {"m": "broke"})
    found = paired_differences([failed, *better[1:], FileScore("new", None, 1.0, {"m": 9.0})], scores)["m"]
    assert (found.count, found.failed) == (49, 1)
    assert found.mean == pytest.approx(0.55, abs=0.01)
    assert found.high - found.low < 0.05


def test_groups_are_read_strictly(tmp_path):
    path = tmp_path / "utt2group"
    path.write_text("a seen\nb unseen\n")
    assert read_groups(path, ["a", "b"]) == {"a": "seen", "b": "unseen"}
    with pytest.raises(BadDataError, match="no group for utterance c"):
        read_groups(path, ["a", "c"])
    path.write_text("a seen\nb\n")
    with pytest.raises(BadDataError, match="utt2group:2"):
        read_groups(path, ["a"])
    with pytest.raises(BadDataError, match="none: can't be read"):
        read_groups(tmp_path / "none", ["a"])
