"""benchmarks/wavenet_sampling.py runs on a tiny network."""

from __future__ import annotations

import json

import pytest


@pytest.mark.slow  # compiles the samplers
def test_each_precision_and_the_definition_have_a_row(benchmark_module, monkeypatch, tmp_path):
    module = benchmark_module("wavenet_sampling")
    monkeypatch.setattr(module, "CONFIGS", {"tiny": module.Config("tiny", 1, 16, 16, skip_channels=16)})
    monkeypatch.setattr(module, "CALL_SECONDS", 0.001)
    try:
        module.main(["--rounds", "1", "--json", str(tmp_path / "out.json")])
    except SystemExit as stop:  # a machine for which no fast sampler is compiled
        pytest.skip(str(stop))
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    streams = [f"{precision}, {module.STREAMS} streams" for precision in module.PRECISIONS]
    assert [row["name"] for row in rows] == [*module.PRECISIONS, *streams, "PyTorch"]
    assert all(row["samples_per_second"] > 0 for row in rows)
