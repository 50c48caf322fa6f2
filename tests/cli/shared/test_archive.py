"""`audiovq encode` and `decode` with Kaldi's `scp:` and `ark:`."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from audiovq.data.audio import read_audio

LENGTHS = {"b-1": 20001, "a-1": 16000, "a-2": 777}


@pytest.fixture
def scp(tmp_path: Path, speech: np.ndarray) -> Path:
    """Recordings of two rates, one behind a pipe, in no order."""
    lines = []
    for utterance, samples in LENGTHS.items():
        file = tmp_path / f"{utterance}.wav"
        soundfile.write(file, speech[0, :samples], 16000 if utterance != "b-1" else 22050)
        lines.append(f"{utterance} {file}\n" if utterance != "a-2" else f"{utterance} cat {file} |\n")
    (tmp_path / "wav.scp").write_text("".join(lines))
    return tmp_path / "wav.scp"


@pytest.fixture
def archive(run, model, scp: Path, tmp_path: Path) -> Path:
    done = run("encode", f"scp:{scp}", f"ark,scp:{tmp_path}/codes.ark,{tmp_path}/codes.scp", "--model", model)
    assert done.exit_code == 0, done.stderr
    assert f"codes.scp: 3 utterances, {20001 / 22050 + 16777 / 16000:.2f} s, " in done.stderr
    return tmp_path / "codes.scp"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_kaldiio_reads_the_codes_that_a_codes_file_holds(run, model, scp, archive, tmp_path):
    from audiovq.codec import FrameSource

    assert run("encode", f"scp:{scp}", tmp_path / "files", "--model", model, "-q").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "files").iterdir()) == ["a-1.codes", "a-2.codes", "b-1.codes"]
    by_scp, by_ark = kaldiio.load_scp(str(archive)), dict(kaldiio.load_ark(str(archive.with_suffix(".ark"))))
    assert list(by_scp) == list(by_ark) == list(LENGTHS)
    for utterance in LENGTHS:
        with FrameSource(tmp_path / "files" / f"{utterance}.codes") as frames:
            wanted = frames.read(0, 10**6)[0].T  # [F, Q]
        assert by_scp[utterance].dtype == np.int32
        np.testing.assert_array_equal(by_scp[utterance], wanted)
        np.testing.assert_array_equal(by_ark[utterance], wanted)


@pytest.mark.parametrize("source", ["scp:{}/codes.scp", "ark:{}/codes.ark"])
def test_decoding_gives_the_sounds_of_the_codes_files_with_all_their_samples(
    run, model, scp, archive, tmp_path, source
):
    assert run("encode", f"scp:{scp}", tmp_path / "files", "--model", model, "-q").exit_code == 0
    assert run("decode", tmp_path / "files", tmp_path / "wanted", "-q").exit_code == 0
    done = run("decode", source.format(tmp_path), tmp_path / "out")  # finds the model by itself
    assert done.exit_code == 0, done.stderr
    found = contents(tmp_path / "out")
    listed = "".join(f"{u} {tmp_path}/out/{u}.wav\n" for u in sorted(LENGTHS))
    assert found.pop("wav.scp").decode() == listed
    assert found == contents(tmp_path / "wanted")
    for utterance, samples in LENGTHS.items():
        waveform, rate = read_audio(tmp_path / "out" / f"{utterance}.wav")
        assert (waveform.shape, rate) == ((1, samples), 22050 if utterance == "b-1" else 16000)


def test_scp_files_of_several_jobs_can_be_joined(run, model, scp, archive, tmp_path):
    lines = scp.read_text().splitlines(keepends=True)
    for job, part in enumerate((lines[:1], lines[1:]), start=1):
        (tmp_path / f"wav.{job}.scp").write_text("".join(part))
        out = f"ark,scp:{tmp_path}/c.{job}.ark,{tmp_path}/c.{job}.scp"
        assert run("encode", f"scp:{tmp_path}/wav.{job}.scp", out, "--model", model, "-q").exit_code == 0
    (tmp_path / "c.scp").write_text((tmp_path / "c.2.scp").read_text() + (tmp_path / "c.1.scp").read_text())
    for name in ("c", "codes"):
        assert run("decode", f"scp:{tmp_path}/{name}.scp", tmp_path / name, "-q").exit_code == 0
    one, other = contents(tmp_path / "c"), contents(tmp_path / "codes")
    assert {n: d for n, d in one.items() if n != "wav.scp"} == {n: d for n, d in other.items() if n != "wav.scp"}


def test_archives_go_through_pipes_as_text_or_not(run, model, scp, tmp_path):
    plain = run("encode", "scp:-", "ark:-", "--model", model, "-q", input=scp.read_bytes())
    text = run("encode", f"scp:{scp}", "ark,t:-", "--model", model, "-q")
    assert plain.exit_code == text.exit_code == 0
    assert text.stdout.startswith("b-1  [\n  ")
    refused = run("decode", "ark:-", tmp_path / "none", input=plain.stdout_bytes)
    assert refused.exit_code == 1
    assert "give --model to decode whole frames" in refused.stderr
    for name, written in (("plain", plain), ("text", text)):
        done = run("decode", "ark:-", tmp_path / name, "--model", model, "-q", input=written.stdout_bytes)
        assert done.exit_code == 0, done.stderr
    first, second = (contents(tmp_path / name) for name in ("plain", "text"))
    assert first["a-2.wav"] == second["a-2.wav"]
    waveform, rate = read_audio(tmp_path / "plain" / "a-2.wav")  # as nothing said how long it was
    assert rate == 16000
    assert 777 < waveform.shape[1] <= 777 + 1024


def test_sound_in_archives_and_segments_are_encoded(run, model, scp, tmp_path, speech):
    samples = (speech[0, :16000] * 20000).astype(np.int16)
    kaldiio.save_ark(f"{tmp_path}/wav.ark", {"x": (16000, samples), "y": (8000, samples[:900])})
    assert run("encode", f"ark:{tmp_path}/wav.ark", tmp_path / "arks", "--model", model, "-q").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "arks").iterdir()) == ["x.codes", "y.codes"]
    (tmp_path / "segments").write_text("a-1-1 a-1 0.25 0.5\na-1-2 a-1 0.5 -1\n")
    out = ("--segments", tmp_path / "segments", "--model", model, "-q")
    assert run("encode", f"scp:{scp}", f"ark:{tmp_path}/cut.ark", *out).exit_code == 0
    facts = json.loads((tmp_path / "cut.ark.json").read_text())
    assert {u: f["num_samples"] for u, f in facts["utterances"].items()} == {"a-1-1": 4000, "a-1-2": 8000}
    (tmp_path / "segments").write_text("a-1-1 zz 0.25 0.5\n")
    refused = run("encode", f"scp:{scp}", f"ark:{tmp_path}/no.ark", *out)
    assert (refused.exit_code, "segments:1: recording zz is not in wav.scp" in refused.stderr) == (1, True)


def test_voices_are_those_of_utt2spk(run, voices, scp, tmp_path):
    (tmp_path / "utt2spk").write_text("a-1 anna\na-2 bob\nb-1 anna\n")
    (tmp_path / "other").write_text("a-1 bob\na-2 anna\nb-1 bob\n")
    encoded = run("encode", f"scp:{scp}", f"ark:{tmp_path}/c.ark", "--model", voices, "--utt2spk", tmp_path / "utt2spk")
    assert encoded.exit_code == 0, encoded.stderr
    for name, options in {
        "own": (),
        "all-bob": ("--speaker", "bob", "--utt2spk", tmp_path / "other"),
        "swapped": ("--utt2spk", tmp_path / "other"),
    }.items():
        assert run("decode", f"ark:{tmp_path}/c.ark", tmp_path / name, *options, "-q").exit_code == 0
    own, swapped = contents(tmp_path / "own"), contents(tmp_path / "swapped")
    assert all(own[f"{u}.wav"] != swapped[f"{u}.wav"] for u in LENGTHS)
    stranger = run("decode", f"ark:{tmp_path}/c.ark", tmp_path / "s", "--speaker", "carl")
    assert (stranger.exit_code, "no speaker 'carl'" in stranger.stderr) == (1, True)


def test_an_utterance_that_fails_is_named_and_the_others_are_done(run, model, scp, tmp_path):
    stereo = np.zeros((500, 2))
    soundfile.write(tmp_path / "stereo.wav", stereo, 16000)
    with scp.open("a") as file:
        file.write(f"c-1 {tmp_path}/gone.wav\nc-2 {tmp_path}/stereo.wav\nc-3 cat {tmp_path}/a-1.wav; false |\n")
    done = run("encode", f"scp:{scp}", f"ark:{tmp_path}/c.ark", "--model", model, "-q")
    assert done.exit_code == 1
    gone, channels, died, last = done.stderr.splitlines()
    assert "gone.wav: no such file" in gone
    assert "c-2: 2 channels, an archive holds one" in channels
    assert "failed with status 1" in died
    assert last == "audiovq: error: 3 of 6 utterances failed"
    assert list(dict(kaldiio.load_ark(f"{tmp_path}/c.ark"))) == list(LENGTHS)
    scp.write_text(f"c-1 {tmp_path}/gone.wav\n")
    assert run("encode", f"scp:{scp}", f"ark:{tmp_path}/d.ark", "--model", model).exit_code == 1
    assert not (tmp_path / "d.ark").exists()


def test_wrong_models_lengths_and_numbers_are_refused(run, model, other_model, archive, tmp_path):
    json_file = tmp_path / "codes.ark.json"
    facts = json.loads(json_file.read_text())
    assert facts["utterances"]["b-1"] == {"sample_rate": 22050, "num_samples": 20001}
    source = f"scp:{archive}"
    mismatch = run("decode", source, tmp_path / "out", "--model", other_model)
    assert (mismatch.exit_code, "but this is" in mismatch.stderr) == (1, True)
    assert run("decode", source, tmp_path / "any", "--model", other_model, "--allow-mismatch", "-q").exit_code == 0
    for change, message in [
        ({"a-1": {"sample_rate": 16000, "num_samples": 99999}}, "b-1; it belongs to another archive"),
        ({u: {"sample_rate": 16000, "num_samples": 99999} for u in LENGTHS}, "frames of 2 levels, but its sound has"),
        ({u: {"sample_rate": "x", "num_samples": 1} for u in LENGTHS}, "can't be understood"),
    ]:
        json_file.write_text(json.dumps(facts | {"utterances": change}))
        done = run("decode", source, tmp_path / "out")
        assert (done.exit_code, message in done.stderr) == (1, True), done.stderr
    json_file.write_text("{")
    assert "codes.ark.json: can't be read" in run("decode", source, tmp_path / "out").stderr
    json_file.unlink()
    assert "codes.ark.json: missing" in run("decode", source, tmp_path / "out").stderr
    kaldiio.save_ark(f"{tmp_path}/f.ark", {"a": np.full((3, 2), 0.5, np.float32)})
    floats = run("decode", f"ark:{tmp_path}/f.ark", tmp_path / "out", "--model", model)
    assert (floats.exit_code, "they are no codes" in floats.stderr) == (1, True)
    kaldiio.save_ark(f"{tmp_path}/f.ark", {"a": np.full((3, 2), 200, np.float32)})
    beyond = run("decode", f"ark:{tmp_path}/f.ark", tmp_path / "out", "--model", model)
    assert (beyond.exit_code, "level 0 holds codes outside 0 to 199" in beyond.stderr) == (1, True)


def test_nothing_is_overwritten_and_wrong_usage_is_told(run, model, scp, archive, wav, tmp_path):
    before = contents(tmp_path)
    again = (f"scp:{scp}", f"ark,scp:{tmp_path}/codes.ark,{tmp_path}/codes.scp", "--model", model, "-q")
    assert "exists already; use --force" in run("encode", *again).stderr
    assert contents(tmp_path) == before
    assert run("encode", *again, "--force").exit_code == 0
    assert contents(tmp_path) == before
    for command in (
        ("encode", wav, f"ark:{tmp_path}/x.ark"),
        ("encode", f"scp:{scp}", "-"),
        ("encode", f"ark,scp:{scp},{scp}", tmp_path / "x"),
        ("encode", "ark:", tmp_path / "x"),
        ("encode", wav, tmp_path / "x.codes", "--utt2spk", scp),
        ("decode", f"scp:{archive}", "-"),
        ("decode", f"scp:{archive}", f"ark:{tmp_path}/x.ark"),
        ("decode", tmp_path / "x.codes", tmp_path / "x.wav", "--utt2spk", scp),
    ):
        assert run(*command, *(("--model", model) if command[0] == "encode" else ())).exit_code == 2, command
    assert run("encode", f"scp:{scp}", "scp:only.scp", "--model", model).exit_code == 1
    assert contents(tmp_path) == before
    (tmp_path / "slash.scp").write_text(f"a/b {wav}\n")
    slash = run("encode", f"scp:{tmp_path}/slash.scp", tmp_path / "out", "--model", model)
    assert (slash.exit_code, "can't be the name of a file" in slash.stderr) == (1, True)


def test_commands_of_others_are_refused_and_said_once(run, model, scp, tmp_path, monkeypatch):
    scp.write_text("".join(f"u{i} touch {tmp_path}/ran{i}; cat {tmp_path}/a-1.wav |\n" for i in range(5)))
    before = sorted(tmp_path.iterdir())
    refused = "audiovq: error: u0: a command in place of a file, which --no-pipes or AUDIOVQ_NO_PIPES refuses\n"
    for arguments in (["--no-pipes"], []):
        done = run("encode", f"scp:{scp}", f"ark:{tmp_path}/c.ark", "--model", model, *arguments)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 3)
        assert done.stderr.startswith(refused)
        assert "the same of 4 more" in done.stderr
        assert sorted(tmp_path.iterdir()) == before
        monkeypatch.setenv("AUDIOVQ_NO_PIPES", "1")
    monkeypatch.delenv("AUDIOVQ_NO_PIPES")
    assert run("encode", f"scp:{scp}", f"ark:{tmp_path}/c.ark", "--model", model, "-q").exit_code == 0
    assert (tmp_path / "ran0").exists()


def test_archives_go_through_commands(run, model, scp, tmp_path):
    assert run("encode", f"scp:{scp}", f"ark:{tmp_path}/c.ark", "--model", model, "-q").exit_code == 0
    packed = f"ark:| gzip -c > {tmp_path}/c.gz"
    assert run("encode", f"scp:cat {scp} |", packed, "--model", model, "-q").exit_code == 0
    assert gzip.decompress((tmp_path / "c.gz").read_bytes()) == (tmp_path / "c.ark").read_bytes()
    done = run("decode", f"ark:gunzip -c {tmp_path}/c.gz |", tmp_path / "out", "--model", model, "-q")
    assert done.exit_code == 0, done.stderr
    assert sorted(p.stem for p in (tmp_path / "out").glob("*.wav")) == sorted(LENGTHS)
    failed = run("encode", f"scp:{scp}", "ark:| exit 3", "--model", model, "-q")
    assert (failed.exit_code, "'| exit 3' failed with status 3" in failed.stderr) == (1, True)


def test_a_permissive_scp_leaves_out_what_cannot_be_read(run, model, scp, archive, tmp_path):
    scp.write_text(scp.read_text() + "z-1 gone.wav\n")
    assert run("encode", f"scp:{scp}", tmp_path / "a", "--model", model, "-q").exit_code == 1
    done = run("encode", f"scp,p:{scp}", f"ark,p:{tmp_path}/d.ark", "--model", model, "-q")
    assert (done.exit_code, "z-1: gone.wav: no such file" in done.stderr) == (0, True)
    assert list(kaldiio.load_ark(f"{tmp_path}/d.ark"))[-1][0] != "z-1"
    archive.write_text(archive.read_text() + "z-1 gone.ark:3\n")
    assert run("decode", f"scp:{archive}", tmp_path / "b", "-q").exit_code == 1
    assert run("decode", f"scp,p:{archive}", tmp_path / "c", "-q").exit_code == 0


def test_segments_beyond_the_end_are_named_and_short_sound_is_taken_on_demand(run, model, wav, tmp_path):
    (tmp_path / "w.scp").write_text(f"r {wav}\n")
    (tmp_path / "segments").write_text("u1 r 0.0 1.0\nu2 r 2.0 9.0\nu3 r 5.0 9.0\n")
    command = ("encode", f"scp:{tmp_path}/w.scp", tmp_path / "o", "--segments", tmp_path / "segments", "--model", model)
    done = run(*command)
    assert done.exit_code == 1
    assert "u2: " in done.stderr
    assert "u3: " in done.stderr
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["u1.codes"]
    done = run(*command, "--allow-short", "--force")
    assert (done.exit_code, "warning" in done.stderr) == (1, True)
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["u1.codes", "u2.codes"]


def test_an_archive_of_codes_that_ends_between_utterances_is_named(run, archive, tmp_path):
    ark = archive.with_suffix(".ark")
    last = int(archive.read_text().split(":")[-1])
    ark.write_bytes(ark.read_bytes()[: last - len("a-2 ")])
    done = run("decode", f"ark:{ark}", tmp_path / "out")
    assert (done.exit_code, "ends after 2 of 3 utterances, a-2 is the first that lacks" in done.stderr) == (1, True)


@pytest.mark.parametrize("source", ["scp:{}/wav.scp", "{}/a-1.wav"])
def test_no_file_is_named_as_a_command(run, model, scp, tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = run("encode", source.format(tmp_path), "| gzip -c > c.gz", "--model", model)
    assert (done.exit_code, "is a command, not a" in done.stderr) == (2, True)
    assert sorted(tmp_path.iterdir()) == before
