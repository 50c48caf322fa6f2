"""Data directories: what is read, and what is refused with file and line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.audio import read_audio
from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.data.kaldi.select import keep
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadAudioError, BadDataError

MakeData = Callable[..., Path]


@pytest.fixture
def data_dir(make_data: MakeData) -> Path:
    return make_data({"a-1": 1600, "a-2": 800, "b-1": 1600})


def test_written_and_read_again_is_the_same(tmp_path: Path):
    data = DataDir(
        (
            Utterance("B-1", "B", "cat x.wav |", text="two  words", recording_id="B-1"),
            Utterance("a-1", "a", "rec 1.wav", 0.5, 1.25, "one", "rec1"),
            Utterance("a-2", "a", "rec 1.wav", 1.25, None, recording_id="rec1"),
            Utterance("ä-1", "ä", "z.wav", text="", recording_id="ä-1"),
        ),
        {"a": "f", "B": "m"},
    )
    data.write(tmp_path / "d")
    assert DataDir.read(tmp_path / "d") == data
    assert (tmp_path / "d/spk2utt").read_text("utf-8") == "B B-1\na a-1 a-2\nä ä-1\n"
    assert (tmp_path / "d/segments").read_text("utf-8").splitlines()[1:3] == [
        "a-1 rec1 0.500000 1.250000",
        "a-2 rec1 1.250000 -1",
    ]
    assert (tmp_path / "d/wav.scp").read_text("utf-8").splitlines() == [
        "B-1 cat x.wav |",
        "rec1 rec 1.wav",
        "ä-1 z.wav",
    ]


def test_files_are_sorted_bytewise_and_written_the_same_again(tmp_path: Path):
    utterances = [Utterance(u, u[0], f"{u}.wav") for u in ("a_1", "a-2", "Z-1", "aa-1", "é-1")]
    DataDir(tuple(utterances)).write(tmp_path / "d")
    lines = (tmp_path / "d/utt2spk").read_text("utf-8").splitlines()
    assert [line.split()[0] for line in lines] == ["Z-1", "a-2", "a_1", "aa-1", "é-1"]
    first = {p.name: p.read_bytes() for p in (tmp_path / "d").iterdir()}
    DataDir(tuple(reversed(utterances))).write(tmp_path / "d")
    assert {p.name: p.read_bytes() for p in (tmp_path / "d").iterdir()} == first


def test_writing_removes_the_optional_files_of_an_earlier_run(tmp_path: Path):
    DataDir((Utterance("a-1", "a", "x.wav", 0.0, 1.0, "hello", "x"),), {"a": "f"}).write(tmp_path)
    DataDir((Utterance("a-1", "a", "x.wav"),)).write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["spk2utt", "utt2spk", "wav.scp"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("utt2spk", "a-1 a\na-2 a\na-2 a\nb-1 b\n", r"utt2spk:3: id a-2 is on line 2 already"),
        ("wav.scp", "a-2 x.wav\na-1 x.wav\nb-1 x.wav\n", r"wav\.scp:2: a-1 comes after a-2; sort"),
        ("wav.scp", "a-1 x.wav\na-2\nb-1 x.wav\n", r"wav\.scp:2: malformed line 'a-2'"),
        ("utt2spk", "a-1 a\n\na-2 a\nb-1 b\n", r"utt2spk:2: malformed line ''"),
        ("utt2spk", "a-1 a\na-2 a x\nb-1 b\n", r"utt2spk:2: more than two fields"),
        ("utt2spk", "a-1 a\na-2 a\nb-1 b", r"utt2spk:3: the last line has no newline"),
        ("utt2spk", "a-1 a\r\na-2 a\r\nb-1 b\r\n", r"utt2spk:1: ends in a carriage return"),
        ("utt2spk", "a-1 a\nb-1 b\n", r"wav\.scp:2: utterance a-2 has no speaker"),
        ("utt2spk", "a-1 a\na-2 a\na-3 a\nb-1 b\n", r"utt2spk:3: utterance a-3 is not in wav\.scp"),
        ("utt2spk", "", r"utt2spk: empty"),
        ("spk2utt", "a a-1\nb b-1\n", r"utt2spk:2: a-2 of a is not in spk2utt"),
        ("spk2utt", "a a-1 a-2\nb a-2 b-1\n", r"spk2utt:2: b lists a-2, unlike utt2spk"),
        ("text", "a-1 hello\nc-1 hello\n", r"text:2: utterance c-1 is not in wav\.scp"),
        ("spk2gender", "a F\nb m\n", r"spk2gender:1: gender of a is 'F', it must be m or f"),
        ("segments", "a-1 a-1 0 0.05\na-2 a-1 x 1\nb-1 b-1 0 -1\n", r"segments:2: malformed line for a-2"),
        ("segments", "a-1 a-1 0 0.05\na-2 a-9 0 1\nb-1 b-1 0 -1\n", r"segments:2: recording a-9 is not in wav\.scp"),
        ("segments", "a-1 a-1 0 0.05\na-2 a-1 1 0.5\nb-1 b-1 0 -1\n", r"segments:2: a-2 goes from 1 to 0\.5 s"),
        ("segments", "a-1 a-1 0 0.05\na-2 a-1 0 nan\nb-1 b-1 0 -1\n", r"segments:2: malformed"),
        ("segments", "a-1 a-1 0 0.05\nb-1 b-1 0 -1\n", r"utt2spk:2: utterance a-2 is not in segments"),
        ("utt2dur", "a-1 0.1\na-2 zero\nb-1 0.1\n", r"utt2dur:2: 'zero' for a-2; write its seconds"),
        ("utt2num_samples", "a-1 1600\na-2 0\nb-1 1600\n", r"utt2num_samples:2: '0' for a-2; write its samples"),
        ("reco2dur", "a-1 0.1\na-2 nan\n", r"reco2dur:2: 'nan' for a-2"),
        ("reco2dur", "c-1 0.1\n", r"reco2dur:1: recording c-1 is not in wav\.scp"),
        ("feats.scp", "a-1 f.ark:4\nb-1 f.ark:99\n", r"wav\.scp:2: utterance a-2 is missing in feats\.scp"),
        ("spk2gender", "c f\n", r"spk2gender:1: speaker c is not in utt2spk"),
        ("wav.scp", "a-1 x.wav\r\na-2 x.wav\r\nb-1 x.wav\r\n", r"wav\.scp:1: ends in a carriage return.*2 more"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(data_dir: Path, file: str, content: str, message: str):
    (data_dir / file).write_bytes(content.encode())
    with pytest.raises(BadDataError, match=message):
        DataDir.read(data_dir)


def test_missing_and_foreign_files_are_named(data_dir: Path, tmp_path: Path):
    with pytest.raises(BadDataError, match="nowhere: no such data directory"):
        DataDir.read(tmp_path / "nowhere")
    (data_dir / "text").write_bytes(b"a-1 \xff\n")
    with pytest.raises(BadDataError, match="text: not UTF-8 at byte 4"):
        DataDir.read(data_dir)
    (data_dir / "text").unlink()
    (data_dir / "utt2spk").unlink()
    (data_dir / "spk2utt").unlink()
    with pytest.raises(BadDataError, match=r"utt2spk: missing.*1 more problems"):
        DataDir.read(data_dir)


def test_tables_beside_the_utterances_are_kept_and_cut_down_with_them(data_dir: Path, tmp_path: Path):
    tables = {
        "utt2dur": {"a-1": "0.1", "a-2": "0.05", "b-1": "0.1"},
        "utt2lang": {"a-1": "en", "a-2": "en", "b-1": "de two words"},
        "reco2dur": {"a-1": "0.1"},
        "cmvn.scp": {"a": "c.ark:2", "b": "c.ark:99"},
    }
    data = DataDir.read(data_dir)
    DataDir(data.utterances, {"b": "m"}, tables).write(tmp_path / "d")
    again = DataDir.read(tmp_path / "d")
    assert again.tables == tables
    keep(again, ["b-1"]).write(tmp_path / "d")
    less = DataDir.read(tmp_path / "d")
    assert less.tables == {
        "utt2dur": {"b-1": "0.1"},
        "utt2lang": {"b-1": "de two words"},
        "cmvn.scp": {"b": "c.ark:99"},
    }
    assert validate(tmp_path / "d") == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ((Utterance("a-1", "a", "x.wav"), Utterance("a-1", "a", "y.wav")), "utterance a-1: two have this id"),
        ((Utterance("a 1", "a", "x.wav"),), "its utterance id 'a 1' is empty or holds a blank"),
        ((Utterance("a-1", "", "x.wav"),), "its speaker id '' is empty"),
        ((Utterance("a-1", "a", "x.wav", text="two\nlines"),), "text goes over several lines"),
        (
            (Utterance("a-1", "a", "x.wav", 0, 1, None, "r"), Utterance("a-2", "a", "y.wav", 0, 1, None, "r")),
            "recording r: is both x.wav and y.wav",
        ),
    ],
)
def test_what_the_files_cannot_hold_is_not_written(tmp_path: Path, bad: tuple[Utterance, ...], message: str):
    with pytest.raises(BadDataError, match=message):
        DataDir(bad).write(tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_speakers_must_be_in_order_too_as_kaldi_demands(tmp_path: Path):
    for utterance in ("84_1_1", "840_1_1", "84-1-1", "840-1-1"):
        soundfile.write(tmp_path / f"{utterance}.wav", np.zeros(160), 16000)
    for mark in "_-":
        ids = (f"84{mark}1{mark}1", f"840{mark}1{mark}1")
        utterances = tuple(Utterance(u, u.split(mark)[0], str(tmp_path / f"{u}.wav")) for u in ids)
        DataDir(utterances).write(tmp_path / mark)
    assert validate(tmp_path / "-") == []
    (problem,) = validate(tmp_path / "_")  # "0" sorts before "_", so 840_1_1 comes first
    assert "utt2spk:2: 84_1_1 puts speaker 84 after 840; begin ids with the speaker and '-'" in problem
    assert validate(tmp_path / "_", spk_sort=False) == []
    assert len(DataDir.read(tmp_path / "_").utterances) == 2  # no trouble to us


def test_text_may_miss_utterances_unless_it_is_required(data_dir: Path):
    (data_dir / "text").write_text("a-1 hello\nb-1\n")
    assert validate(data_dir) == []
    assert [u.text for u in DataDir.read(data_dir).utterances] == ["hello", None, ""]
    (problem,) = validate(data_dir, require_text=True)
    assert "wav.scp:2: utterance a-2 is missing in text" in problem
    (data_dir / "text").unlink()
    assert "text: missing" in validate(data_dir, require_text=True)[0]


def test_a_recording_without_a_segment_is_named(data_dir: Path):
    (data_dir / "segments").write_text("a-1 a-1 0 0.05\na-2 a-1 0 0.02\nb-1 a-1 0 -1\n")
    problems = validate(data_dir)
    assert ["no segment is of recording" in p for p in problems] == [True, True]
    assert len(DataDir.read(data_dir).utterances) == 3


def test_tabs_and_runs_of_blanks_separate_fields(data_dir: Path):
    (data_dir / "utt2spk").write_text("a-1\ta\na-2   a\nb-1 \t b\n")
    assert [u.speaker for u in DataDir.read(data_dir).utterances] == ["a", "a", "b"]


def test_validation_opens_the_audio(data_dir: Path):
    assert validate(data_dir) == []
    scp = (data_dir / "wav.scp").read_text().splitlines()
    (data_dir / "wav.scp").write_text(f"{scp[0]}\na-2 gone.wav\nb-1 echo nothing |\n")
    problems = validate(data_dir)
    assert len(problems) == 2
    assert "wav.scp:2: gone.wav: no such file" in problems[0]
    assert "wav.scp:3: 'echo nothing |' gave no audio" in problems[1]
    assert validate(data_dir, audio=False) == []


def test_validation_notices_audio_that_is_cut_off_empty_or_of_another_rate(data_dir: Path, tmp_path: Path):
    noise = np.random.default_rng(0).integers(-9000, 9000, 48000, dtype=np.int16)
    for name in ("cut.flac", "cut.wav"):
        soundfile.write(tmp_path / name, noise, 16000)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[: (tmp_path / name).stat().st_size // 2])
    soundfile.write(tmp_path / "empty.wav", noise[:0], 16000)
    soundfile.write(tmp_path / "other.wav", noise, 22050)

    def problems(recording: str, **options: bool) -> list[str]:
        scp = (data_dir / "wav.scp").read_text().splitlines()
        (data_dir / "wav.scp").write_text(f"{scp[0]}\na-2 {recording}\n{scp[2]}\n")
        return validate(data_dir, **options)

    for recording, message in [
        (f"{tmp_path}/cut.flac", "wav.scp:2: .*cut.flac: "),
        (f"{tmp_path}/cut.wav", "wav.scp:2: .*cut.wav: ends after 23989 of 48000 samples; it is cut off"),
        (
            f"cat {tmp_path}/cut.wav |",
            "wav.scp:2: 'cat .*not all of it .its output: ends after 23989 of 48000 samples; it is cut",
        ),
        (f"{tmp_path}/empty.wav", "wav.scp:2: .*empty.wav: holds no samples"),
        (f"{tmp_path}/other.wav", "wav.scp:2: a-2 has 22050 Hz, unlike the 16000 Hz of 2 others"),
        (f"cat {tmp_path}/other.wav; exit 3 |", "wav.scp:2: .* failed with status 3"),
        ("false |", "wav.scp:2: 'false |' failed with status 1"),
    ]:
        (problem,) = problems(recording)
        assert re.search(message, problem)
    assert problems(f"{tmp_path}/other.wav", one_rate=False) == []


def test_lengths_that_tables_state_must_be_those_of_the_audio(data_dir: Path):
    (data_dir / "utt2num_samples").write_text("a-1 1600\na-2 801\nb-1 1600\n")
    (data_dir / "utt2dur").write_text("a-1 0.1\na-2 0.05\nb-1 0.3\n")
    assert [re.sub(".*/", "", p) for p in validate(data_dir)] == [
        "utt2num_samples:2: 801 for a-2, but its audio has 800; make utt2num_samples anew",
        "utt2dur:3: 0.3 for b-1, but its audio has 0.1; make utt2dur anew",
    ]
    assert validate(data_dir, audio=False) == []


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_every_sample_format_comes_at_one_scale(tmp_path: Path, subtype: str):
    """One reader took mu-law for PCM, refused 24 bits, and gave integers for wav but floats for flac."""
    tone = 0.5 * np.sin(np.arange(64613) / 7)
    soundfile.write(tmp_path / "a.wav", tone, 48000, subtype=subtype)
    soundfile.write(tmp_path / "b.flac", tone, 48000, subtype="PCM_24")
    wav, flac = (Utterance("a", "a", str(tmp_path / name)).read()[0] for name in ("a.wav", "b.flac"))
    assert wav.dtype == flac.dtype == np.float32
    assert wav.shape == flac.shape == (1, 64613)  # to the sample: others count in milliseconds
    np.testing.assert_allclose(wav, flac, atol={"PCM_U8": 0.01, "ULAW": 0.02, "ALAW": 0.02}.get(subtype, 1e-4))


def test_segments_must_end_within_their_recording(data_dir: Path):
    (data_dir / "segments").write_text("a-1 a-1 0 0.1\na-2 a-2 0 0.1\nb-1 b-1 0.02 -1\n")
    (problem,) = validate(data_dir)  # a-2 has 0.05 s
    assert "segments:2: a-2 ends at 0.1 s, its recording has 0.050 s" in problem


def test_segments_are_cut_to_the_sample(data_dir: Path):
    (data_dir / "segments").write_text("a-1 a-1 0.01 0.03\na-2 a-1 0.03 0.07\nb-1 a-1 0.07 -1\n")
    data = DataDir.read(data_dir)
    whole, _ = read_audio(data.utterances[0].recording)
    pieces = [u.read()[0] for u in data.utterances]
    assert [p.shape[1] for p in pieces] == [320, 640, 480]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole[:, 160:])


def test_a_pipe_gives_the_same_audio_and_its_failure_counts(data_dir: Path):
    data = DataDir.read(data_dir)
    path = data.utterances[0].recording
    direct, _ = read_audio(path)
    np.testing.assert_array_equal(Utterance("a-1", "a", f"cat '{path}' |").read()[0], direct)
    np.testing.assert_array_equal(Utterance("a-1", "a", f"cat '{path}' |", 0.01, 0.02).read()[0], direct[:, 160:320])
    # all the audio came, but the command died: what it gave can't be trusted
    with pytest.raises(BadAudioError, match=r"utterance a-1: .* failed with status 3: oh no"):
        Utterance("a-1", "a", f"cat '{path}'; echo oh no >&2; exit 3 |").read()
    with pytest.raises(BadAudioError, match="failed with status 1"):
        Utterance("a-1", "a", f"(cat '{path}'; false) | cat |").read()


def test_a_path_with_blanks_is_read(tmp_path: Path):
    soundfile.write(tmp_path / "my take 1.wav", np.zeros(160), 16000)
    DataDir((Utterance("a-1", "a", str(tmp_path / "my take 1.wav")),)).write(tmp_path / "d")
    assert validate(tmp_path / "d") == []
    assert DataDir.read(tmp_path / "d").utterances[0].read()[0].shape == (1, 160)
