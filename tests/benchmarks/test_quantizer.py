"""benchmarks/quantizer.py runs at tiny sizes and writes a row for all that it says it measures."""

from __future__ import annotations

import json

import pytest
import torch


@pytest.fixture
def quantizer(benchmark_module, monkeypatch):
    module = benchmark_module("quantizer")
    tiny = [
        module.Case("A", batch=2, rows=32, size=8, dim=4),
        module.Case("R", batch=2, rows=32, size=8, dim=4, levels=3),
        module.Case("one", batch=1, rows=1, size=8, dim=4, train=False),
    ]
    monkeypatch.setattr(module, "CASES", {case.name: case for case in tiny})
    monkeypatch.setattr(module, "FLOOR_SIZE", 64)
    return module


def test_rows_and_targets_are_complete(quantizer, tmp_path, capsys):
    quantizer.main(["--peers", "--rounds", "2", "--device", "cpu", "--json", str(tmp_path / "out.json")])
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["machine"]["threads"] == 1
    measured = [(row["case"], row["what"]) for row in content["rows"]]
    training = [(case, what) for case in "AR" for what in ("forward", "forward+backward", "assign")]
    assert measured == [*training, ("one", "assign")]
    for row in content["rows"]:
        assert row["name"] == "audiovq"
        assert row["ms"] > 0
        assert row["ratio"] == row["same_codes"] == 1
        assert (row["to_floor"] is not None) == (row["what"] == "assign" and row["case"] != "one")
    targets = {row["target"] for row in content["targets"]}
    assert {"A: assign by the floor", "R: assign by the floor"} <= targets
    shown = capsys.readouterr().out
    assert "### R: N 32, K 3 x 8, D 4" in shown
    assert all(target in shown for target in targets)


def test_a_peer_that_is_not_installed_is_left_out_with_one_line(quantizer, monkeypatch, capsys):
    peers = {"encodec": lambda *_: __import__("a_package_that_nobody_has")}
    monkeypatch.setattr(quantizer, "PEERS", peers)
    rows = quantizer.measure(quantizer.CASES["one"], ["encodec"], rounds=1, device="cpu")
    assert {row["name"] for row in rows} == {"audiovq"}
    assert capsys.readouterr().out == "encodec is left out: No module named 'a_package_that_nobody_has'\n"


def test_a_peer_is_held_against_the_targets(quantizer, monkeypatch):
    monkeypatch.setattr(quantizer, "PEERS", {"vector-quantize-pytorch": quantizer.audiovq})
    case = quantizer.CASES["A"]
    rows = quantizer.measure(case, ["vector-quantize-pytorch"], rounds=1, device="cpu")
    for row in rows:
        row.update(peak_mb=3.0, to_floor=2.0)
        if row["name"] != "audiovq":
            row["ratio"] = 4.0
    met = {check["target"]: check["met"] for check in quantizer.check(case, rows)}
    assert met == {
        "A: forward against the quickest peer (vector-quantize-pytorch)": True,
        "A: forward against vector-quantize-pytorch": False,
        "A: assign by the floor": True,  # D < 64: up to 3.5
        "A: assign, peak MB": True,
        "A: forward, peak MB": True,
    }


@pytest.mark.parametrize("case", ["A", "R"])
@pytest.mark.parametrize("peer", ["vector-quantize-pytorch", "encodec", "moshi"])
def test_an_installed_peer_gives_our_codes(quantizer, case, peer):
    torch.manual_seed(0)
    x = torch.randn(2, 16, 4)
    mask = torch.ones(2, 16, dtype=torch.bool)
    codebooks = quantizer.draw_codebooks(quantizer.CASES[case], "cpu")
    try:
        candidates = {"audiovq": quantizer.audiovq(codebooks, mask), peer: quantizer.PEERS[peer](codebooks, mask)}
    except ModuleNotFoundError:
        pytest.skip(f"{peer} is not installed")
    assert quantizer.share_of_same_codes(candidates, x)[peer] == 1
