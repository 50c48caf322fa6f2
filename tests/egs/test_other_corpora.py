"""The recipes that share VCTK's stages, on synthesized stand-ins for their corpora."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from .conftest import folders

SHORT = ["train.max_steps=8", "train.valid_every=4", "train.warmup_steps=1", "train.precision=32-true"]
SHORT += ["objective.quantize_from_step=1", "data.batch_size=2", "data.valid_segments=2", "data.num_workers=0"]
SMALL = {  # keys of the model
    "librispeech": [
        "encoder.channels=8",
        "quantizer.codebook_size=8",
        "decoders.wavenet.channels=8",
        "decoders.wavenet.gate_channels=8",
        "decoders.wavenet.skip_channels=8",
        "decoders.wavenet.cycles=1",
    ],
    "ljspeech": [
        "encoder.channels=16",
        "encoder.depth=1",
        "quantizer.codebook_size=16",
        "decoders.fast.channels=16",
        "decoders.fast.fine_channels=16",
    ],
}


def sound(number: int, rate: int) -> np.ndarray:
    """A second of a noisy tone."""
    noise = np.random.default_rng(number).normal(0, 0.01, rate)
    return 0.3 * np.sin(np.arange(rate) * (0.05 + 0.01 * number)) + noise


def write_librispeech(root: Path) -> None:
    for subset, readers in {"train-clean-100": (84, 103), "dev-clean": (174,), "test-clean": (61,)}.items():
        for reader in readers:
            folder = root / subset / str(reader) / "12"
            folder.mkdir(parents=True)
            for n in range(8):
                soundfile.write(folder / f"{reader}-12-{n:04d}.flac", sound(n, 16000), 16000)
            texts = (f"{reader}-12-{n:04d} WORD {n}\n" for n in range(8))
            (folder / f"{reader}-12.trans.txt").write_text("".join(texts))


def write_ljspeech(root: Path) -> None:
    (root / "wavs").mkdir()
    for n in range(1, 13):
        soundfile.write(root / "wavs" / f"LJ001-{n:04d}.wav", sound(n, 22050), 22050)
    (root / "metadata.csv").write_text("".join(f"LJ001-{n:04d}|Word {n}|word {n}\n" for n in range(1, 13)))


WRITERS = {"librispeech": write_librispeech, "ljspeech": write_ljspeech}


@pytest.mark.parametrize("name", list(WRITERS))
def test_data_directories_and_packs_come_out(recipes, run_recipe, tmp_path, name):
    start(recipes, run_recipe, tmp_path, name, "--stop-stage=1")
    packs = {path.parent.name for path in (tmp_path / "dump").glob("*/*/index.json")}
    assert packs == {"train", "dev", "eval"}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(WRITERS))
def test_all_stages_run(recipes, run_recipe, tmp_path, name):
    overrides = " -o ".join(["", *SHORT, *(f"model.{key}" for key in SMALL[name])]).strip()
    done = start(recipes, run_recipe, tmp_path, name, f"--train-args={overrides}", "--tag=tiny")
    scores = json.loads((tmp_path / "exp" / "tiny" / "scores.json").read_text())
    assert ("likelihood" in scores) == (name == "librispeech")  # only a WaveNet has one
    assert ("speakers" in scores) == (name == "librispeech")
    assert ("no conversion" in done.stdout) == (name == "ljspeech")  # one voice
    made = list((tmp_path / "exp" / "tiny" / "codes_best").glob("eval/codes/*.codes"))
    assert len(made) == len((tmp_path / "data" / "eval" / "wav.scp").read_text().splitlines()) > 0
    if name == "ljspeech":
        assert (tmp_path / "exp/tiny/scores_best/bitrate_510.json").is_file()


def start(recipes, run_recipe, tmp_path, name, *more):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    WRITERS[name](corpus)
    recipe = next(recipe for recipe in recipes if recipe.parent.name == name)
    options = [f"--db-root={corpus}", "--allow-partial=true", *folders(tmp_path), "--nj=1", "--threads=1", "--ngpu=0"]
    return run_recipe(recipe, *options, *more)
