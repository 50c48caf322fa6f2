"""The VCTK recipe from raw files to scores: on synthesized corpora of both layouts, and on real speech where it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
import yaml

from audiovq.data.kaldi.datadir import DataDir

from .conftest import folders

TINY = " -o ".join(
    [
        "",
        "train.max_steps=6",
        "train.valid_every=3",
        "train.save_every=3",
        "train.warmup_steps=1",
        "objective.quantize_from_step=2",
        "data.valid_segments=2",
        "data.segment_samples=5120",
        "data.valid_samples=5120",
        "data.batch_size=4",
        "data.num_workers=0",
        "model.quantizer.codebook_size=8",
    ]
).strip()


def tiny_run(corpus: Path, place: Path) -> list[str]:
    """Options of a run of seconds, in folders of its own."""
    options = [f"--db-root={corpus}", "--allow-partial=true", "--conf=conf/debug.yaml", f"--train-args={TINY}"]
    return [*options, *folders(place), "--nj=1", "--threads=1", "--ngpu=0", "--num-eval=3", "--prior-kind=bigram"]


def stages_of(output: str) -> list[int]:
    lines = [line for line in output.splitlines() if line.startswith("stage ")]
    return [int(line.split()[1].rstrip(":")) for line in lines]


@pytest.mark.parametrize("layout", ["0.92", "0.80"])
def test_all_stages_run_on_a_synthesized_corpus(vctk, fake_vctk, run_recipe, tmp_path, layout):
    corpus = fake_vctk[layout]
    before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    options = tiny_run(corpus, tmp_path)
    done = run_recipe(vctk, *options)
    assert stages_of(done.stdout) == list(range(-1, 8))
    assert {p: p.stat().st_mtime_ns for p in corpus.rglob("*")} == before  # the corpus is never written to
    check_what_a_run_leaves(tmp_path)
    assert (tmp_path / "exp/debug/results.md").read_text() in done.stdout
    assert "batch of 4 x 5120 samples over 1 process(es), 4 in each" in done.stdout
    assert (tmp_path / "data/train/segments").exists() == (layout == "0.80")  # silence is cut in the older release

    again = run_recipe(vctk, *options)
    # 0, 3 packs, 2, codes and sound of 3, 4, 2 sets of codes and a prior, its samples and their score, 7
    assert again.stdout.count("nothing to do") + again.stderr.count("nothing to do") == 14
    assert "step 3" not in again.stdout


def check_what_a_run_leaves(place: Path) -> None:
    exp = place / "exp" / "debug"

    def place_of(name: str) -> Path:
        return exp / "reconstruct_best" / "eval_3" / "wav" / f"{name}.wav"

    config = yaml.safe_load((exp / "config.yaml").read_text())
    speakers = [line.split()[0] for line in (exp / "spk2idx").read_text().splitlines()]
    assert speakers == config["model"]["speakers"] == list(DataDir.read(place / "data/train").speakers)
    environment = (exp / "env.txt").read_text()
    for word in ("audiovq ", "torch ", "lightning ", "python ", "train: ", "utterances"):
        assert word in environment
    assert {"last.ckpt", "best.ckpt", "step0000006.ckpt"} == {p.name for p in (exp / "checkpoints").iterdir()}
    assert json.loads((exp / "trained.json").read_text())["step"] == 6
    for what in ("reconstruct", "convert"):
        made = DataDir.read(exp / f"{what}_best" / "eval_3")
        assert len(made.utterances) == 3
        assert all(Path(u.recording).is_file() for u in made.utterances)
        assert not (exp / f"{what}_best" / "eval_3" / "codes").exists()  # they are in one place only
    for name in ("eval_3", "dev", "train"):
        made = list((exp / "codes_best" / name / "codes").glob("*.codes"))
        assert len(made) == len(DataDir.read(place / "data" / name).utterances)
    drawn = DataDir.read(exp / "samples_best" / "any")
    assert [u.id for u in drawn.utterances] == [u.id for u in DataDir.read(exp / "reconstruct_best/eval_3").utterances]
    lengths = [soundfile.info(u.recording).frames for u in drawn.utterances]
    assert lengths == [-(-soundfile.info(place_of(u.id)).frames // 320) * 320 for u in drawn.utterances]
    assert "| drawn " in (exp / "samples.md").read_text()
    scores = json.loads((exp / "scores.json").read_text())
    assert scores["speakers"].keys() == {"originals", "reconstructed", "converted"}
    assert scores["sentences"]["converted"]["among"] == 3
    assert scores["codes"]["file_kbps"] > 0.05
    logs = {p.name for p in (exp / "log").iterdir()}
    assert {
        "train.log",
        "encode_best_eval_3.1.log",
        "reconstruct_best_eval_3.1.log",
        "convert_best_eval_3.1.log",
        "score_best.log",
    } <= logs
    assert not list(place.rglob("*.part*"))
    assert not list(place.rglob(".*making*"))


def test_real_speech_goes_through_all_stages_in_debug_size(vctk, minivctk, run_recipe, tmp_path):
    """The corpus in VCTK's layout that `minivctk` in tests/conftest.py looks for."""
    options = [f"--db-root={minivctk}", "--allow-partial=true", "--conf=conf/debug.yaml", *folders(tmp_path)]
    done = run_recipe(vctk, *options, "--nj=1", "--threads=1", "--ngpu=0", "--num-eval=8", "--prior-kind=bigram")
    assert stages_of(done.stdout) == list(range(-1, 8))
    scores = json.loads((tmp_path / "exp/debug/scores.json").read_text())
    assert scores["speakers"]["originals"]["asked_for"] > 0.6
    assert scores["codes"]["usage"][0] > 0.2  # no collapse
    assert scores["distance"]["reconstructed"]["stoi"]["mean"] > 0.3


