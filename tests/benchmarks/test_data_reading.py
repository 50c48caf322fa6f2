"""benchmarks/data_reading.py runs on a tiny corpus, and its candidates read the same sound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for number, rate in enumerate((48000, 16000)):
        tone = 0.3 * np.sin(np.arange(rate * 3) * 2 * np.pi * 300 / rate)
        soundfile.write(tmp_path / f"{number}.flac", tone, rate)
    soundfile.write(tmp_path / "short.flac", np.zeros(100), 16000)
    return tmp_path


def test_every_candidate_has_its_row_and_the_verdict_is_printed(benchmark_module, corpus, capsys):
    module = benchmark_module("data_reading")
    module.main([str(corpus), "--rounds", "1", "--device", "cpu", "--json", str(corpus / "out.json")])
    rows = json.loads((corpus / "out.json").read_text())["rows"]
    assert rows[0]["name"] == "the pack"
    assert len(rows) == 7
    assert all(row["reads"] > 0 for row in rows)
    assert next(row["times"] for row in rows if row["name"] == "flac 48 kHz: seek, read, soxr") == 1
    out = capsys.readouterr().out
    assert "2 recordings of at least 2 s, 1 of them at 48 kHz" in out
    assert "target: the pack at least 15 x" in out


def test_all_candidates_read_the_same_seconds(benchmark_module, corpus, tmp_path):
    module = benchmark_module("data_reading")
    directories, _ = module.make_copies(corpus, 2, tmp_path / "copies")
    batches = {name: call() for name, call in module.candidates(directories, tmp_path / "pack").items()}
    for name, batch in batches.items():
        scale = 1 / 32768 if batch[0].dtype == np.int16 else 1
        for found, wanted in zip(batch, batches["the pack"], strict=True):
            assert found.shape == (16000,)
            np.testing.assert_allclose(found[200:-200] * scale, wanted[200:-200], atol=2e-3, err_msg=name)


def test_a_folder_without_sound_is_refused(benchmark_module, tmp_path):
    with pytest.raises(SystemExit, match="no flac or wav file of 2 s or more"):
        benchmark_module("data_reading").main([str(tmp_path)])
