"""Signals, closed and broken streams, names of any bytes, thread counts: as processes, as users meet them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from audiovq.data.audio import write_audio

AUDIOVQ = [sys.executable, "-m", "audiovq"]


def shell(command: str, folder: Path, **names: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "audiovq": " ".join(AUDIOVQ), **names}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_leaves_nothing_behind(tmp_path, model, speech, number, jobs):
    (tmp_path / "s").mkdir()
    for name in "ab":
        write_audio(tmp_path / "s" / f"{name}.wav", np.tile(speech, 1000), 16000)
    command = [*AUDIOVQ, "encode", "-q", str(tmp_path / "s"), str(tmp_path / "d"), "--model", model, "--jobs", jobs]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(1200):
            time.sleep(0.05)
            if list((tmp_path / "d").glob(".*")) or process.poll() is not None:
                break
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert len(said.splitlines()) == 1, said
    assert list((tmp_path / "d").glob(".*")) == []
    left = [place for place in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _bytes(place)]
    assert left == []


def _bytes(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError:  # it has ended meanwhile
        return b""


def test_signals_that_somebody_ignores_stay_ignored(tmp_path, model, wav):
    done = shell(f"trap '' HUP TERM; $audiovq encode {wav} a.codes --model {model} & kill -HUP $!; wait $!", tmp_path)
    assert (done.returncode, (tmp_path / "a.codes").is_file()) == (0, True), done.stderr


@pytest.mark.parametrize(
    "streams",
    ["2>&-", ">&- 2>&- <&-", "2>/dev/full", "2> >(head -c 1 >/dev/null)"],
)
def test_closed_and_broken_streams_do_not_stop_the_work(tmp_path, model, wav, streams):
    done = shell(f"$audiovq encode {wav} a.codes --model {model} {streams}", tmp_path)
    assert done.returncode == 0, done.stderr
    done = shell(f"$audiovq decode a.codes a.wav --model {model} {streams}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.wav").stat().st_size == 44 + 2 * 40000


def test_a_closed_stream_that_is_asked_for_is_named(tmp_path, model, wav):
    out = shell(f"$audiovq encode {wav} - --model {model} >&-", tmp_path)
    into = shell(f"$audiovq encode - a.codes --model {model} <&-", tmp_path)
    assert (out.returncode, into.returncode) == (1, 1)
    assert "standard output is closed" in out.stderr
    assert "standard input is closed" in into.stderr


def test_standard_output_takes_all_when_python_does_not_buffer_it(tmp_path, model, wav):
    shell(f"$audiovq encode {wav} a.codes --model {model}", tmp_path)
    for name in ("", "1"):
        shell(
            f"$audiovq decode a.codes - --model {model} | (sleep 1; cat) > x{name}.wav", tmp_path, PYTHONUNBUFFERED=name
        )
    assert (tmp_path / "x.wav").stat().st_size > 65536
    assert (tmp_path / "x.wav").read_bytes() == (tmp_path / "x1.wav").read_bytes()


def test_names_are_bytes(tmp_path, model, wav):
    (tmp_path / "caf\udce9").mkdir()
    wav.rename(tmp_path / "caf\udce9" / "na\udcff.wav")
    script = r"""
    set -e; d=$'caf\xe9'; f=$'caf\xe9/na\xff'
    $audiovq encode "$f.wav" "$f.codes" --model $model; $audiovq verify "$f.codes"
    $audiovq decode "$f.codes" "$f.flac" --model $model; mv "$f.flac" .; $audiovq encode "$d" out --model $model --force
    """
    done = shell(script, tmp_path, model=model)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(os.fsencode(tmp_path / "caf\udce9"))) == [b"na\xff.codes", b"na\xff.wav"]


@pytest.mark.parametrize("threads", ["0", "-1", "1025", "100000", "99999999999999999999"])
def test_thread_counts_beyond_reason_are_wrong_usage(run, wav, tmp_path, threads):
    assert run("encode", wav, tmp_path / "a.codes", "--threads", threads).exit_code == 2


def test_an_input_is_not_overwritten_even_with_force(run, model, wav, tmp_path):
    before = wav.read_bytes()
    (tmp_path / "link.wav").symlink_to(wav)
    for target in (wav, tmp_path / "link.wav"):
        done = run("encode", wav, target, "--model", model, "--force")
        assert (done.exit_code, "is the input itself" in done.stderr) == (1, True)
    assert wav.read_bytes() == before
    codes = tmp_path / "a.wav"
    assert run("encode", wav, codes, "--model", model).exit_code == 0
    done = run("decode", codes, codes, "--model", model, "--force")
    assert (done.exit_code, "is the input itself" in done.stderr) == (1, True)


def test_decode_sees_an_impossible_target_before_its_work(run, model, wav, tmp_path, monkeypatch):
    run("encode", wav, tmp_path / "a.codes", "--model", model)
    monkeypatch.setattr("audiovq.codec.Codec.decode_pieces", lambda *a, **k: pytest.fail("decoded"))
    for target in ("no/such/x.wav", "x" * 300 + ".wav", "in.wav"):
        assert run("decode", tmp_path / "a.codes", tmp_path / target, "--model", model).exit_code == 1
    assert run("decode", tmp_path / "a.codes", "/proc/x.wav", "--model", model).exit_code == 1


def test_a_folder_goes_on_after_a_stop(run, model, wav, tmp_path):
    (tmp_path / "s").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "s" / f"{name}.wav").write_bytes(wav.read_bytes())
    (tmp_path / "s" / ".a.3fa4c0d1e2f3.wav").touch()
    (tmp_path / "s" / "memo.m4a").touch()
    arguments = (tmp_path / "s", tmp_path / "d", "--model", model)
    run("encode", *arguments)
    (tmp_path / "d" / "b.codes").unlink()
    kept = (tmp_path / "d" / "a.codes").stat().st_mtime_ns
    done = run("encode", *arguments, "--skip-existing")
    assert done.exit_code == 0
    assert "2 of 3 are done already" in done.stderr
    assert "left out: 1 .m4a" in done.stderr
    assert (tmp_path / "d" / "b.codes").is_file()
    assert (tmp_path / "d" / "a.codes").stat().st_mtime_ns == kept
    assert run("encode", *arguments, "--skip-existing", "--force").exit_code == 2
    done = run("encode", wav, tmp_path / "d" / "a.codes", "--model", model, "--skip-existing")
    assert (done.exit_code, "done already" in done.stderr) == (0, True)
    (tmp_path / "s" / "gone.wav").symlink_to("/nowhere/x.wav")
    done = run("encode", *arguments, "--skip-existing")
    assert (done.exit_code, "gone.wav: a link that leads nowhere" in done.stderr) == (1, True)


def test_a_target_within_the_source_is_no_source(run, model, wav, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.wav").write_bytes(wav.read_bytes())
    run("encode", tmp_path / "s", tmp_path / "c", "--model", model)
    (tmp_path / "c" / "back" / "old").mkdir(parents=True)
    (tmp_path / "c" / "back" / "old" / "x.codes").write_bytes(b"")
    done = run("decode", tmp_path / "c", tmp_path / "c" / "back", "--model", model)
    assert done.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "c" / "back").iterdir()) == ["a.wav", "old"]


@pytest.mark.parametrize("target", ["no/such/x.json", "/proc/x.json", "x" * 300])
def test_a_report_that_can_not_be_written_is_seen_before_the_work(run, tmp_path, target, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("evaluate", "codec", tmp_path / "none", "--model", "none", "--json", target)
    assert done.exit_code == 1
    assert target[:200] in done.stderr
