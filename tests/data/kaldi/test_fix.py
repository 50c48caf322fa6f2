"""Mending a data directory: all that can be mended is, all that goes is named, and the files as they were are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.data.kaldi.fix import fix
from audiovq.errors import BadDataError

MakeData = Callable[..., Path]


@pytest.fixture
def data_dir(make_data: MakeData) -> Path:
    return make_data({"a-1": 1600, "a-2": 800, "b-1": 1600})


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_a_sound_directory_is_left_alone(data_dir: Path):
    before = contents(data_dir)
    fixed = fix(data_dir)
    assert (fixed.dropped, fixed.rewritten, fixed.backup) == ({}, (), None)
    assert contents(data_dir) == before
    assert not (data_dir / ".backup").exists()


def test_order_line_ends_blanks_repeats_and_spk2utt_are_mended(data_dir: Path):
    good = contents(data_dir)
    scp = (data_dir / "wav.scp").read_text().splitlines()
    (data_dir / "wav.scp").write_bytes("\r\n".join([*reversed(scp), scp[0]]).encode())  # and no newline at the end
    (data_dir / "utt2spk").write_text("b-1\tb\na-1  a \na-2 a\na-1 a\n")
    (data_dir / "spk2utt").unlink()
    (data_dir / "spk2gender").write_text("a F\nb x\n")
    bad = contents(data_dir)
    fixed = fix(data_dir)
    assert not fixed.dropped
    assert fixed.values == ("spk2gender:2: 'x' for b",)
    assert fixed.rewritten == ("spk2gender", "spk2utt", "utt2spk", "wav.scp")
    assert contents(data_dir) == good | {"spk2gender": b"a f\n"}
    assert contents(data_dir / ".backup") == bad
    assert validate(data_dir) == []


def test_every_utterance_that_goes_is_named_with_the_reason(tmp_path: Path, make_data: MakeData):
    data = make_data({f"a-{i}": 1600 for i in range(9)})
    wav = DataDir.read(data).utterances[0].recording
    (data / "wav.scp").write_text(
        "".join(f"a-{i} {wav}\n" for i in (0, 1, 2, 3, 4, 5, 8)) + f"a-5 other.wav\nr {wav}\n"
    )
    (data / "utt2spk").write_text("".join(f"a-{i} a\n" for i in (0, 1, 4, 5, 6, 8)) + "a-2\na-7 a\n")
    (data / "utt2spk").write_text((data / "utt2spk").read_text().replace("a-4 a", "a-4 a b"))
    (data / "text").write_text("a-0 hi\nx-1 hi\n")
    (data / "utt2dur").write_text("".join(f"a-{i} 0.1\n" for i in (0, 2, 3, 4, 5, 6, 7)) + "a-8 long\n")
    fixed = fix(data)
    assert fixed.dropped == {
        "a-1": "not in utt2dur",
        "a-2": "utt2spk:7 has no value",
        "a-3": "not in utt2spk",
        "a-4": "utt2spk:3 has more than two fields",
        "a-5": "wav.scp has two different lines for it, 6 and 8",
        "a-6": "not in wav.scp",
        "a-7": "not in wav.scp",
        "a-8": "utt2dur:8 has 'long', not a number above 0",
        "r": "not in utt2spk",
        "x-1": "not in wav.scp",
    }
    assert [u.id for u in fixed.data.utterances] == ["a-0"]
    assert DataDir.read(data).contents() == fixed.data.contents()
    assert validate(data) == []


def test_bad_segments_go_and_recordings_nobody_cuts(data_dir: Path):
    (data_dir / "segments").write_text("a-1 a-1 0 -1\na-2 zz 0 1\nb-1 a-1 0.05 0.01\n")
    fixed = fix(data_dir)
    assert fixed.dropped == {
        "a-2": "segments:2: recording zz is not in wav.scp",
        "b-1": "segments:3: b-1 goes from 0.05 to 0.01 s; needed 0 <= start < end (or end -1)",
    }
    assert (data_dir / "wav.scp").read_text().count("\n") == 1
    assert validate(data_dir) == []


def test_text_and_audio_count_only_when_asked(data_dir: Path):
    (data_dir / "text").write_text("a-1 hi\na-2 hi\n")
    wav = Path(DataDir.read(data_dir).utterances[1].recording)
    wav.unlink()
    assert fix(data_dir).backup is None
    assert list(fix(data_dir, audio=True).dropped) == ["a-2"]
    assert fix(data_dir, require_text=True).dropped == {"b-1": "not in text"}
    assert sorted(p.name for p in data_dir.glob(".backup*")) == [".backup", ".backup.1"]  # none is overwritten
    assert "a-2" in (data_dir / ".backup.1" / "utt2spk").read_text()


def test_nothing_is_changed_if_nothing_would_be_left(data_dir: Path, tmp_path: Path):
    (data_dir / "utt2spk").write_text("c-1 c\n")
    before = contents(data_dir)
    with pytest.raises(BadDataError, match=r"no utterance would be left \(a-1 not in utt2spk\)"):
        fix(data_dir)
    (data_dir / "utt2spk").unlink()
    with pytest.raises(BadDataError, match="utt2spk: missing, and it can't be made"):
        fix(data_dir)
    with pytest.raises(BadDataError, match="nowhere: no such data directory"):
        fix(tmp_path / "nowhere")
    assert contents(data_dir) == {name: content for name, content in before.items() if name != "utt2spk"}
