"""Directory trees: mirrored, others skipped, one failing file named and not in the way of the rest."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audiovq.cli.shared.workers import CAN_FORK
from audiovq.data.audio import read_audio, write_audio


@pytest.fixture
def tree(tmp_path, speech):
    """Two sounds in two folders, and a text."""
    root = tmp_path / "in"
    (root / "deep" / "er").mkdir(parents=True)
    write_audio(root / "a.WAV", speech[:, :8000], 16000)
    write_audio(root / "deep" / "er" / "b.c.flac", speech[:, :9000], 16000)
    (root / "deep" / "readme.txt").write_text("not sound")
    return root


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_tree_is_mirrored_there_and_back(run, model, tree, tmp_path):
    encoded = run("encode", tree, tmp_path / "codes", "--model", model)
    assert encoded.exit_code == 0, encoded.stderr
    lines = encoded.stderr.splitlines()[1:]
    assert len(lines) == 3
    assert all(line.endswith("x real time") for line in lines)
    size = sum(path.stat().st_size for path in (tmp_path / "codes").rglob("*.codes"))
    assert lines[2].startswith(f"2 files: 1.06 s, {size} bytes, {8 * size / 1.0625 / 1000:.2f} kbit/s, ")
    assert "\r" not in encoded.stderr  # no progress bar in a pipe
    assert names(tmp_path / "codes") == ["a.codes", "deep/er/b.c.codes"]
    assert run("decode", tmp_path / "codes", tmp_path / "out", "-q").exit_code == 0
    assert names(tmp_path / "out") == ["a.wav", "deep/er/b.c.wav"]
    assert read_audio(tmp_path / "out" / "deep" / "er" / "b.c.wav")[0].shape == (1, 9000)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_failing_file_is_named_and_the_others_are_done(run, model, tree, tmp_path, jobs):
    (tree / "bad.wav").write_text("not sound")
    soundfile.write(tree / "z.wav", [0.0] * 100, 8000)
    done = run("encode", tree, tmp_path / "codes", "--model", model, "-q", "--jobs", jobs)
    assert done.exit_code == 1
    errors = done.stderr.splitlines()
    assert errors[0].startswith(f"audiovq: error: {tree / 'bad.wav'}: ")
    assert errors[1:] == ["audiovq: error: 1 of 4 files failed"]
    assert names(tmp_path / "codes") == ["a.codes", "deep/er/b.c.codes", "z.codes"]


def test_existing_outputs_of_a_tree_stay_and_are_named(run, model, tree, tmp_path):
    (tmp_path / "codes").mkdir()
    (tmp_path / "codes" / "a.codes").write_bytes(b"mine")
    done = run("encode", tree, tmp_path / "codes", "--model", model, "-q")
    assert done.exit_code == 1
    assert f"{tmp_path / 'codes' / 'a.codes'}: exists already" in done.stderr
    assert (tmp_path / "codes" / "a.codes").read_bytes() == b"mine"
    assert (tmp_path / "codes" / "deep" / "er" / "b.c.codes").exists()


def test_codes_of_several_models_decode_in_one_tree(run, model, other_model, wav, tmp_path):
    (tmp_path / "codes").mkdir()
    for name, folder in (("a", model), ("b", other_model)):
        assert run("encode", wav, tmp_path / "codes" / f"{name}.codes", "--model", folder).exit_code == 0
    done = run("decode", tmp_path / "codes", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert names(tmp_path / "out") == ["a.wav", "b.wav"]


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_a_tree_with_nothing_to_do_is_an_error(run, model, tmp_path, command):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.txt").write_text("not sound")
    done = run(command, tmp_path / "in", tmp_path / "out", "--model", model)
    assert done.exit_code == 1
    assert f"{tmp_path / 'in'}: holds no file that ends in" in done.stderr
    assert not (tmp_path / "out").exists()


def test_two_inputs_for_one_output_are_refused_before_any_work(run, model, tree, tmp_path, speech):
    write_audio(tree / "a.flac", speech, 16000)
    done = run("encode", tree, tmp_path / "codes", "--model", model)
    assert done.exit_code == 1
    assert "a.codes: both" in done.stderr
    assert not (tmp_path / "codes").exists()


def test_a_tree_needs_a_directory_to_go_to(run, model, tree, tmp_path):
    assert run("encode", tree, "-", "--model", model).exit_code == 2
    (tmp_path / "file").write_text("mine")
    done = run("encode", tree, tmp_path / "file", "--model", model)
    assert (done.exit_code, (tmp_path / "file").read_text()) == (1, "mine")


def test_a_wrong_option_fails_once_for_a_tree(run, model, tree, tmp_path):
    done = run("encode", tree, tmp_path / "codes", "--model", model, "--bitrate", "10")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "codes").exists()


@pytest.mark.skipif(not CAN_FORK, reason="processes are forked on Linux alone")
def test_a_tree_is_the_same_whatever_the_number_of_jobs(run, model, tree, tmp_path, speech):
    waveform = speech[:, :3000].copy()
    waveform[0, 5] = np.nan
    soundfile.write(tree / "odd.wav", waveform.T, 16000, subtype="FLOAT")
    results = {}
    for jobs in (1, 3):
        codes, out = tmp_path / f"codes{jobs}", tmp_path / f"out{jobs}"
        encoded = run("encode", tree, codes, "--model", model, "--jobs", jobs)
        decoded = run("decode", codes, out, "--jobs", jobs)
        assert (encoded.exit_code, decoded.exit_code) == (0, 0), encoded.stderr + decoded.stderr
        assert encoded.stderr.count("odd.wav: 1 samples are NaN") == 1
        results[jobs] = [(name, (out / name).read_bytes()) for name in names(out)]
    assert len(results[1]) == 3
    assert results[1] == results[3]


def test_jobs_of_several_threads_are_wrong_usage(run, model, tree, tmp_path):
    done = run("encode", tree, tmp_path / "codes", "--model", model, "--jobs", 2, "--threads", 2)
    assert done.exit_code == 2
