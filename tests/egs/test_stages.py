"""Marks of finished stages, and downloads."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = f". {ROOT}/recipes/stages.sh; {command}"
    return subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True, cwd=cwd, timeout=20)


def fingerprint(cwd: Path, *items: str) -> str:
    done = shell(f"fingerprint {' '.join(items)}", cwd)
    assert done.returncode == 0
    assert len(done.stdout) == 65
    return done.stdout


def test_a_hash_follows_contents_of_files_listings_of_folders_and_options(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a b.wav").write_text("1")
    (tmp_path / "conf").write_text("x")
    first = fingerprint(tmp_path, "in", "conf", "mic=1")
    assert fingerprint(tmp_path, "in", "conf", "mic=1") == first
    assert fingerprint(tmp_path, "in", "conf", "mic=2") != first
    (tmp_path / "conf").write_text("y")
    second = fingerprint(tmp_path, "in", "conf", "mic=1")
    assert second != first
    (tmp_path / "in" / "c.wav").write_text("")
    assert fingerprint(tmp_path, "in", "conf", "mic=1") not in (first, second)


def test_a_mark_holds_for_its_hash_only(tmp_path):
    assert shell("done_before made/.done abc", tmp_path).returncode == 1
    assert shell("mark_done made/.done abc", tmp_path).returncode == 0
    done = shell("done_before made/.done abc", tmp_path)
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert shell("done_before made/.done abd", tmp_path).returncode == 1


def download(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "recipes" / "download.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)


def archive(tmp_path: Path) -> tuple[Path, str]:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.wav").write_bytes(bytes(range(256)) * 400)
    path = tmp_path / "server.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(tmp_path / "corpus", "corpus")
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_dead_link_is_passed_over_and_what_is_there_is_kept(tmp_path):
    path, total = archive(tmp_path)
    options = ["--sha256", total, "--unpack", "got", "in/c.tar", "file:///nowhere/c.tar", f"file://{path}"]
    done = download(tmp_path, *options)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "got" / "corpus" / "a.wav").is_file()
    again = download(tmp_path, *options)
    assert again.stdout == "got is there already\n"


def test_an_interrupted_download_goes_on(tmp_path):
    path, total = archive(tmp_path)
    (tmp_path / "c.tar.part").write_bytes(path.read_bytes()[:5000])
    (tmp_path / "got.part").mkdir()  # of an interrupted unpacking
    done = download(tmp_path, "--sha256", total, "--unpack", "got", "c.tar", f"file://{path}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c.tar").read_bytes() == path.read_bytes()
    assert sorted(p.name for p in (tmp_path / "got").iterdir()) == ["corpus"]


def test_a_wrong_sum_and_links_that_are_all_dead_are_told(tmp_path):
    path, _ = archive(tmp_path)
    done = download(tmp_path, "--sha256", "0" * 64, "c.tar", f"file://{path}")
    assert done.returncode == 1
    assert "SHA-256" in done.stderr
    assert not (tmp_path / "c.tar").exists()
    done = download(tmp_path, "d.tar", "file:///nowhere/1", "file:///nowhere/2")
    assert done.returncode == 1
    assert "--db-root" in done.stderr
