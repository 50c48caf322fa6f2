"""`audiovq encode` and `decode` on files: formats, pipes, options, refusals; what they leave behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from audiovq.data.audio import read_audio


@pytest.fixture
def codes(run, wav, model):
    path = wav.with_name("in.codes")
    assert run("encode", wav, path, "--model", model, "-q").exit_code == 0
    return path


def test_there_and_back(run, wav, model, tmp_path):
    encoded = run("encode", wav, tmp_path / "a.codes", "--model", model)
    assert encoded.exit_code == 0, encoded.stderr
    assert encoded.stdout == ""
    size = (tmp_path / "a.codes").stat().st_size
    assert f"{wav} -> {tmp_path / 'a.codes'}: 2.50 s, {size} bytes, {8 * size / 2500:.2f} kbit/s, " in encoded.stderr
    assert "x real time\n" in encoded.stderr
    assert encoded.stderr.count("\n") == 1
    decoded = run("decode", tmp_path / "a.codes", tmp_path / "b.flac", "--quiet")  # finds the model by itself
    assert (decoded.exit_code, decoded.stdout, decoded.stderr) == (0, "", "")
    waveform, rate = read_audio(tmp_path / "b.flac")
    assert (waveform.shape, rate) == ((1, 40000), 16000)
    assert waveform.any()


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        ("wav", "PCM_U8"),
        ("wav", "PCM_24"),
        ("wav", "FLOAT"),
        ("wav", "DOUBLE"),
        ("wav", "ULAW"),
        ("flac", "PCM_16"),
        ("flac", "PCM_24"),
        ("ogg", "VORBIS"),
        ("aiff", "PCM_16"),
    ],
)
def test_formats_are_read_and_lengths_kept(run, model, tmp_path, speech, suffix, subtype):
    stereo = np.concatenate([speech, speech[:, ::-1]])[:, :30001]
    soundfile.write(tmp_path / f"in.{suffix}", stereo.T, 22050, subtype=subtype)
    assert run("encode", tmp_path / f"in.{suffix}", tmp_path / "a.codes", "--model", model).exit_code == 0
    assert run("decode", tmp_path / "a.codes", tmp_path / "out.wav").exit_code == 0
    waveform, rate = read_audio(tmp_path / "out.wav")
    assert (waveform.shape, rate) == ((2, 30001), 22050)


@pytest.mark.parametrize(
    ("kind", "samples", "warning"),
    [
        ("empty", np.zeros(0), ""),
        ("one", np.ones(1), ""),
        ("silence", np.zeros(8000), ""),
        ("clipping", np.sign(np.sin(np.arange(8000) / 9)) * 3.0, ""),
        ("nan", np.where(np.arange(8000) % 100 == 0, np.nan, 0.1), "80 samples are NaN"),
    ],
)
def test_odd_sounds_come_back_with_their_length(run, model, tmp_path, kind, samples, warning):
    soundfile.write(tmp_path / "in.wav", samples, 16000, subtype="FLOAT")
    encoded = run("encode", tmp_path / "in.wav", tmp_path / "a.codes", "--model", model, "--normalize", "-q")
    assert encoded.exit_code == 0, encoded.stderr
    assert encoded.stderr.startswith("audiovq: warning: ") if warning else encoded.stderr == ""
    assert warning in encoded.stderr
    assert run("decode", tmp_path / "a.codes", tmp_path / "out.wav").exit_code == 0
    assert read_audio(tmp_path / "out.wav")[0].shape == (1, len(samples))


def test_pipes_carry_the_same_bytes_as_files(run, wav, model, codes, tmp_path):
    encoded = run("encode", "-", "-", "--model", model, input=wav.read_bytes())
    assert encoded.exit_code == 0, encoded.stderr
    assert encoded.stdout_bytes == codes.read_bytes()
    assert run("decode", codes, tmp_path / "out.wav").exit_code == 0
    decoded = run("decode", "-", "-", input=encoded.stdout_bytes)
    assert decoded.exit_code == 0, decoded.stderr
    assert decoded.stdout_bytes == (tmp_path / "out.wav").read_bytes()
    assert soundfile.info(io.BytesIO(decoded.stdout_bytes)).frames == 40000


def test_a_closed_pipe_ends_quietly(codes, model):
    command = [sys.executable, "-c", "from audiovq.cli.main import cli; cli()", "decode", str(codes), "-", "-q"]
    process = subprocess.Popen([*command, "--model", model], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 1


def test_a_directory_takes_a_single_file(run, wav, model, tmp_path):
    (tmp_path / "out").mkdir()
    assert run("encode", wav, tmp_path / "out", "--model", model).exit_code == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["in.codes"]


@pytest.mark.parametrize(
    ("option", "value", "levels"), [("--bitrate", "0.4k", 1), ("--bitrate", "799", 1), ("--num-quantizers", "2", 2)]
)
def test_bitrate_and_levels(run, wav, model, tmp_path, option, value, levels):
    assert run("encode", wav, tmp_path / "a.codes", "--model", model, option, value).exit_code == 0
    facts = json.loads(run("inspect", tmp_path / "a.codes", "--json").stdout)
    assert len(facts["codebook_sizes"]) == levels


def test_start_and_duration_cut_a_part(run, codes, tmp_path):
    assert run("decode", codes, tmp_path / "whole.wav").exit_code == 0
    assert run("decode", codes, tmp_path / "part.wav", "--start", 0.5, "--duration", 1.25).exit_code == 0
    whole, part = (read_audio(tmp_path / name)[0] for name in ("whole.wav", "part.wav"))
    assert part.shape == (1, 20000)
    np.testing.assert_allclose(part, whole[:, 8000:28000], atol=1.1 / 32768)  # of 16-bit steps


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--bitrate", "100"], "choose from 400, 800"),
        (["--num-quantizers", "3"], "takes 1 to 2"),
        (["--speaker", "anna"], "has no speakers"),
        (["--model", "no-such-model"], "no-such-model"),
    ],
)
def test_wrong_options_exit_1_and_leave_nothing(run, wav, model, tmp_path, args, message):
    done = run("encode", wav, tmp_path / "a.codes", "--model", model, *args)
    assert done.exit_code == 1
    assert done.stderr.startswith("audiovq: error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.wav"]


def test_existing_files_are_not_touched_without_force(run, wav, model, codes):
    before, sound = codes.read_bytes(), wav.read_bytes()
    refused = run("encode", wav, codes, "--model", model, "--bitrate", "400")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert codes.read_bytes() == before
    assert run("decode", codes, wav).exit_code == 1
    assert wav.read_bytes() == sound
    assert run("encode", wav, codes, "--model", model, "--bitrate", "400", "--force").exit_code == 0
    assert len(codes.read_bytes()) < len(before)
    assert run("decode", codes, wav, "-f").exit_code == 0
    assert wav.read_bytes() != sound
    assert sorted(p.name for p in codes.parent.iterdir()) == ["in.codes", "in.wav"]


def test_the_wrong_model_is_refused_unless_allowed(run, codes, other_model, tmp_path):
    refused = run("decode", codes, tmp_path / "out.wav", "--model", other_model)
    assert refused.exit_code == 1
    assert "--allow-mismatch" in refused.stderr
    assert not (tmp_path / "out.wav").exists()
    allowed = run("decode", codes, tmp_path / "out.wav", "--model", other_model, "--allow-mismatch")
    assert allowed.exit_code == 0, allowed.stderr


def test_damaged_files_are_refused_or_concealed(run, wav, codes, model, tmp_path):
    seconds = run("encode", wav, codes, "--model", model, "--packet-seconds", 1, "--force", "-q")
    assert seconds.exit_code == 0
    data = bytearray(codes.read_bytes())
    data[-10] ^= 4
    codes.write_bytes(data)
    refused = run("decode", codes, tmp_path / "out.wav")
    assert refused.exit_code == 1
    assert f"audiovq: error: {codes}: packet 2" in refused.stderr
    assert not (tmp_path / "out.wav").exists()
    concealed = run("decode", codes, tmp_path / "out.wav", "--conceal")
    assert concealed.exit_code == 0
    assert f"audiovq: warning: {codes}: damaged at 2.00 to 2.50 s" in concealed.stderr
    waveform, _ = read_audio(tmp_path / "out.wav")
    assert waveform[:, 32000 : 32000 + 4000].any()  # the sound before goes on
    assert not waveform[:, 32000 + 4800 :].any()  # and has faded out


@pytest.mark.parametrize("content", [b"", b"RIFF not really", b"\x89AVQ\x09" + bytes(60)])
def test_what_is_no_codes_file_is_refused(run, tmp_path, content):
    (tmp_path / "x.codes").write_bytes(content)
    done = run("decode", tmp_path / "x.codes", tmp_path / "out.wav")
    assert done.exit_code == 1
    assert str(tmp_path / "x.codes") in done.stderr
    assert done.stderr.count("\n") == 1


def test_convert_changes_the_voice(run, wav, voices, model, tmp_path):
    sounds = {}
    for speaker in ("anna", "bob"):
        done = run("convert", wav, tmp_path / f"{speaker}.wav", "--speaker", speaker, "--model", voices)
        assert done.exit_code == 0, done.stderr
        sounds[speaker] = read_audio(tmp_path / f"{speaker}.wav")[0]
    assert sounds["anna"].shape == sounds["bob"].shape == (1, 40000)
    assert (sounds["anna"] != sounds["bob"]).any()
    unknown = run("convert", wav, tmp_path / "x.wav", "--speaker", "carl", "--model", voices)
    assert (unknown.exit_code, "choose from anna, bob" in unknown.stderr) == (1, True)
    mute = run("convert", wav, tmp_path / "x.wav", "--speaker", "anna", "--model", model)
    assert (mute.exit_code, "has no speakers" in mute.stderr) == (1, True)


def test_speakers_are_named_at_encoding_or_decoding(run, wav, voices, tmp_path):
    assert run("encode", wav, tmp_path / "plain.codes", "--model", voices).exit_code == 0
    assert run("encode", wav, tmp_path / "bob.codes", "--model", voices, "--speaker", "bob").exit_code == 0
    missing = run("decode", tmp_path / "plain.codes", tmp_path / "x.wav")
    assert (missing.exit_code, "--speaker: anna, bob" in missing.stderr) == (1, True)
    assert missing.stderr.startswith(f"audiovq: error: {tmp_path / 'plain.codes'}: ")
    assert run("decode", tmp_path / "plain.codes", tmp_path / "x.wav", "--speaker", "bob").exit_code == 0
    assert run("decode", tmp_path / "bob.codes", tmp_path / "y.wav").exit_code == 0
    assert (tmp_path / "x.wav").read_bytes() == (tmp_path / "y.wav").read_bytes()


def test_sound_that_is_cut_off_is_refused_or_taken_with_a_warning(run, wav, model, tmp_path):
    wav.write_bytes(wav.read_bytes()[:40044])
    refused = run("encode", wav, tmp_path / "a.codes", "--model", model)
    assert (refused.exit_code, (tmp_path / "a.codes").exists()) == (1, False)
    assert f"{wav}: ends after 20000 of 40000 samples" in refused.stderr
    taken = run("encode", wav, tmp_path / "a.codes", "--model", model, "--allow-short")
    assert (taken.exit_code, "audiovq: warning: " in taken.stderr) == (0, True)
    assert json.loads(run("inspect", tmp_path / "a.codes", "--json").stdout)["num_samples"] == 20000


def test_a_format_that_cannot_hold_the_sound_is_named_before_the_work(run, model, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "in.wav", np.zeros((500, 9)), 16000)
    assert run("encode", tmp_path / "in.wav", tmp_path / "a.codes", "--model", model).exit_code == 0
    monkeypatch.setattr("audiovq.codec.Codec.decode", lambda *args, **options: pytest.fail("worked first"))
    done = run("decode", tmp_path / "a.codes", tmp_path / "a.flac", "--model", model)
    assert (done.exit_code, "a.flac: FLAC holds 8 channels, not 9; name it .wav" in done.stderr) == (1, True)


def test_fifos_are_read_as_standard_input_is(run, wav, codes, model, tmp_path):
    def through_fifo(data: bytes) -> str:
        (tmp_path / "fifo").unlink(missing_ok=True)
        os.mkfifo(tmp_path / "fifo")
        threading.Thread(target=(tmp_path / "fifo").write_bytes, args=(data,), daemon=True).start()
        return str(tmp_path / "fifo")

    done = run("encode", through_fifo(wav.read_bytes()), tmp_path / "b.codes", "--model", model, "-q")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "b.codes").read_bytes() == codes.read_bytes()
    assert run("decode", through_fifo(codes.read_bytes()), tmp_path / "b.wav", "-q").exit_code == 0
    assert run("inspect", through_fifo(codes.read_bytes()), "--json").exit_code == 0
    assert run("verify", through_fifo(codes.read_bytes())).exit_code == 0


def test_files_hold_the_name_of_a_model_and_open_no_folder(run, wav, model, tmp_path, monkeypatch, bundled):
    monkeypatch.setitem(bundled, "tiny", bundled["tiny"])
    del bundled["tiny"]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(model, tmp_path / "tiny")
    assert run("encode", wav, "a.codes", "--model", tmp_path / "tiny").exit_code == 0
    assert str(tmp_path).encode() not in (tmp_path / "a.codes").read_bytes()
    assert json.loads(run("inspect", "a.codes", "--json").stdout)["model"] == "tiny"
    done = run("decode", "a.codes", "a.wav")
    assert (done.exit_code, "with --model" in done.stderr) == (1, True)
    assert run("decode", "a.codes", "a.wav", "--model", "tiny").exit_code == 0
