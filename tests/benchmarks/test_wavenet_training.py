"""benchmarks/wavenet_training.py runs at tiny sizes, and its three candidates are three different computations."""

from __future__ import annotations

import json

import pytest

from audiovq.layers.wavenet.bf16 import GatedLayers

SIZES = dict(channels=4, gate_channels=3, skip_channels=5)
NAMES = ["float32", "bfloat16 by autocast", "bfloat16, fused loops"]


@pytest.fixture
def wavenet_training(benchmark_module, monkeypatch):
    module = benchmark_module("wavenet_training")
    monkeypatch.setattr(module, "CASES", {"tiny": (2, 12, 4, SIZES, 2)})
    return module


def test_each_precision_has_its_row(wavenet_training, tmp_path):
    wavenet_training.main(["--rounds", "1", "--device", "cpu", "--json", str(tmp_path / "out.json")])
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["name"] for row in rows] == NAMES
    assert all(row["samples_per_second"] > 0 for row in rows)


def test_only_the_fused_candidate_is_fused(wavenet_training, monkeypatch):
    calls, apply = [], GatedLayers.apply
    monkeypatch.setattr(GatedLayers, "apply", lambda *args: calls.append(1) or apply(*args))
    fused = []
    for name, step in wavenet_training.steps(2, 12, 4, SIZES, 2).items():
        before = len(calls)
        step()
        fused += [name] * (len(calls) - before)
    assert fused == NAMES[2:]
