"""A file is there whole or not at all."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from audiovq.data.files import atomic_folder, atomic_output, check_target, write_all
from audiovq.errors import OutputError


def test_the_file_appears_only_at_the_end(tmp_path: Path):
    target = tmp_path / "out.wav"
    with atomic_output(target) as temporary:
        temporary.write_bytes(b"whole")
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".wav"
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["out.wav"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("existed", [True, False])
def test_a_failure_leaves_nothing_and_touches_nothing(tmp_path: Path, error: type[BaseException], existed: bool):
    target = tmp_path / "out.wav"
    if existed:
        target.write_bytes(b"old")

    def fail_halfway() -> None:
        with atomic_output(target, force=True) as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([b"old"] if existed else [])


def test_an_existing_file_needs_force(tmp_path: Path):
    target = tmp_path / "out.wav"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"out\.wav: exists already; use --force"), atomic_output(target):
        pytest.fail("the block must not be entered")
    assert target.read_bytes() == b"old"
    with atomic_output(target, force=True) as temporary:
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path):
    target = tmp_path / "out.wav"

    def two_at_once() -> None:
        with atomic_output(target) as temporary:
            temporary.write_bytes(b"mine")
            target.write_bytes(b"theirs")

    with pytest.raises(OutputError, match="exists already"):
        two_at_once()
    assert target.read_bytes() == b"theirs"
    assert os.listdir(tmp_path) == ["out.wav"]


def test_places_that_cannot_be_written_are_named(tmp_path: Path):
    for target, reason in [
        (tmp_path / "missing" / "a.wav", "does not exist; create it"),
        (tmp_path, "is a folder"),
        (Path("/dev/null"), "not a regular file"),
    ]:
        with pytest.raises(OutputError, match=reason), atomic_output(target, force=True):
            pytest.fail("the block must not be entered")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="can't write"), atomic_output(tmp_path / "a.wav"):
        pytest.fail("the block must not be entered")


def test_the_mode_follows_the_umask(tmp_path: Path):
    previous = os.umask(0o027)
    try:
        with atomic_output(tmp_path / "a.wav") as temporary:
            temporary.write_bytes(b"x")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a.wav").stat().st_mode) == 0o640


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".wav", "é" * 125 + ".wav", "a." + "b" * 253, "caf\udce9" * 40 + ".codes"]
)
def test_a_name_as_long_as_names_can_be_is_written(tmp_path: Path, name: str):
    with atomic_output(tmp_path / name) as temporary:
        assert len(os.fsencode(temporary.name)) <= len(os.fsencode(name))
        assert temporary.name.startswith(".")
        temporary.write_bytes(b"x")
    assert os.listdir(tmp_path) == [name]


def test_a_name_that_is_too_long_is_an_error_of_ours(tmp_path: Path):
    for output in (atomic_output, check_target):
        with pytest.raises(OutputError, match="too long"):
            list(output(tmp_path / ("x" * 300)).gen if output is atomic_output else [output(tmp_path / ("x" * 300))])


def test_the_input_is_not_overwritten_by_whatever_name(tmp_path: Path):
    source = tmp_path / "a.wav"
    source.write_bytes(b"sound")
    (tmp_path / "link.wav").symlink_to(source)
    os.link(source, tmp_path / "hard.wav")
    for name in ("a.wav", "link.wav", "hard.wav", "./a.wav"):
        with (
            pytest.raises(OutputError, match="is the input itself"),
            atomic_output(tmp_path / name, force=True, source=source),
        ):
            pytest.fail("the block must not be entered")
    assert source.read_bytes() == b"sound"


def test_an_impossible_target_is_seen_without_leaving_anything(tmp_path: Path):
    check_target(tmp_path / "a.wav")
    assert os.listdir(tmp_path) == []
    with pytest.raises(OutputError, match="does not exist; create it"):
        check_target(tmp_path / "no" / "a.wav", force=True)
    with pytest.raises(OutputError, match="can't write"):
        check_target("/proc/a.wav")


@pytest.mark.parametrize("error", [RuntimeError("System error."), OSError(28, "No space left on device")])
def test_a_file_that_can_not_grow_is_named_with_the_reason_whatever_the_library_said(tmp_path, monkeypatch, error):
    def full(file: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("audiovq.data.files.write_all", full)
    for output in (atomic_output, atomic_folder):
        named = pytest.raises(OutputError, match=r"out\.wav: can't be written \(No space left on device\)")
        with named, output(tmp_path / "out.wav"):
            raise error
    assert os.listdir(tmp_path) == []


def test_short_writes_are_looped():
    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.taken = b""

        def write(self, data: memoryview) -> int:
            self.taken += bytes(data[:3])
            return min(3, len(data))

    slow = Slow()
    write_all(slow, b"eleven bytes")
    assert slow.taken == b"eleven bytes"
