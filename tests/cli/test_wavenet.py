"""`decode` and `convert` with a WaveNet decoder: precision, folders shared among processes, and what they print."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from audiovq.cli.shared.options import PRECISIONS
from audiovq.codec import Codec
from audiovq.data.audio import read_audio, write_audio

from .conftest import save_model

WAVENET = {
    "sample_rate": 8000,
    "latent_dim": 4,
    "encoder": {"kind": "waveform", "channels": 4, "strides": [2, 2, 2], "dilations": [1]},
    "quantizer": {"kind": "fsq", "levels": [5, 5]},
    "decoders": {
        "wavenet": {
            "kind": "wavenet",
            "channels": 4,
            "gate_channels": 4,
            "skip_channels": 4,
            "cycles": 1,
            "layers_per_cycle": 2,
            "condition_channels": 4,
        }
    },
    "speakers": ["anna", "bob"],
    "speaker_dim": 4,
}


@pytest.fixture(scope="module")
def wavenet(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_model(tmp_path_factory.mktemp("models") / "wavenet", **WAVENET))


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory, wavenet: str) -> Path:
    """A folder of six, the longest first."""
    folder = tmp_path_factory.mktemp("codes")
    codec = Codec.from_pretrained(wavenet, device="cpu")
    noise = 0.3 * np.random.default_rng(0).standard_normal((1, 1600)).astype(np.float32)
    for k in range(6):
        (folder / f"{k}.codes").write_bytes(codec.compress(noise[:, : 1600 - 250 * k], 8000, speaker="anna"))
    return folder


def sounds(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.wav"))}


def test_precisions_offered_are_those_of_the_sampler():
    from audiovq.audio.wavenet_sampler import PRECISIONS as there

    assert there == PRECISIONS


def test_a_folder_shared_among_processes_is_the_same_as_file_by_file(run, codes, tmp_path, monkeypatch):
    decode = Codec.decode_pieces

    def seen(self, *args, **options):
        (tmp_path / f"by-{os.getpid()}").touch()
        return decode(self, *args, **options)

    monkeypatch.setattr(Codec, "decode_pieces", seen)
    printed = {}
    for jobs in (1, 3):
        done = run("decode", codes, tmp_path / str(jobs), "--jobs", jobs)
        assert done.exit_code == 0, done.stderr
        printed[jobs] = [line.split(" -> ")[0] for line in done.stderr.splitlines() if " -> " in line]
    assert len(list(tmp_path.glob("by-*"))) > 2  # the main process, and several others
    assert printed[1] == printed[3] == [str(codes / f"{k}.codes") for k in range(6)]
    assert len(sounds(tmp_path / "1")) == 6
    assert sounds(tmp_path / "1") == sounds(tmp_path / "3")
    one = run("decode", codes / "2.codes", tmp_path / "one.wav", "-q")
    assert one.exit_code == 0, one.stderr
    assert (tmp_path / "one.wav").read_bytes() == sounds(tmp_path / "3")["2.wav"]


def test_failing_files_of_a_folder_are_named_and_the_others_are_done(run, codes, tmp_path):
    shutil.copytree(codes, tmp_path / "codes")
    for k in (0, 3):
        (tmp_path / "codes" / f"{k}.codes").write_bytes(b"nothing")
    done = run("decode", tmp_path / "codes", tmp_path / "out", "--jobs", 3, "-q")
    assert done.exit_code == 1
    errors = done.stderr.splitlines()
    assert [line.split(":")[2].strip() for line in errors[:-1]] == [
        str(tmp_path / "codes" / f"{k}.codes") for k in (0, 3)
    ]
    assert errors[-1] == "audiovq: error: 2 of 6 files failed"
    assert sorted(sounds(tmp_path / "out")) == ["1.wav", "2.wav", "4.wav", "5.wav"]


def test_debug_stops_a_folder_at_the_first_error(run, codes, tmp_path):
    shutil.copytree(codes, tmp_path / "codes")
    (tmp_path / "codes" / "0.codes").write_bytes(b"nothing")
    done = run("--debug", "decode", tmp_path / "codes", tmp_path / "out", "--jobs", 2)
    assert "0.codes" in str(done.exception)


def test_seed_and_precision_reach_the_decoder(run, codes, wavenet, tmp_path):
    codec = Codec.from_pretrained(wavenet, device="cpu")
    for seed, precision in ((0, "fp32"), (4, "fp32"), (4, "int8")):
        path = tmp_path / f"{seed}{precision}.wav"
        done = run("decode", codes / "0.codes", path, "--seed", seed, "--precision", precision, "--decoder", "wavenet")
        assert done.exit_code == 0, done.stderr
        expected = codec.decode(codes / "0.codes", seed=seed, precision=precision)
        np.testing.assert_allclose(read_audio(path)[0], expected, atol=1.1 / 32768)
    assert len(set(sounds(tmp_path).values())) >= 2


def test_a_shift_of_pitch_without_a_source_is_one_clear_line(run, codes, wavenet, tmp_path):
    done = run("decode", codes / "0.codes", tmp_path / "a.wav", "--pitch-shift", "2", "--decoder", "wavenet")
    assert done.exit_code == 1
    assert "leave --pitch-shift out" in done.stderr
    assert not (tmp_path / "a.wav").exists()


def test_a_precision_for_a_feed_forward_decoder_is_one_clear_line(run, wav, model, tmp_path):
    assert run("encode", wav, tmp_path / "a.codes", "--model", model).exit_code == 0
    done = run("decode", tmp_path / "a.codes", tmp_path / "a.wav", "--precision", "int8")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "decoder 'fast'" in done.stderr
    assert "leave --precision out" in done.stderr
    assert run("decode", tmp_path / "a.codes", tmp_path / "a.wav", "--precision", "fp64").exit_code == 2


def test_convert_of_a_folder_is_shared_too(run, wavenet, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 800)).astype(np.float32)
    (tmp_path / "in").mkdir()
    for k in range(3):
        write_audio(tmp_path / "in" / f"{k}.wav", noise[:, 100 * k :], 8000)
    for jobs in (1, 2):
        options = ["--speaker", "bob", "--model", wavenet, "--precision", "bf16", "--jobs", jobs]
        done = run("convert", tmp_path / "in", tmp_path / str(jobs), *options)
        assert done.exit_code == 0, done.stderr
    assert len(sounds(tmp_path / "1")) == 3
    assert sounds(tmp_path / "1") == sounds(tmp_path / "2")
