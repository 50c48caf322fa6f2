"""`audiovq prior`: from sound to codes to a prior, its score, and new sound."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from audiovq.bitstream import read_codes
from audiovq.bitstream.coder import Coding
from audiovq.data.audio import write_audio
from audiovq.prior.coder import coder_file, load_coders, read_metadata

SMALL = ["-o", "prior.channels=8", "-o", "prior.gate_channels=8", "-o", "prior.skip_channels=8", "-o",
         "prior.layers_per_cycle=2", "-o", "train.max_steps=4", "-o", "train.valid_every=2"]  # fmt: skip


@pytest.fixture
def codes(tmp_path, run, model, speech):
    """A folder of codes of four recordings."""
    for i in range(4):
        (tmp_path / "wav").mkdir(exist_ok=True)
        write_audio(tmp_path / "wav" / f"{i}.wav", speech[:, i * 5000 : i * 5000 + 20000], 16000)
    assert run("encode", tmp_path / "wav", tmp_path / "codes", "--model", model).exit_code == 0
    return tmp_path / "codes"


def test_a_bigram_is_fitted_scored_and_heard(tmp_path, run, codes, model):
    done = run("prior", "fit", "--kind", "bigram", "--out", tmp_path / "p", codes)
    assert done.exit_code == 0, done.stderr
    assert "held out:" in done.stdout
    done = run("prior", "score", tmp_path / "p", codes, "--json", tmp_path / "s.json")
    assert done.exit_code == 0, done.stderr
    tree = json.loads((tmp_path / "s.json").read_text())
    assert [item["name"] for item in tree["items"]] == ["0", "1", "2", "3"]
    everything = tree["all"]
    assert everything["bits"] == pytest.approx(sum(item["bits"] for item in tree["items"]))
    assert everything["seconds"] == pytest.approx(4 * 63 / 50)  # whole frames
    assert everything["bits_per_second"] == pytest.approx(everything["bits_per_code"] * 100)
    assert len(done.stdout.splitlines()) == 5
    sampled = ["prior", "sample", tmp_path / "p", "--seconds", 0.5, "--codes", tmp_path / "a.codes"]
    done = run(*sampled, "--decode", tmp_path / "a.wav", "--seed", 3)
    assert done.exit_code == 0, done.stderr
    assert soundfile.info(tmp_path / "a.wav").frames == 8000
    header, drawn = read_codes(tmp_path / "a.codes")
    assert drawn.shape == (1, 2, 25)
    assert header.model == "tiny"
    assert "exists already" in run(*sampled).stderr
    run("decode", tmp_path / "a.codes", tmp_path / "b.wav")
    assert (soundfile.read(tmp_path / "a.wav")[0] == soundfile.read(tmp_path / "b.wav")[0]).all()


def test_a_network_is_trained_per_speaker_and_goes_on_from_codes(tmp_path, run, codes):
    (tmp_path / "utt2spk").write_text("0 anna\n1 bob\n2 anna\n3 bob\n")
    labels = ["--labels", tmp_path / "utt2spk"]
    done = run("prior", "fit", "--kind", "wavenet", "--out", tmp_path / "p", "--by-label", *labels, *SMALL, codes)
    assert done.exit_code == 0, done.stderr
    assert run("prior", "score", tmp_path / "p", codes, *labels).exit_code == 0
    assert "label None" in run("prior", "score", tmp_path / "p", codes).stderr
    options = ["--label", "bob", "--continue", codes / "1.codes", "--keep", 0.4, "--frames", 30, "--num", 2]
    done = run("prior", "sample", tmp_path / "p", *options, "--codes", tmp_path / "x.npy")
    assert done.exit_code == 0, done.stderr
    first, second = (np.load(tmp_path / f"x-00{i}.npy") for i in range(2))
    own = read_codes(codes / "1.codes")[1][0]
    assert (first[:, :20] == own[:, :20]).all()
    assert (second[:, :20] == own[:, :20]).all()
    assert (first != second).any()


def test_codes_of_another_codec_are_refused(tmp_path, run, codes, wav, other_model):
    run("prior", "fit", "--kind", "unigram", "--out", tmp_path / "p", codes)
    run("encode", wav, tmp_path / "other.codes", "--model", other_model)
    done = run("prior", "score", tmp_path / "p", tmp_path / "other.codes")
    assert done.exit_code == 1
    assert "fit one on these codes, or use --allow-mismatch" in done.stderr
    assert run("prior", "score", tmp_path / "p", tmp_path / "other.codes", "--allow-mismatch").exit_code == 0
    done = run("prior", "sample", tmp_path / "p", "--codec", other_model, "--decode", tmp_path / "a.wav")
    assert done.exit_code == 1
    assert "--allow-mismatch" in done.stderr
    assert not (tmp_path / "a.wav").exists()


def test_a_prior_is_not_overwritten_unasked(tmp_path, run, codes):
    fit = ["prior", "fit", "--kind", "unigram", "--out", tmp_path / "p", codes]
    assert run(*fit).exit_code == 0
    assert "holds a prior already" in run(*fit).stderr
    assert run(*fit, "--force").exit_code == 0


def test_grids_are_fitted_and_drawn(tmp_path, run):
    np.save(tmp_path / "grids.npy", np.random.default_rng(0).integers(0, 6, (20, 4, 5)))
    small = ["-o", "prior.channels=8", "-o", "prior.depth=2", "-o", "train.max_steps=4", "-o", "train.valid_every=2"]
    arrays = ["--codebook-sizes", "6", "--layout", "grid", tmp_path / "grids.npy"]
    done = run("prior", "fit", "--kind", "pixelcnn", "--out", tmp_path / "p", *small, *arrays)
    assert done.exit_code == 0, done.stderr
    assert run("prior", "score", tmp_path / "p", tmp_path / "grids.npy", "-q").stdout.startswith("all: ")
    assert run("prior", "sample", tmp_path / "p", "--size", "4x5", "--codes", tmp_path / "g.npy").exit_code == 0
    assert np.load(tmp_path / "g.npy").shape == (4, 5)
    assert "--size HxW" in run("prior", "sample", tmp_path / "p", "--codes", tmp_path / "h.npy").stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "--kind", "bigram", "--out", "p", "-o", "a=1", "x"], 2, "counted, not trained"),
        (["fit", "--kind", "bigram", "--out", "p", "--codebook-sizes", "x", "x"], 2, "give numbers"),
        (["fit", "--kind", "bigram", "--out", "p", "nothing.codes"], 1, "nothing.codes"),
        (["score", "nothing", "x"], 1, "no config.json"),
        (["sample", "nothing"], 2, "nothing to write"),
    ],
)
def test_mistakes_get_one_line(run, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    done = run("prior", *arguments)
    assert done.exit_code == code
    assert message in done.stderr


def test_coders_are_fitted_and_say_what_they_cost(tmp_path, run, codes):
    done = run("prior", "fit", "--coder", "tables", "--out", tmp_path / "m", codes)
    assert done.exit_code == 0, done.stderr
    assert "fingerprint" in done.stdout
    assert "less than packed" in done.stdout
    done = run("prior", "fit", "--coder", "tables", "--out", tmp_path / "m", codes)
    assert done.exit_code == 1
    assert "exists" in done.stderr
    options = ["-o", "steps=2", "-o", "state=8", "-o", "batch_size=1"]
    done = run("prior", "fit", "--coder", "learned", "--out", tmp_path / "m", *options, codes, codes)
    assert done.exit_code == 0, done.stderr
    assert "warning: learned costs" in done.stderr  # after two steps it knows less than counts do
    assert set(load_coders(tmp_path / "m")) == {Coding.TABLES, Coding.LEARNED}
    assert read_metadata(coder_file(tmp_path / "m", Coding.LEARNED))["model"] == "tiny"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ([], "either"),
        (["--coder", "tables", "--kind", "bigram"], "either"),
        (["--coder", "tables", "-o", "steps=2"], "take no"),
        (["--coder", "tables", "--by-label"], "--by-label"),
    ],
)
def test_options_of_coders_that_contradict_are_refused(tmp_path, run, codes, options, word):
    done = run("prior", "fit", *options, "--out", tmp_path / "m", codes)
    assert done.exit_code == 2
    assert word in done.stderr
    assert not list((tmp_path).glob("m/*"))


def test_a_network_that_saw_too_little_is_told(tmp_path, run, codes):
    done = run("prior", "fit", "--kind", "wavenet", "--out", tmp_path / "p", *SMALL, codes)
    assert done.exit_code == 0, done.stderr
    assert "warning: wavenet costs" in done.stderr
