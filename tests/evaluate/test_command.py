"""`audiovq evaluate`, as a user calls it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from audiovq.cli.evaluate import evaluate
from audiovq.codec import Codec
from audiovq.data.kaldi import DataDir
from audiovq.errors import BadDataError
from audiovq.evaluate.likelihood import measure_likelihood
from audiovq.evaluate.roundtrip import rates, round_trip


def run(*arguments):
    return CliRunner().invoke(evaluate, [str(a) for a in arguments])


def test_codec_scores_every_file_and_counts_whole_bytes(model_folder, data_dir, tmp_path):
    groups = tmp_path / "utt2group"
    data = DataDir.read(data_dir)
    groups.write_text("".join(f"{u.id} {'seen' if u.speaker == 'ann' else 'unseen'}\n" for u in data.utterances))
    outputs = ["--json", tmp_path / "s.json", "--tsv", tmp_path / "s.tsv"]
    result = run("codec", "--data", data_dir, "--model", model_folder, "--group", groups, *outputs, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert "6 files" in result.stdout
    assert "failed: stoi of ann-0, ann-1, bob-0 and 3 more" in result.stdout  # they are too short for it
    tree = json.loads((tmp_path / "s.json").read_text())
    assert list(tree["summary"]) == ["all", "seen", "unseen"]
    assert tree["summary"]["seen"]["mel_db"]["count"] == 2
    assert tree["summary"]["all"]["stoi"] == {"count": 0, "failed": 6, "mean": None, "low": None, "high": None}
    assert len((tmp_path / "s.tsv").read_text().splitlines()) == 7

    codec = Codec.from_pretrained(model_folder, "cpu")
    sizes = [len(codec.compress(u.read()[0], 8000, speaker=u.speaker)) for u in data.utterances]
    lengths = [u.read()[0].shape[1] for u in data.utterances]
    seconds = sum(lengths) / 8000
    assert tree["totals"]["kbps"] == pytest.approx(8 * sum(sizes) / seconds / 1000)
    code_bits = sum(4 * -(-length // 16) for length in lengths)
    assert tree["totals"]["code_kbps"] == pytest.approx(code_bits / seconds / 1000)


def test_a_lossless_codec_is_perfect_and_a_wrong_length_is_refused(data_dir):
    data = DataDir.read(data_dir)

    def decode(data: bytes) -> np.ndarray:
        return np.frombuffer(data, np.float32)[None]

    trips = round_trip(data.utterances, 8000, lambda x, _: x.tobytes(), decode, lambda b: 8 * len(b))
    assert [trip.score.values["mel_db"] for trip in trips] == [0.0] * 6
    assert rates(trips)["kbps"] == pytest.approx(32 * 8000 / 1000) == rates(trips)["code_kbps"]
    with pytest.raises(ValueError, match="equally long"):
        round_trip(data.utterances, 8000, lambda x, _: x[:, 1:].tobytes(), decode, len)


def test_likelihood_prints_what_the_library_measures(model_folder, model, corpus, tmp_path):
    codes = ["--codes", "own", "--codes", "none"]
    result = run("likelihood", "--model", model_folder, "--pack", corpus.path, *codes, "--json", tmp_path / "l.json")
    assert result.exit_code == 0, result.output
    tree = json.loads((tmp_path / "l.json").read_text())["codes"]
    own = measure_likelihood(model, corpus)
    assert tree["own"]["reconstruction_bits_per_sample"] == pytest.approx(own.reconstruction_bits)
    assert tree["own"]["elbo_bits_per_sample"] == pytest.approx(own.elbo_bits)
    assert list(tree) == ["own", "none"]
    assert f"{own.elbo_bits:.3f}" in result.stdout
    shuffled = run("likelihood", "--model", model_folder, "--pack", corpus.path, "--codes", "shuffled").stdout
    assert shuffled.splitlines()[-1].split("|")[3].strip() == "-"


def test_wrong_usage_is_2_and_bad_data_is_named(model_folder, data_dir, tmp_path):
    assert run("codec").exit_code == 2
    assert run("codec", "--data", data_dir, "--bitrate", 1000, "--num-quantizers", 1).exit_code == 2
    assert run("likelihood", "--model", model_folder, "--pack", tmp_path, "--codes", "mine").exit_code == 2
    assert isinstance(run("likelihood", "--model", model_folder, "--pack", tmp_path).exception, BadDataError)
    assert isinstance(run("codec", "--data", tmp_path / "none", "--model", model_folder).exception, BadDataError)
