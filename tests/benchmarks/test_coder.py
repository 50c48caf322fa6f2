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


def test_sizes_of_files_fall_with_the_coding(benchmark_module, sample_path, tmp_path):
    module = benchmark_module("sizes")
    codec = module.Codec.from_pretrained("speech-16k", "cpu")
    row = module.sizes_of(codec, sample_path, 1000.0, None)
    assert row["learned"] < row["tables"] < row["packed"]
