"""Kaldi's archives: what kaldiio writes is read at one scale, and nothing in one can harm."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from audiovq.data.kaldi.archives import ArchiveWriter, Specifier, read_archive, read_scp
from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.data.kaldi.recording import read_recording
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadAudioError, BadDataError, OutputError

NOISE = np.random.default_rng(0).integers(-9000, 9000, (400, 2)).astype(np.int16)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ark:a.ark", Specifier("a.ark", None)),
        ("scp:-", Specifier(None, "-")),
        ("ark,scp:a.ark,a.scp", Specifier("a.ark", "a.scp")),
        ("scp,ark:a.scp,a.ark", Specifier("a.ark", "a.scp")),
        ("ark,t:-", Specifier("-", None, True)),
        ("ark,s,cs:a.ark", Specifier("a.ark", None)),
        ("scp,p:a.scp", Specifier(None, "a.scp", permissive=True)),
        ("ark:| gzip -c > c.gz", Specifier("| gzip -c > c.gz", None)),
        ("scp:head -n 1 wav.scp |", Specifier(None, "head -n 1 wav.scp |")),
        ("a.wav", None),
        ("C:a.wav", None),
        ("mark:a.wav", None),
    ],
)
def test_specifiers_are_taken_apart(text: str, wanted: Specifier | None):
    assert Specifier.parse(text) == wanted


@pytest.mark.parametrize("text", ["ark:", "ark,scp:a.ark", "ark,scp:a.ark,", "ark,ark:a,b", "ark,x:a", "scp,ark,p:a"])
def test_mistaken_specifiers_are_refused(text: str):
    with pytest.raises(ValueError, match="can't be understood; write ark:FILE"):
        Specifier.parse(text)


def test_a_file_of_such_a_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ark:a.wav").write_bytes(b"")
    assert Specifier.parse("ark:a.wav") is None


@pytest.mark.parametrize("write_function", [None, "soundfile"])
@pytest.mark.parametrize("channels", [1, 2])
def test_sound_in_archives_has_the_scale_of_sound_in_files(tmp_path: Path, write_function: str | None, channels: int):
    """kaldiio gives integers for one way of writing and floats for the other; time first, or none."""
    samples = NOISE[:, 0] if channels == 1 else NOISE
    ark, scp = tmp_path / "wav.ark", tmp_path / "wav.scp"
    both = {"a-1": (16000, samples), "b-1": (8000, samples[:100])}
    kaldiio.save_ark(str(ark), both, scp=str(scp), write_function=write_function)
    (tmp_path / "utt2spk").write_text("a-1 a\nb-1 b\n")
    (tmp_path / "spk2utt").write_text("a a-1\nb b-1\n")
    data = DataDir.read(tmp_path)
    for u, rate, length in zip(data.utterances, (16000, 8000), (400, 100), strict=True):
        waveform, found_rate = u.read()
        assert (found_rate, waveform.shape, waveform.dtype) == (rate, (channels, length), np.float32)
        np.testing.assert_array_equal(waveform, NOISE[:length, :channels].T / 32768)
    part, _ = read_recording(data.utterances[0].recording, 0.01, 0.02)
    np.testing.assert_array_equal(part, NOISE[160:320, :channels].T / 32768)
    assert validate(tmp_path, one_rate=False) == []
    scp.write_text(scp.read_text().replace(".ark:4", ".ark:5", 1))
    assert len(validate(tmp_path, one_rate=False)) == 1


def test_a_file_whose_name_looks_like_a_place_is_a_file(tmp_path: Path):
    import soundfile

    soundfile.write(tmp_path / "take:12", NOISE, 16000, format="WAV")
    assert Utterance("a", "a", str(tmp_path / "take:12")).read()[0].shape == (2, 400)


def test_a_place_without_sound_is_named(tmp_path: Path):
    kaldiio.save_ark(str(tmp_path / "feats.ark"), {"a": np.ones((3, 2), np.float32)}, scp=str(tmp_path / "feats.scp"))
    place = (tmp_path / "feats.scp").read_text().split()[1]
    with pytest.raises(BadAudioError, match=r"utterance a: .*feats\.ark:2: no sound at this place"):
        Utterance("a", "a", place).read()
    with pytest.raises(BadAudioError, match=r"gone\.ark: can't be opened"):
        Utterance("a", "a", "gone.ark:2").read()


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("pwned",)


def test_pickles_in_archives_are_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ark").write_bytes(b"a PKL" + pickle.dumps(Evil()))
    with pytest.raises(BadDataError, match=r"a\.ark: a: holds a pickle"):
        list(read_archive("a.ark"))
    with pytest.raises(BadAudioError, match="holds a pickle"):
        read_recording("a.ark:2")
    array = np.empty(1, object)
    array[0] = Evil()
    kaldiio.save_ark("b.ark", {"a": array}, write_function="numpy")
    with pytest.raises(BadDataError, match=r"b\.ark: a: no entry"):
        list(read_archive("b.ark"))
    assert not (tmp_path / "pwned").exists()


def test_damaged_archives_are_named(tmp_path: Path):
    ark = tmp_path / "a.ark"
    kaldiio.save_ark(str(ark), {"a": np.ones((5, 2), np.float32), "b": np.ones((5, 2), np.float32)})
    whole = ark.read_bytes()
    for content, message in [
        (whole[:-3], r"a\.ark: b: no entry of an archive"),
        (whole[: len(whole) // 2 + 1], r"a\.ark: ends within an id"),
        (whole + whole, r"a\.ark: id a is in it twice"),
        (b"\xff" * 5000, r"a\.ark: no archive of Kaldi's"),
        (b"\xff\xfe \0B", r"a\.ark: no archive of Kaldi's; an id is not UTF-8"),
    ]:
        ark.write_bytes(content)
        with pytest.raises(BadDataError, match=message):
            list(read_archive(str(ark)))
    with pytest.raises(BadDataError, match=r"none\.ark: can't be opened"):
        list(read_archive("none.ark"))


def test_scp_files_keep_their_own_order_but_not_their_mistakes(tmp_path: Path):
    scp = tmp_path / "a.scp"
    scp.write_text("b x.ark:1\na x.ark:9\n")
    assert list(read_scp(str(scp)).rows) == ["b", "a"]
    for content, message in [
        ("a x\na y\n", r"a\.scp:2: id a is on line 1 already"),
        ("b x\na x\na\n", r"a\.scp:3: malformed"),
        ("", r"a\.scp: lists nothing"),
    ]:
        scp.write_text(content)
        with pytest.raises(BadDataError, match=message):
            read_scp(str(scp))
    with pytest.raises(BadDataError, match=r"none\.scp: can\'t be read \(No such file"):
        read_scp("none.scp")


@pytest.mark.parametrize("kinds", ["ark,scp", "scp,ark", "ark,scp,t"])
def test_matrices_written_are_read_by_kaldiio_itself(tmp_path: Path, kinds: str):
    matrices = {"b": np.array([[1, 1 << 20], [3, 4], [5, 6]], np.int32), "ä": np.array([[7]], np.int32)}
    names = [f"{tmp_path}/m.{kind}" for kind in kinds.split(",") if kind != "t"]
    spec = Specifier.parse(f"{kinds}:{','.join(names)}")
    with ArchiveWriter(spec) as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)
        assert not (tmp_path / "m.ark").exists()
    for found in (kaldiio.load_scp(f"{tmp_path}/m.scp"), dict(kaldiio.load_ark(f"{tmp_path}/m.ark"))):
        assert list(found) == ["b", "ä"]
        for key, matrix in matrices.items():
            assert found[key].dtype == (np.float32 if spec.text else np.int32)  # it takes digits for floats
            np.testing.assert_array_equal(found[key], matrix)


def test_nothing_is_left_of_an_archive_that_failed_or_would_overwrite(tmp_path: Path):
    spec = Specifier.parse(f"ark,scp:{tmp_path}/m.ark,{tmp_path}/m.scp")

    def twice() -> None:
        with ArchiveWriter(spec) as writer:
            writer.write("a", np.ones((2, 1), np.int32))
            writer.write("a", np.ones((2, 1), np.int32))

    with pytest.raises(BadDataError, match="id a is there twice"):
        twice()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "m.scp").write_text("mine")
    with pytest.raises(OutputError, match=r"m\.scp: exists already"), ArchiveWriter(spec):
        pytest.fail("the block must not be entered")
    assert (tmp_path / "m.scp").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1
    for bad in ("scp:a.scp", "ark,scp:-,a.scp", "ark,scp:a.ark,-"):
        with pytest.raises(OutputError, match="codes go to ark:FILE"):
            ArchiveWriter(Specifier.parse(bad))
