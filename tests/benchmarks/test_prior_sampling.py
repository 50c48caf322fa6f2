"""benchmarks/prior_sampling.py runs on tiny networks."""

from __future__ import annotations

import json


def test_each_kind_has_a_row(benchmark_module, tmp_path):
    module = benchmark_module("prior_sampling")
    module.main(["--steps", "64", "--rounds", "1", "--json", str(tmp_path / "out.json")], options={"channels": 8})
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["prior"] for row in rows] == ["wavenet", "pixelcnn", "transformer"]
    assert all(row["times_faster"] > 0 for row in rows)
