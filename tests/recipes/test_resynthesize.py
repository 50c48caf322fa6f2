"""Utterances through a model: each is encoded once, sounds as the command makes it, and is made only once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from audiovq.audio import AudioModelConfig, AudioVQVAE
from audiovq.bitstream import read_codes
from audiovq.cli.main import cli
from audiovq.codec import Codec
from audiovq.data.kaldi import datadir
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError

RATE, SPEAKERS = 8000, ["ann", "bob", "cyd"]
ENCODER = {"kind": "waveform", "channels": 8, "strides": [4, 4, 5]}
WAVENET = {
    "kind": "wavenet",
    "channels": 8,
    "gate_channels": 8,
    "skip_channels": 8,
    "cycles": 1,
    "layers_per_cycle": 3,
    "condition_channels": 8,
}
SOURCE = {"kind": "source", "channels": 8, "depth": 1, "upsample": 1, "fine_channels": 8, "fine_depth": 1}
SOURCE |= {"window_length": 160}


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory, sound) -> Path:
    """A VQ-VAE of three speakers, hop 80, with a WaveNet and a decoder with a source, both of random weights."""
    torch.manual_seed(0)
    config = {
        "sample_rate": RATE,
        "latent_dim": 8,
        "speaker_dim": 4,
        "speakers": SPEAKERS,
        "encoder": ENCODER,
        "quantizer": {"kind": "vq", "codebook_size": 16},
        "decoders": {"wavenet": WAVENET, "source": SOURCE},
    }
    model = AudioVQVAE.from_config(AudioModelConfig.model_validate(config))
    with torch.no_grad():  # as large as if trained, so that sounds differ in their codes, and codes matter
        model.encoder.project.weight.mul_(300)
        model.decoders["wavenet"].stack.output.weight.mul_(30)
        model.quantizer(model.encoder(torch.from_numpy(sound(rate=RATE)).view(1, 1, -1)))  # k-means of the codebook
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, sound) -> Path:
    """Two utterances each of three speakers, of lengths that are no multiples of the hop; the last have two blocks."""
    root = tmp_path_factory.mktemp("data")
    utterances = []
    for s, speaker in enumerate(SPEAKERS):
        for k in range(2):
            path = root / f"{speaker}-{k}.wav"
            soundfile.write(path, sound(seed=10 * s + k, seconds=0.12 + 0.31 * s + 0.051 * k, rate=RATE), RATE)
            utterances.append(Utterance(f"{speaker}-{k}", speaker, str(path), text=f"digit{k}"))
    DataDir(tuple(utterances)).write(root / "kaldi")
    return root / "kaldi"


@pytest.fixture(scope="module")
def program(load_recipe):
    return load_recipe("resynthesize")


@pytest.fixture
def run(program, model_folder, data_dir, monkeypatch):
    """`run("encode", out, jobs, "--seed=1", data=...)`: all jobs, and the join."""

    def call(what: str, out: Path, jobs: int = 1, *more: object, data: Path = data_dir) -> None:
        command = [what, f"--model={model_folder}", f"--data={data}", f"--out={out}", f"--jobs={jobs}"]
        for job in range(1, jobs + 1):
            monkeypatch.setattr(sys, "argv", ["resynthesize.py", *command, f"--job={job}", *map(str, more)])
            program.main()
        monkeypatch.setattr(sys, "argv", ["resynthesize.py", "join", f"--out={out}", f"--jobs={jobs}"])
        program.main()

    return call


@pytest.fixture
def codes(run, tmp_path) -> Path:
    run("encode", tmp_path / "codes" / "test")
    return tmp_path / "codes" / "test" / "codes"


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_codes_are_those_of_the_codec_and_name_the_speaker(codes, model_folder, data_dir):
    codec = Codec.from_pretrained(model_folder, "cpu")
    assert len(list(codes.iterdir())) == 6
    for u in DataDir.read(data_dir).utterances:
        header, found = read_codes(codes / f"{u.id}.codes")
        assert header.speaker == u.speaker
        np.testing.assert_array_equal(found, codec.encode(u.mono(RATE), RATE).codes)
    assert [u.recording for u in DataDir.read(codes.parent).utterances] == [
        u.recording for u in DataDir.read(data_dir).utterances
    ]
    assert (codes.parent / "codes.scp").read_text().splitlines()[0] == f"ann-0 {codes}/ann-0.codes"


@pytest.mark.parametrize("decoder", ["wavenet", "source"])
def test_the_command_makes_the_same_sound_of_the_same_seed(run, codes, tmp_path, decoder, model_folder):
    run("reconstruct", tmp_path / "out", 2, f"--codes={codes}", f"--decoder={decoder}", "--seed=3")
    for seed in (3, 4):
        command = ["decode", str(codes), str(tmp_path / str(seed)), "--decoder", decoder, "--seed", str(seed), "-q"]
        cli.main([*command, "--model", str(model_folder)], standalone_mode=False)
    for path in sorted((tmp_path / "out" / "wav").iterdir()):
        recipe, same, other = (soundfile.read(p / path.name)[0] for p in (path.parent, tmp_path / "3", tmp_path / "4"))
        assert np.ptp(recipe) > 0.01
        np.testing.assert_array_equal(recipe, same)
        assert (recipe != other).any()


def test_conversion_is_decoding_with_another_voice(run, codes, program, tmp_path, model_folder, data_dir):
    run("convert", tmp_path / "out", 1, f"--codes={codes}")
    codec = Codec.from_pretrained(model_folder, "cpu")
    originals = {u.id: u for u in DataDir.read(data_dir).utterances}
    made = DataDir.read(tmp_path / "out").utterances
    assert len(made) == 6
    for u in made:
        source = program.original_of(u, originals)
        assert source.speaker != u.speaker
        expected = codec.decode(codes / f"{source.id}.codes", speaker=u.speaker)
        np.testing.assert_allclose(u.read()[0], expected, atol=1.1 / 32768)


def test_output_is_a_sound_data_directory_of_the_same_lengths(run, codes, data_dir, tmp_path):
    run("reconstruct", tmp_path / "made" / "out", 2, f"--codes={codes}")
    assert datadir.validate(tmp_path / "made" / "out") == []
    data, made = DataDir.read(data_dir), DataDir.read(tmp_path / "made" / "out")
    assert [(u.id, u.speaker, u.text) for u in made.utterances] == [(u.id, u.speaker, u.text) for u in data.utterances]
    assert [len(u.mono(RATE)) for u in made.utterances] == [len(u.mono(RATE)) for u in data.utterances]
    assert {p.name for p in (tmp_path / "made").iterdir()} == {"out", "out.parts"}


def test_any_number_of_jobs_gives_the_same_bytes(run, codes, tmp_path):
    for jobs in (1, 3):
        run("encode", tmp_path / f"codes{jobs}", jobs)
        run("reconstruct", tmp_path / f"out{jobs}", jobs, f"--codes={codes}")
    assert files_of(tmp_path / "codes1" / "codes") == files_of(tmp_path / "codes3" / "codes") == files_of(codes)
    assert files_of(tmp_path / "out1" / "wav") == files_of(tmp_path / "out3" / "wav")


def test_a_part_that_is_there_is_not_made_again_but_for_another_seed(run, codes, tmp_path, monkeypatch):
    run("reconstruct", tmp_path / "out", 1, f"--codes={codes}")
    first = files_of(tmp_path / "out" / "wav")
    run("reconstruct", tmp_path / "out", 1, f"--codes={codes}", "--seed=1")
    assert files_of(tmp_path / "out" / "wav") != first
    run("reconstruct", tmp_path / "out", 1, f"--codes={codes}", "--seed=0")
    assert files_of(tmp_path / "out" / "wav") == first
    monkeypatch.setattr(Codec, "decode_many", lambda *args, **options: pytest.fail("made again"))
    monkeypatch.setattr(Codec, "compress", lambda *args, **options: pytest.fail("encoded again"))
    run("reconstruct", tmp_path / "out", 1, f"--codes={codes}")
    run("encode", codes.parent)
    assert files_of(tmp_path / "out" / "wav") == first


@pytest.mark.parametrize("templates", [0, 1])
def test_scores_read_the_codes_and_encode_nothing_but_templates(
    run, codes, load_recipe, model_folder, data_dir, tmp_path, monkeypatch, templates
):
    run("reconstruct", tmp_path / "out", 1, f"--codes={codes}", "--decoder=source")
    run("convert", tmp_path / "other", 1, f"--codes={codes}", "--decoder=source")
    score, encoded, encode = load_recipe("score"), [], AudioVQVAE.encode
    monkeypatch.setattr(AudioVQVAE, "encode", lambda self, *args: encoded.append(args) or encode(self, *args))
    command = ["score.py", f"--model={model_folder}", f"--data={data_dir}", f"--train={data_dir}", f"--codes={codes}"]
    command += [f"--reconstructed={tmp_path}/out", f"--converted={tmp_path}/other", f"--out={tmp_path}"]
    monkeypatch.setattr(sys, "argv", [*command, "--decoder=source", f"--templates={templates}"])
    score.main()
    tree = json.loads((tmp_path / "scores.json").read_text())
    every = np.concatenate([read_codes(path)[1].ravel() for path in codes.iterdir()])
    assert tree["codes"]["usage"] == [len(set(every)) / 16]
    assert tree["codes"]["file_kbps"] > 0
    assert ("words" if templates else "sentences") in tree
    assert len(encoded) == 6 * templates


def test_failure_leaves_what_was_there(run, data_dir, tmp_path):
    run("encode", tmp_path / "out")
    before = files_of(tmp_path / "out" / "codes")
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    utterances = DataDir.read(data_dir).utterances
    DataDir((*utterances, Utterance("x", "ann", str(broken)))).write(tmp_path / "data")
    with pytest.raises(SystemExit, match="broken"):
        run("encode", tmp_path / "out", data=tmp_path / "data")
    assert files_of(tmp_path / "out" / "codes") == before
    assert {p.name for p in (tmp_path / "out.parts").iterdir()} == {"1"}
    run("encode", tmp_path / "out")
    assert files_of(tmp_path / "out" / "codes") == before


def test_foreign_folders_unknown_voices_missing_codes_and_nothing_to_do_are_refused(run, codes, data_dir, tmp_path):
    (tmp_path / "mine.parts" / "1").mkdir(parents=True)
    with pytest.raises(SystemExit, match="not made by this program"):
        run("encode", tmp_path / "mine")
    with pytest.raises(SystemExit, match="fewer utterances than the 7 jobs"):
        run("encode", tmp_path / "out", 7)
    utterances = [Utterance(u.id, "zoe", u.recording) for u in DataDir.read(data_dir).utterances]
    DataDir(tuple(utterances)).write(tmp_path / "data")
    with pytest.raises(SystemExit, match="no speaker 'zoe'; choose from ann, bob, cyd"):
        run("reconstruct", tmp_path / "out", 1, f"--codes={codes}", data=tmp_path / "data")
    (codes / "bob-1.codes").unlink()
    with pytest.raises(SystemExit, match=r"bob-1\.codes: missing; encode"):
        run("reconstruct", tmp_path / "out", 1, f"--codes={codes}")
    with pytest.raises(SystemExit, match="2"):
        run("reconstruct", tmp_path / "out")


def test_rotation_reaches_every_other_speaker_equally_and_knows_its_way_back(program):
    utterances = tuple(Utterance(f"{s}-{k}", s, "x.wav") for s in SPEAKERS for k in range(4))
    takes = program.rotated_voices(DataDir(utterances))
    pairs = [(t.source.speaker, t.voice) for t in takes]
    assert len(takes) == 12
    assert all(source != voice for source, voice in pairs)
    assert {pairs.count(pair) for pair in pairs} == {2}
    assert len(set(pairs)) == 6
    originals = {u.id: u for u in utterances}
    for take in takes:
        assert program.original_of(Utterance(take.id, take.voice, "y.wav"), originals) == take.source
    with pytest.raises(BadDataError, match="ann"):
        program.rotated_voices(DataDir(utterances[:4]))
