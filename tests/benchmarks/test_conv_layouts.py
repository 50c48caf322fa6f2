"""benchmarks/conv_layouts.py runs at tiny sizes; that both forms give the same output is checked by the program."""

from __future__ import annotations

import json

import pytest
import torch


@pytest.fixture
def conv_layouts(benchmark_module, monkeypatch):
    module = benchmark_module("conv_layouts")
    monkeypatch.setattr(module, "DEPTHWISE", [(2, 5, 3)])
    sizes = dict(channels=4, gate_channels=3, skip_channels=5, condition_dim=2)
    monkeypatch.setattr(module, "WAVENETS", [(2, 12, 3, sizes)])
    return module


def test_each_form_has_its_rows(conv_layouts, tmp_path):
    conv_layouts.main(["--rounds", "1", "--device", "cpu", "--json", str(tmp_path / "out.json")])
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    depthwise = ["Conv2d, channels last", "grouped Conv1d"]
    wavenet = ["matrix products, channels last", "Conv1d, a skip sum per layer"]
    assert [row["name"] for row in rows] == [*depthwise, *depthwise, *wavenet, *wavenet]
    assert {row["what"] for row in rows} == {"forward", "forward+backward"}
    assert all(row["ms"] > 0 and row["ratio"] > 0 for row in rows)


def test_forms_that_differ_are_refused(conv_layouts):
    modules = {"a": torch.nn.Linear(3, 2), "b": torch.nn.Linear(3, 2)}
    with pytest.raises(AssertionError, match="not close"):
        conv_layouts.measure("differ", modules, (torch.randn(4, 3),), None)
