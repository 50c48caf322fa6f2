"""benchmarks/coder.py runs on a short recording."""

from __future__ import annotations

import json


def test_coders_save_bytes_of_speech(benchmark_module, sample_path, tmp_path):
    module = benchmark_module("coder")
    out = tmp_path / "out.json"
    module.main([str(sample_path), "--seconds", "6", "--rounds", "1", "--json", str(out)])
    tree = json.loads(out.read_text())
    assert len(tree["rates"]) == 4
    for _, _, _, packed, tables, learned in tree["rates"]:
        assert learned < tables < packed
    assert {name for _, name, *_ in tree["speeds"]} == {"codec", "tables", "learned"}
