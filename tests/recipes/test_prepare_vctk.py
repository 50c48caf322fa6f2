"""VCTK's recipe on made-up trees of both releases, which have the quirks of the real ones and of copies of them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.errors import BadDataError, OutputError

PARTS = ("train", "dev", "eval")
Run = Callable[..., dict[str, DataDir]]


@pytest.fixture(scope="module")
def recipe(load_recipe) -> ModuleType:
    return load_recipe("prepare_vctk")


@pytest.fixture(scope="module")
def fake_092(fake_vctk, tmp_path_factory: pytest.TempPathFactory):
    return fake_vctk.write_fake_vctk(tmp_path_factory.mktemp("my corpora") / "VCTK 0.92", "0.92", utterances=13)


@pytest.fixture(scope="module")
def fake_080(fake_vctk, tmp_path_factory: pytest.TempPathFactory):
    return fake_vctk.write_fake_vctk(tmp_path_factory.mktemp("fake") / "VCTK-Corpus", "0.80", utterances=13)


@pytest.fixture
def run(recipe, tmp_path: Path) -> Run:
    """Prepare a part of the corpus into tmp_path/data."""
    return lambda fake, **options: recipe.prepare(fake.root, tmp_path / "data", **{"allow_partial": True} | options)


def ids_of(data: dict[str, DataDir]) -> set[str]:
    return {u.id for directory in data.values() for u in directory.utterances}


def read(folder: Path) -> dict[str, DataDir]:
    return {name: DataDir.read(folder / name) for name in PARTS}


def text_of(fake) -> dict[str, str]:
    return {u: text for u, text in fake.texts.items() if u in fake.audio["mic1"]}


# --- finding the corpus -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["", "VCTK-Corpus-0.92", "DS_10283_3443/VCTK-Corpus-0.92"])
@pytest.mark.parametrize("version", ["0.80", "0.92"])
def test_the_corpus_is_found_flat_and_nested(recipe, fake_080, fake_092, tmp_path: Path, version: str, below: str):
    fake = fake_080 if version == "0.80" else fake_092
    place = tmp_path / "download" / below
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(fake.root)
    corpus = recipe.find_corpus(tmp_path / "download")
    assert corpus.version == version
    assert {mic: sorted(paths) for mic, paths in corpus.audio.items()} == fake.audio
    assert recipe.find_corpus(place / recipe.FOLDERS[version]).version == version


def test_a_wrong_release_no_corpus_and_two_corpora_are_refused(recipe, fake_080, fake_092, tmp_path: Path):
    with pytest.raises(BadDataError, match=r"no folder wav48 \(0\.80\).*there is .*, of release 0\.92"):
        recipe.find_corpus(fake_092.root, "0.80")
    with pytest.raises(BadDataError, match=r"no folder wav48 \(0\.80\) or wav48_silence_trimmed \(0\.92\)"):
        recipe.find_corpus(tmp_path)
    with pytest.raises(BadDataError, match="no such folder; --db-root must be the VCTK corpus"):
        recipe.find_corpus(tmp_path / "nowhere")
    (tmp_path / "old").symlink_to(fake_080.root)
    (tmp_path / "new").symlink_to(fake_092.root)
    with pytest.raises(BadDataError, match=r"holds both .*; give --db-root one of them, or --corpus-version"):
        recipe.find_corpus(tmp_path)
    assert recipe.find_corpus(tmp_path, "0.92").root == tmp_path / "new"


def test_an_incomplete_corpus_fails_with_both_numbers_before_anything_is_written(recipe, fake_092, tmp_path: Path):
    found = len(fake_092.audio["mic1"])
    with pytest.raises(BadDataError, match=f"10 speakers found, 110 expected; {found} audio files found, 44455 exp"):
        recipe.prepare(fake_092.root, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_complete_corpus_needs_no_permission(recipe, fake_092, run: Run, monkeypatch: pytest.MonkeyPatch):
    mic2 = fake_092.audio["mic2"]
    texts = len(set(mic2) & {path.stem for path in (fake_092.root / "txt").rglob("*_*.txt")})
    monkeypatch.setitem(recipe.EXPECTED, ("0.92", "mic2"), (8, len(mic2), texts))
    with pytest.raises(BadDataError, match=r"3 of .* recordings can't be used, the first is p257_006.*--allow-par"):
        run(fake_092, mic="mic2", split="open", speakers=[], allow_partial=False)
    speakers = ["p225", "p226", "p287", "p232", "s5"]
    data = run(fake_092, mic="mic2", split="closed", speakers=speakers, allow_partial=False)
    assert ids_of(data) == {u for u in mic2 if u.split("_")[0] in speakers}


# --- what becomes of the quirks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["0.80", "0.92"])
def test_all_readable_audio_is_listed_and_nothing_else(run: Run, fake_080, fake_092, tmp_path: Path, version: str):
    fake = fake_080 if version == "0.80" else fake_092
    data = run(fake, trim_db=None)
    assert ids_of(data) == set(fake.audio["mic1"]) - fake.unreadable
    for name in PARTS:
        assert validate(tmp_path / "data" / name) == []
    for u in (u for directory in read(tmp_path / "data").values() for u in directory.utterances):
        assert u.speaker == u.id.split("_")[0] == Path(u.recording).parent.name
        assert u.text == text_of(fake).get(u.id)  # CRLF, lines and blanks made one line; p225_002 and p315 have none
    assert ("s5" in data["train"].speakers) == (version == "0.92")


def test_what_is_odd_is_said(run: Run, fake_092, capsys: pytest.CaptureFixture[str]):
    run(fake_092, mic="mic2")
    out, err = capsys.readouterr()
    for said in (
        "speakers: 8 found, 108 expected",
        "audio files: 89 found, 43873 expected",
        "files that are no utterances, passed over: 5 (.DS_Store log.txt p225/.DS_Store p225/._p225_001_mic1.flac p",
        "txt without audio: 4 (p226_009 p362_004 p362_005 p362_011)",
        "without mic2, speakers: 2 (p280 p315)",
        "without mic2: 1 (p287_012)",
        "empty txt: 1 (p225_002)",
        "speakers with fewer than 4 utterances, all in train: 1 (p376)",
        "sample rates: 48000 Hz (86)",
    ):
        assert said in out
    for utterance in fake_092.unreadable:
        assert f"left out {utterance}: {fake_092.root}/wav48_silence_trimmed/p257/{utterance}_mic2.flac: " in err


def test_p280_has_mic1_only(run: Run, fake_092, fake_080):
    assert "p280" in run(fake_092)["train"].speakers
    assert "p280" not in run(fake_092, mic="mic2")["train"].speakers
    with pytest.raises(BadDataError, match="no audio of p280 p999; check --speakers and --mic"):
        run(fake_092, mic="mic2", speakers=["p999", "p280", "p225"])
    with pytest.raises(BadDataError, match=r"release 0\.80 has one microphone; give --mic mic1"):
        run(fake_080, mic="mic2")


def test_untranscribed_audio_is_kept_unless_text_is_required(run: Run, fake_092, tmp_path: Path):
    assert "p315" in run(fake_092)["train"].speakers
    run(fake_092, require_text=True)
    data = read(tmp_path / "data")
    assert ids_of(data) == text_of(fake_092).keys() - fake_092.unreadable
    assert all(u.text for directory in data.values() for u in directory.utterances)


def test_genders_are_read_from_both_speaker_infos(recipe, fake_vctk, fake_080, fake_092, tmp_path: Path, capsys):
    expected = {speaker: info[1].lower() for speaker, info in fake_vctk.SPEAKERS.items()}
    assert recipe.read_genders(fake_092.root) == expected
    del expected["p280"], expected["s5"]  # not in the older table
    assert recipe.read_genders(fake_080.root) == expected
    lines = (
        "ID  AGE  GENDER  ACCENTS  REGION",
        "225  23  F  English  Southern  England",
        "376  22  M  Indian",
        "",
        "p9",
    )
    lines = (*lines, "p401  NA  M  Unknown", "p402  F  Scottish  Fife  (no age)  ")
    (tmp_path / "speaker-info.txt").write_text("\r\n".join(lines))
    assert recipe.read_genders(tmp_path) == {"p225": "f", "p376": "m", "p401": "m", "p402": "f"}
    assert recipe.read_genders(tmp_path / "nowhere") == {}
    assert "speaker-info.txt: missing; spk2gender is not written" in capsys.readouterr().err


def test_text_that_is_not_utf8_is_named(run: Run, fake_092, tmp_path: Path):
    root = tmp_path / "copy"
    root.mkdir()
    (root / "wav48_silence_trimmed").symlink_to(fake_092.root / "wav48_silence_trimmed")
    (root / "txt/p225").mkdir(parents=True)
    (root / "txt/p225/p225_001.txt").write_bytes(b"caf\xe9\n")
    fake_092 = type(fake_092)(root)
    with pytest.raises(BadDataError, match=r"p225_001\.txt: not UTF-8 at byte 3; convert it"):
        run(fake_092)


def test_stereo_and_24_bits_are_read(run: Run, fake_vctk, fake_080, tmp_path: Path):
    run(fake_080)
    utterances = {u.id: u for directory in read(tmp_path / "data").values() for u in directory.utterances}
    assert utterances[fake_vctk.STEREO].read()[0].shape[0] == 2
    assert utterances[fake_vctk.DEEP].read()[0].shape[0] == 1


# --- trimming ---------------------------------------------------------------------------------------------------


def test_silence_of_080_is_cut_by_segments(run: Run, fake_080, tmp_path: Path):
    run(fake_080)
    for name in PARTS:
        assert validate(tmp_path / "data" / name) == []
        whole = {u.id: u for u in DataDir.read(tmp_path / "data" / name).utterances}
        lengths = dict(line.split() for line in (tmp_path / "data" / name / "utt2dur").read_text().splitlines())
        for u in whole.values():
            assert u.end is not None
            assert 0.2 < u.start < 0.4  # speech begins at 0.4 s, and 0.1 s is kept before it
            assert float(lengths[u.id]) == pytest.approx(u.end - u.start, abs=2e-6)
            waveform, rate = u.read()
            assert waveform.shape[1] == round(float(lengths[u.id]) * rate)
    run(fake_080, trim_db=None)
    assert not list((tmp_path / "data").rglob("segments"))
    assert DataDir.read(tmp_path / "data/dev").utterances[0].end is None


def test_092_is_trimmed_if_asked_only(run: Run, fake_092, tmp_path: Path):
    run(fake_092)
    assert not list((tmp_path / "data").rglob("segments"))
    run(fake_092, trim_db=25.0)
    assert {u.end is None for u in DataDir.read(tmp_path / "data/train").utterances} == {False}


# --- splits -----------------------------------------------------------------------------------------------------


def test_closed_is_the_last_ten_and_the_ten_before(recipe):
    utterances = [f"{s}_{n:03d}" for s in ("p225", "s5") for n in range(1, 232)]
    split = recipe.split_of(random.Random(0).sample(utterances, len(utterances)), "closed")
    assert split["eval"] == tuple(f"{s}_{n:03d}" for s in ("p225", "s5") for n in range(222, 232))
    assert split["dev"] == tuple(f"{s}_{n:03d}" for s in ("p225", "s5") for n in range(212, 222))
    assert len(split["train"]) == 2 * 211


@pytest.mark.parametrize(("count", "held"), [(1, 0), (3, 0), (4, 1), (10, 1), (11, 2), (90, 9), (91, 10), (400, 10)])
def test_a_speaker_with_few_utterances_gives_a_tenth(recipe, count: int, held: int):
    split = recipe.split_of([f"p225_{n:03d}" for n in range(count)], "closed")
    assert [len(split[name]) for name in PARTS] == [count - 2 * held, held, held]
    assert sorted(u for ids in split.values() for u in ids) == [f"p225_{n:03d}" for n in range(count)]


def test_open_and_valentini_hold_speakers_out(run: Run, recipe, fake_092, capsys: pytest.CaptureFixture[str]):
    data = run(fake_092, split="open")
    assert [set(data[name].speakers) for name in ("dev", "eval")] == [{"p226", "p287"}, {"p232", "p257"}]
    assert set(data["train"].speakers) == {"p225", "p280", "p315", "p362", "p376", "s5"}
    with pytest.raises(BadDataError, match=r"nothing of .* utterances is for train"):
        run(fake_092, split="valentini")
    assert "speakers of the split valentini that are not there: 26 (p227 " in capsys.readouterr().out
    utterances = [f"p{n}_{k:03d}" for n in range(225, 377) for k in range(1, 4)]
    split = recipe.split_of(utterances, "valentini")
    assert len(split["train"]) == 26 * 3
    assert not {u.split("_")[0] for u in split["train"]} & {"p226", "p287", "p232", "p257", "p225"}
    assert {u.split("_")[0] for u in split["eval"]} == {"p232", "p257"}


def test_an_utterance_keeps_its_place_whatever_is_left_out(run: Run, fake_092):
    whole = run(fake_092)
    place = {u.id: name for name, directory in whole.items() for u in directory.utterances}
    for options in ({"mic": "mic2"}, {"require_text": True}, {"speakers": ["p287", "p225", "p226"]}):
        for name, directory in run(fake_092, **options).items():
            assert {place[u.id] for u in directory.utterances} == {name}


# --- manners ----------------------------------------------------------------------------------------------------


def test_locale_and_order_of_the_file_system_change_nothing(
    recipe, run: Run, fake_092, tmp_path: Path, files_below, monkeypatch: pytest.MonkeyPatch
):
    run(fake_092)
    expected = files_below(tmp_path / "data")
    for locale in ("C", "en_US.UTF-8"):
        out = tmp_path / locale
        command = [sys.executable, recipe.__file__, "--db-root", fake_092.root, "--data-dir", out, "--allow-partial"]
        subprocess.run(command, env=os.environ | {"LC_ALL": locale}, check=True, capture_output=True)
        assert files_below(out) == expected
    shuffled = Shuffled(os.scandir)
    monkeypatch.setattr(os, "scandir", shuffled)
    monkeypatch.setattr(os, "listdir", lambda path=".": [entry.name for entry in shuffled(path)])
    recipe.prepare(fake_092.root, tmp_path / "shuffled", allow_partial=True)
    monkeypatch.undo()
    assert files_below(tmp_path / "shuffled") == expected


class Shuffled:
    """os.scandir in another order at every call."""

    def __init__(self, scandir: Callable[..., object]):
        self.scandir, self.random, self.entries = scandir, random.Random(0), []

    def __call__(self, path: object = ".") -> Shuffled:
        other = Shuffled(self.scandir)
        with self.scandir(path) as entries:  # type: ignore[attr-defined]
            other.entries = list(entries)
        self.random.shuffle(other.entries)
        return other

    def __enter__(self) -> Shuffled:
        return self

    def __exit__(self, *exception: object) -> None: ...

    def __iter__(self):
        return iter(self.entries)

    def close(self) -> None: ...


def test_a_second_run_touches_nothing(run: Run, fake_080, tmp_path: Path, files_below, capsys):
    run(fake_080)
    first = files_below(tmp_path / "data")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "data").rglob("*") if p.is_file()}
    capsys.readouterr()
    run(fake_080)
    assert files_below(tmp_path / "data") == first
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert capsys.readouterr().out.count("(as before)") == 3


def test_the_corpus_is_only_read(recipe, run: Run, fake_092, tmp_path: Path):
    def state() -> dict[Path, tuple[int, int, int]]:
        paths = [fake_092.root, *fake_092.root.rglob("*")]
        return {p: (p.stat().st_size, p.stat().st_mtime_ns, p.stat().st_mode) for p in paths}

    folders = [p for p in [fake_092.root, *fake_092.root.rglob("*")] if p.is_dir()]
    modes = {folder: folder.stat().st_mode for folder in folders}
    for folder in folders:
        folder.chmod(0o555)
    try:
        before = state()
        run(fake_092)
        assert state() == before
        with pytest.raises(OutputError, match=r"lies in the corpus .*, which is never written to"):
            recipe.prepare(fake_092.root, fake_092.root / "data", allow_partial=True)
        assert state() == before
    finally:
        for folder, mode in modes.items():
            folder.chmod(mode)


def test_the_program_takes_its_options_and_fails_in_one_line(
    recipe, fake_092, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def main(*arguments: str) -> None:
        command = ["prepare_vctk.py", "--db-root", str(fake_092.root), "--data-dir", str(tmp_path / "data")]
        monkeypatch.setattr("sys.argv", [*command, *arguments])
        recipe.main()

    with pytest.raises(SystemExit, match=r"^prepare_vctk.py: error: .*10 speakers found, 110 expected"):
        main()
    main("--allow-partial=true", "--mic", "mic2", "--split", "open", "--trim", "30", "--require-text", "true")
    assert (tmp_path / "data/eval/segments").exists()
    main("--allow-partial", "--speakers", "p225, p226  s5")
    assert DataDir.read(tmp_path / "data/train").speakers == ("p225", "p226", "s5")
    capsys.readouterr()
    for wrong, said in (
        (("--trim", "0"), "argument --trim: '0' is no number of dB above 0"),
        (("--trim", "auto-ish"), "argument --trim: 'auto-ish' is no number"),
        (("--require-text", "yes"), "argument --require-text: 'yes' is neither true nor false"),
        (("--split", "random"), "argument --split: invalid choice"),
        (("--mic",), "argument --mic: expected one argument"),
    ):
        with pytest.raises(SystemExit) as exit_of:
            main(*wrong)
        assert exit_of.value.code == 2
        assert said in capsys.readouterr().err


def test_the_real_minivctk(recipe, minivctk: Path, tmp_path: Path, files_below):
    recipe.prepare(minivctk, tmp_path / "data", allow_partial=True)
    data = read(tmp_path / "data")
    assert [len(data[name].utterances) for name in PARTS] == [251, 44, 44]
    assert sum(len(d.speakers) for d in data.values()) == 87 + 44 + 44
    assert {u.speaker[0] for u in data["train"].utterances} == {"p"}
    for name in PARTS:
        assert validate(tmp_path / "data" / name, one_rate=False) == []
        assert data[name].spk2gender.keys() == set(data[name].speakers)