def test_audio_files_in_place_of_packs_train_too(vctk, fake_vctk, run_recipe, tmp_path):
    options = [*tiny_run(fake_vctk["0.92"], tmp_path), "--pack", "false", "--stop-stage", "2"]
    done = run_recipe(vctk, *options)
    assert "not packed" in done.stdout
    assert not (tmp_path / "dump").exists()
    assert (tmp_path / "exp/debug/models/best/config.json").is_file()


def test_a_wrong_release_fails_at_stage_0_with_both_numbers(vctk, fake_vctk, run_recipe, tmp_path):
    options = [f"--db-root={fake_vctk['0.92']}", *folders(tmp_path), "--stage=0", "--stop-stage=0"]
    done = run_recipe(vctk, *options, status=1)
    assert "10 found, 110 expected" in done.stdout
    assert "expected" in done.stderr
    assert not (tmp_path / "data" / "train").exists()


def test_other_options_make_a_stage_run_anew_and_the_same_do_not(vctk, fake_vctk, run_recipe, tmp_path):
    options = [*tiny_run(fake_vctk["0.92"], tmp_path), "--stage=0", "--stop-stage=0"]
    run_recipe(vctk, *options)
    train = (tmp_path / "data/train/wav.scp").read_text()
    assert "mic1" in train
    same = run_recipe(vctk, *options)
    assert "nothing to do" in same.stdout
    run_recipe(vctk, *options, "--mic=mic2")
    other = (tmp_path / "data/train/wav.scp").read_text()
    assert "mic1" not in other
    assert "mic2" in other
    assert "p280" not in other  # has no second microphone
    run_recipe(vctk, *options)
    assert (tmp_path / "data/train/wav.scp").read_text() == train


def test_a_later_stage_says_which_one_it_misses(vctk, run_recipe, tmp_path):
    for stage, missing in ((1, 0), (2, 1), (3, 2), (4, 2), (7, 2)):
        done = run_recipe(vctk, *folders(tmp_path), f"--stage={stage}", f"--stop-stage={stage}", status=1)
        assert f"run stage {missing} first" in done.stderr
