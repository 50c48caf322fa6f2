"""`audiovq evaluate`, as a user calls it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from audiovq.cli.evaluate import evaluate
from audiovq.codec import Codec
from audiovq.data.kaldi.datadir import DataDir
from audiovq.errors import BadDataError
from audiovq.evaluate.likelihood import measure_likelihood


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
    assert "failed: model0: STOI, ESTOI of ann-0, ann-1, bob-0 and 3 more: " in result.stdout  # they are too short
    tree = json.loads((tmp_path / "s.json").read_text())
    assert tree["metrics"]["mel_db"] == "mel dB"
    (codec,) = tree["codecs"]
    assert list(codec["summary"]) == ["all", "seen", "unseen"]
    assert codec["summary"]["seen"]["mel_db"]["count"] == 2
    assert codec["summary"]["all"]["stoi"] == {"count": 0, "failed": 6, "mean": None, "low": None, "high": None}
    assert len((tmp_path / "s.tsv").read_text().splitlines()) == 7

    network = Codec.from_pretrained(model_folder, "cpu")
    sizes = [len(network.compress(u.read()[0], 8000, speaker=u.speaker)) for u in data.utterances]
    lengths = [u.read()[0].shape[1] for u in data.utterances]
    seconds = sum(lengths) / 8000
    assert codec["totals"]["kbps"] == pytest.approx(8 * sum(sizes) / seconds / 1000)
    code_bits = sum(4 * -(-length // 16) for length in lengths)
    assert codec["totals"]["payload_kbps"] == pytest.approx(code_bits / seconds / 1000)
    assert [file["cost"]["file_bits"] for file in codec["files"]] == [8 * size for size in sizes]


def test_other_codecs_share_the_table_and_missing_ones_get_a_line(model_folder, data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no program is installed there
    data = ["--data", data_dir, "--model", model_folder, "--threads", 1]
    result = run("codec", *data, "--against", "codec2:1200, mulaw,opus:6", "--json", tmp_path / "s.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-2:] == [
        "left out: codec2:1200: c2enc is not installed; install Debian's package codec2",
        "left out: opus:6: opusenc is not installed; install Debian's package opus-tools",
    ]
    tree = json.loads((tmp_path / "s.json").read_text())
    assert [codec["name"] for codec in tree["codecs"]] == ["model0", "mu-law"]
    assert tree["codecs"][1]["totals"]["payload_kbps"] == pytest.approx(64)
    assert len(tree["left_out"]) == 2
    rows = [line for line in result.stdout.splitlines() if line.startswith("| mu-law")]
    assert [row.split("|")[2].strip() for row in rows[:2]] == ["all", "64.000"]
    assert len(rows) == 3  # sound, cost, difference


def test_wrong_codecs_are_wrong_usage(model_folder, data_dir, tmp_path):
    data = ["codec", "--data", data_dir, "--model", model_folder]
    for against, complaint in (
        ("mp3:8", "no such codec; there are opus"),
        ("codec2:1201", "3200, 2400"),
        ("mulaw:8", "write mulaw"),
        ("opus", "opus:MODE"),
    ):
        result = run(*data, "--against", against)
        assert (result.exit_code, complaint in result.stderr) == (2, True), result.stderr
    assert run(*data, "--against", "melrvq:1.0").exit_code == 2
    assert run(*data, "--against", "mulaw", "--baseline-train", data_dir).exit_code == 2
    wrong = run(*data, "--against", "melrvq:1.1", "--baseline-train", data_dir)
    assert "multiple of 0.2" in wrong.stderr
    assert isinstance(run(*data, "--against", "melrvq:1", "--baseline-train", data_dir).exception, BadDataError)


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
