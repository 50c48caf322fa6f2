"""Kaldi's names for files and commands; commands of others can be refused; segments end within their recording."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from audiovq.data.audio import write_audio
from audiovq.data.corpus.direct import DirectCorpus
from audiovq.data.kaldi.archives import ArchiveWriter, Specifier, read_archive, read_scp
from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.data.kaldi.recording import read_recording
from audiovq.data.kaldi.streams import NO_PIPES, open_input, open_output
from audiovq.errors import BadAudioError, BadDataError, OutputError


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    write_audio(tmp_path / "a.wav", np.linspace(-0.5, 0.5, 48000, dtype=np.float32)[None], 16000)
    return tmp_path / "a.wav"


def test_commands_are_read_and_written_and_their_status_counts(tmp_path: Path):
    with open_output(f"| gzip -c > {tmp_path}/a.gz") as file:
        file.write(b"hello")
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"hello"
    with open_input(f"gunzip -c {tmp_path}/a.gz |") as file:
        assert file.read() == b"hello"
    with pytest.raises(OutputError, match=r"'\| false' failed with status 1"), open_output("| false"):
        pass
    with pytest.raises(OutputError, match="failed with status 3"), open_output("| exit 3") as file:
        file.write(bytes(1 << 20))
    with pytest.raises(BadDataError, match="failed with status 1"), open_input("false |") as file:
        file.read()
    with pytest.raises(BadDataError, match="can't be opened"), open_input(str(tmp_path / "none")):
        pass


def test_an_archive_goes_through_commands_and_back(tmp_path: Path):
    matrices = {"a": np.ones((3, 2), np.int32), "b": np.zeros((1, 2), np.int32)}
    with ArchiveWriter(Specifier.parse(f"ark:| gzip -c > {tmp_path}/a.gz")) as writer:
        for key, matrix in matrices.items():
            writer.write(key, matrix)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gz"]
    found = dict(read_archive(f"gunzip -c {tmp_path}/a.gz |"))
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"], matrices["a"])


def test_an_scp_file_may_come_from_a_command_and_with_a_byte_order_mark(tmp_path: Path):
    (tmp_path / "a.scp").write_bytes(b"\xef\xbb\xbfu1 a.wav\n\xef\xbb\xbfu2 b.wav\n")
    assert list(read_scp(str(tmp_path / "a.scp")).rows) == ["u1", "u2"]
    assert list(read_scp(f"head -n 1 {tmp_path}/a.scp |").rows) == ["u1"]
    with pytest.raises(BadDataError, match="failed with status"):
        read_scp(f"cat {tmp_path}/none |")
    (tmp_path / "b.scp").write_text("u1 x.ark:12[0:3]\n")
    with pytest.raises(BadDataError, match=r"b\.scp:1: 'x\.ark:12\[0:3\]' is a part of an entry"):
        read_scp(str(tmp_path / "b.scp"))


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_commands_of_others_are_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv(NO_PIPES, value)
    command = f"touch {tmp_path}/ran; cat x.wav |"
    with pytest.raises(BadAudioError, match=f"a command in place of a file, which --no-pipes or {NO_PIPES} refuses"):
        read_recording(command)
    data = tmp_path / "data"
    data.mkdir()
    (data / "wav.scp").write_text("".join(f"u{i} true {i}; {command}\n" for i in range(3)))
    (data / "utt2spk").write_text("u0 s\nu1 s\nu2 s\n")
    (data / "spk2utt").write_text("s u0 u1 u2\n")
    (problem,) = validate(data)
    assert "wav.scp:1: a command" in problem
    assert problem.endswith("refuses (and 2 more lines)")  # shared by all, said once
    with pytest.raises(BadAudioError, match="refuses"):
        DataDir.read(data).utterances[0].read()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_commands_run_where_nobody_refuses_them(wav: Path, monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv(NO_PIPES, value)
    assert read_recording(f"cat {wav} |")[0].shape == (1, 48000)


@pytest.mark.parametrize("how", ["{}", "cat {} |"])
def test_segments_beyond_the_end_are_errors_in_every_reader(wav: Path, how: str):
    recording = how.format(wav)
    for start, end in [(0.0, 1.0), (2.5, 3.0), (2.5, 3.009), (1.0, None)]:
        last = 48000 if end is None else min(48000, round(end * 16000))
        assert read_recording(recording, start, end)[0].shape == (1, last - round(start * 16000))
    for start, end in [(2.5, 9.0), (2.5, 3.02), (5.0, 9.0), (5.0, None), (3.0, None)]:
        with pytest.raises(BadAudioError, match=r"the segment from .* s on ends at .* s, its recording has 3\.000 s"):
            read_recording(recording, start, end)
    with pytest.warns(UserWarning, match="what is there is taken"):
        assert read_recording(recording, 2.5, 9.0, allow_short=True)[0].shape == (1, 8000)
    with pytest.raises(BadAudioError, match="the segment"):
        read_recording(recording, 5.0, 9.0, allow_short=True)


def test_training_on_a_directory_refuses_segments_beyond_the_end(tmp_path: Path, wav: Path):
    (tmp_path / "wav.scp").write_text(f"r {wav}\n")
    (tmp_path / "segments").write_text("u1 r 0.0 1.0\nu2 r 2.5 9.0\n")
    (tmp_path / "utt2spk").write_text("u1 s\nu2 s\n")
    (tmp_path / "spk2utt").write_text("s u1 u2\n")
    with pytest.raises(BadDataError, match=r"u2 ends at 9 s, its recording has 3\.000 s"):
        DirectCorpus(tmp_path, 16000)
