"""`inspect`, `verify`, `models` and `demo`: what they say about files and models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from audiovq.bitstream import AudioHeader, Coding, write_codes
from audiovq.modelfolder import bundled_models, read_model
from audiovq.prior.coder import load_coders


@pytest.fixture
def codes(run, wav, model):
    path = wav.with_name("in.codes")
    assert run("encode", wav, path, "--model", model, "--normalize", "--packet-seconds", 1, "-q").exit_code == 0
    return path


def test_inspect_tells_what_a_codes_file_holds(run, codes, model):
    facts = json.loads(run("inspect", codes, "--json").stdout)
    assert facts["model"] == "tiny"  # the name, not the way to the folder
    assert facts["fingerprint"] == read_model(model).codes_fingerprint[:6].hex()
    assert (facts["sample_rate"], facts["channels"], facts["num_samples"]) == (16000, 1, 40000)
    assert facts["num_bytes"] == codes.stat().st_size
    assert facts["gain_db"] is not None
    lines = run("inspect", codes).stdout.splitlines()
    assert re.fullmatch(r"seconds +2\.5", next(line for line in lines if line.startswith("seconds")))
    assert len(lines) == len(facts)


def test_inspect_reads_a_pipe(run, codes):
    facts = json.loads(run("inspect", "-", "--json", input=codes.read_bytes()).stdout)
    assert facts["num_samples"] == 40000


def test_inspect_tells_what_a_model_is(run, model):
    facts = json.loads(run("inspect", model, "--json").stdout)
    assert facts["bitrates_bps"] == [400, 800]
    assert facts["decoders"] == ["fast"]
    assert facts["speakers"] == []
    assert facts["fingerprint"] == read_model(model).codes_fingerprint.hex()
    assert facts["sha256"] == read_model(model).fingerprint.hex()
    assert facts["num_bytes"] == sum(p.stat().st_size for p in Path(model).iterdir())
    assert facts["num_parameters"] > 1000
    assert re.search(r"^bitrates_bps +400, 800$", run("inspect", model).stdout, re.MULTILINE)


@pytest.mark.parametrize("what", ["gone.codes", "no-such-model"])
def test_inspect_of_nothing_is_an_error(run, what):
    done = run("inspect", what)
    assert done.exit_code == 1
    assert what in done.stderr


def test_verify_tells_a_whole_file_from_a_damaged_one(run, codes):
    assert run("verify", codes).stdout == f"{codes}: ok, 2.50 s\n"
    data = bytearray(codes.read_bytes())
    data[-10] ^= 1
    codes.write_bytes(data)
    damaged = run("verify", codes)
    assert (damaged.exit_code, damaged.stdout) == (1, "")
    assert "packet 2, 2.00 to 2.50 s" in damaged.stderr
    codes.write_bytes(data[:-30])
    assert "truncated" in run("verify", codes).stderr


@pytest.mark.parametrize("model", ["speech-16k", "my-own"])
def test_verify_without_the_coder_checks_the_checksums(run, tmp_path, model):
    coder = load_coders(bundled_models()["speech-16k"])[Coding.TABLES]
    coder.fingerprint = b"\1\2\3\4"
    rates = {"sample_rate": 16000, "model_sample_rate": 16000, "hop_length": 320}
    shape = {"channels": 1, "num_samples": 6400, "frames_per_packet": 9, "codebook_sizes": (1024,)}
    header = AudioHeader(model=model, fingerprint=bytes(6), **rates, **shape)
    path = tmp_path / "a.codes"
    write_codes(path, header.coded_by(coder), np.zeros((1, 1, 20), int), coder)
    ok = f"{path}: ok, 0.40 s by its checksums; its coder 01020304 is not at hand\n"
    assert run("verify", path).stdout == ok
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "packet 2, 0.36 to 0.40 s" in run("verify", path).stderr


def test_models_lists_what_is_bundled(run, model, monkeypatch):
    monkeypatch.setattr("audiovq.modelfolder.bundled_models", lambda: {model: Path(model)})
    (facts,) = json.loads(run("models", "--json").stdout)
    assert facts["name"] == model
    line = run("models").stdout
    assert line.startswith(f"{model}: 16000 Hz, 2 levels (0.4, 0.8 kbit/s), ")
    assert facts["fingerprint"][:16] in line


def test_demo_leaves_its_files_and_says_what_they_weigh(run, model, tmp_path):
    for _ in range(2):  # a second run writes them anew
        done = run("demo", "--out", tmp_path / "demo", "--model", model)
        assert done.exit_code == 0, done.stderr
    folder = tmp_path / "demo"
    assert sorted(p.name for p in folder.iterdir()) == ["decoded.wav", "sample.codes", "sample.wav"]
    size = (folder / "sample.codes").stat().st_size
    seconds = json.loads(run("inspect", folder / "sample.codes", "--json").stdout)["seconds"]
    assert f"{folder / 'sample.codes'}: {size} bytes" in done.stdout
    assert f"{8 * size / seconds / 1000:.2f} kbit/s" in done.stdout
    assert done.stdout.count("x real time") == 2
    assert (folder / "decoded.wav").stat().st_size == (folder / "sample.wav").stat().st_size
