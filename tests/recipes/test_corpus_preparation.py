"""What all recipes share: nothing that an interrupted run leaves may pass for a data directory."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import AudioVQError, BadDataError

PARTS = ("train", "dev", "eval")


@pytest.fixture(scope="module")
def shared(load_recipe) -> ModuleType:
    return load_recipe("corpus_preparation")


def data_dirs(count: int, text: str | None, end: float | None = None) -> dict[str, DataDir]:
    """Three data directories of audio that need not exist."""
    data = {}
    for name in PARTS:
        ids = [f"{name}-{n}" for n in range(count)]
        utterances = tuple(Utterance(u, name, f"/corpus/{u}.wav", end=end, text=text) for u in ids)
        data[name] = DataDir(utterances, {name: "f"}, {"utt2dur": dict.fromkeys(ids, "1.000000")})
    return data


class Killed(BaseException):
    pass


def killed_at(last: int, rename: Callable[..., None]) -> Callable[..., None]:
    """os.replace that does `last` renames and is killed at the next."""
    left = last

    def replace(source: object, target: object) -> None:
        nonlocal left
        if left == 0:
            raise Killed
        left -= 1
        rename(source, target)

    return replace


def test_an_interrupted_run_leaves_no_mixture_and_a_second_one_mends_it(
    shared, tmp_path: Path, files_below, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # else the disk is waited for some thousand times
    before, after = data_dirs(3, None, end=0.5), data_dirs(2, "words")
    shared.write_data_dirs(tmp_path / "whole", after)
    finished = files_below(tmp_path / "whole")
    for last in range(100):
        out = tmp_path / str(last)
        shared.write_data_dirs(out, before)
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed_at(last, os.replace))
            try:
                shared.write_data_dirs(out, after)
            except Killed:
                killed = True
            else:
                killed = False
        found = {name: state_of(out / name, before[name], after[name]) for name in PARTS}
        assert "mixture" not in found.values()
        assert not {"before", "after"} <= set(found.values())  # a train of one run beside an eval of another
        shared.write_data_dirs(out, after)
        assert files_below(out) == finished
        if not killed:
            break
    assert last == 3 * 6 * 2  # six files in three directories, written and published


def state_of(folder: Path, before: DataDir, after: DataDir) -> str:
    try:
        data = DataDir.read(folder)
    except AudioVQError:
        return "refused"
    recordings = [u.recording for u in data.utterances]
    for state, whole in (("before", before), ("after", after)):
        same = recordings == [u.recording for u in whole.utterances]
        if same and [(u.text, u.end) for u in data.utterances] == [(u.text, u.end) for u in whole.utterances]:
            return state
    return "mixture"


def test_what_a_killed_run_left_is_cleared_and_other_files_stay(shared, tmp_path: Path, files_below):
    shared.write_data_dirs(tmp_path / "whole", data_dirs(2, "words"))
    (tmp_path / "out/.dev.partial").mkdir(parents=True)
    (tmp_path / "out/.dev.partial/.wav.123.scp").write_text("half a li")
    (tmp_path / "out/train").mkdir()
    (tmp_path / "out/train/feats.scp").write_text("of another run")
    (tmp_path / "out/train/notes.txt").write_text("mine")
    shared.write_data_dirs(tmp_path / "out", data_dirs(2, "words"))
    expected = files_below(tmp_path / "whole") | {"train/notes.txt": b"mine"}
    assert files_below(tmp_path / "out") == expected
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(PARTS)


@pytest.mark.parametrize("recording", ["/corpus/a.wav ", " /corpus/a.wav", "/corpus/a.wav |"])
def test_paths_that_wav_scp_can_not_hold_are_refused(shared, tmp_path: Path, recording: str):
    data = DataDir((Utterance("a", "a", recording),), tables={"utt2dur": {"a": "1"}})
    with pytest.raises(BadDataError, match=r"wav\.scp can't hold this path; rename the file"):
        shared.write_data_dirs(tmp_path / "data", {"train": data})
    assert not (tmp_path / "data").exists()


def test_silent_audio_is_left_out_by_name_if_trimming(shared, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    soundfile.write(tmp_path / "loud.wav", np.concatenate([np.zeros(8000), noise, np.zeros(4000)]), 8000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    utterances = [Utterance(name, "a", str(tmp_path / f"{name}.wav")) for name in ("loud", "silent")]
    with pytest.raises(BadDataError, match=r"1 of 2 recordings can't be used, the first is silent: .*silent\.wav"):
        shared.measure(utterances, 25.0)
    kept, seconds = shared.measure(utterances, 25.0, True)
    assert [u.id for u in kept] == ["loud"]
    assert seconds["loud"] == pytest.approx(1.2, abs=0.05)
    assert kept[0].start == pytest.approx(0.9, abs=0.04)
    assert "left out silent: " in capsys.readouterr().err
    split = {"train": ["loud"], "dev": ["silent"]}
    with pytest.raises(BadDataError, match="nothing of 1 utterances is for dev"):
        shared.write_split(tmp_path / "data", split, utterances, {}, trim_db=25.0, allow_partial=True)
    assert not (tmp_path / "data").exists()


def test_ids_sort_bytewise(shared, tmp_path: Path):
    assert shared.bytewise(["b", "a_1", "A", "a1", "ä", "a-1"]) == ["A", "a-1", "a1", "a_1", "b", "ä"]


def test_counts_are_compared_one_by_one(shared, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shared.check_counts(tmp_path, {"speakers": (2, 2)}, allow_partial=False)
    with pytest.raises(BadDataError, match=r": 3 files found, 4 expected; it is another release"):
        shared.check_counts(tmp_path, {"speakers": (2, 2), "files": (3, 4)}, allow_partial=False)
    shared.check_counts(tmp_path, {"speakers": (2, 2), "files": (3, 4)}, allow_partial=True)
    out, err = capsys.readouterr()
    assert out.endswith("speakers: 2 found, 2 expected\nfiles: 3 found, 4 expected\n")
    assert "warning: " in err


def test_a_few_files_more_or_less_are_a_warning_where_that_is_allowed(shared, tmp_path: Path, capsys):
    shared.check_counts(tmp_path, {"files": (998, 1000)}, allow_partial=False, slack=0.002)
    assert "1 of these counts" in capsys.readouterr().err
    with pytest.raises(BadDataError, match="997 files found, 1000 expected"):
        shared.check_counts(tmp_path, {"files": (997, 1000)}, allow_partial=False, slack=0.002)


def test_a_program_ends_in_one_line_or_130(shared, capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr("sys.argv", ["prepare_x.py"])

    def fail(error: BaseException) -> None:
        raise error

    with pytest.raises(SystemExit, match=r"^prepare_x\.py: error: no$"):
        shared.run_program(fail, error=BadDataError("no"))
    with pytest.raises(SystemExit, match=r"^prepare_x\.py: error: .*Permission denied: 'x'$"):
        shared.run_program(fail, error=PermissionError(13, "Permission denied", "x"))
    with pytest.raises(SystemExit) as exit_of:
        shared.run_program(fail, error=KeyboardInterrupt())
    assert exit_of.value.code == 130


def test_auto_is_a_trim_only_where_it_means_something(shared):
    options = ["--db-root", "a", "--data-dir", "b"]
    assert shared.corpus_parser(None).parse_args(options).trim_db is None
    assert shared.corpus_parser(None).parse_args([*options, "--trim", "27.5"]).trim_db == 27.5
    parser: argparse.ArgumentParser = shared.corpus_parser(None, auto_trim="it depends")
    assert parser.parse_args(options).trim_db == "auto"
    assert parser.parse_args([*options, "--trim", "none"]).trim_db is None
    with pytest.raises(SystemExit):
        shared.corpus_parser(None).parse_args([*options, "--trim", "auto"])


def test_what_is_written_is_sound(shared, tmp_path: Path):
    rng = np.random.default_rng(0)
    utterances = []
    for speaker in ("84", "840"):
        for n in range(12):
            path = tmp_path / f"in {speaker}" / f"{n}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, 8000 + n), 8000)
            utterances.append(Utterance(f"{speaker}-{n}", speaker, str(path), text="a b" if n else None))
    split = shared.closed_split(shared.ids_by_speaker(utterances))
    shared.write_split(tmp_path / "data", split, reversed(utterances), {"84": "f"}, trim_db=20.0)
    for name in PARTS:
        assert validate(tmp_path / "data" / name) == []
    assert (tmp_path / "data/train/spk2gender").read_text() == "84 f\n"
