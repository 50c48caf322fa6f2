"""`audiovq cut` and `cat` on files: names, refusals, and the whole from its parts."""

from __future__ import annotations

import pytest


@pytest.fixture
def codes(run, wav, model):
    path = wav.with_name("in.codes")
    assert run("encode", wav, path, "--model", model, "-q").exit_code == 0
    return path


def test_parts_joined_are_the_file(run, codes, tmp_path):
    parts = [tmp_path / "a.codes", tmp_path / "b.codes"]
    for part, times in zip(parts, (("--duration", 1), ("--start", 1)), strict=True):
        assert run("cut", codes, part, *times).exit_code == 0
    assert run("cat", *parts, tmp_path / "c.codes").exit_code == 0
    assert (tmp_path / "c.codes").read_bytes() == codes.read_bytes()
    assert run("cat", *parts, tmp_path / "c.codes").exit_code == 1  # it is there already


def test_inputs_are_not_overwritten(run, codes):
    before = codes.read_bytes()
    for command in ("cut", "cat"):
        result = run(command, codes, codes, "--force")
        assert result.exit_code == 1
        assert "in.codes" in result.stderr
    assert codes.read_bytes() == before


def test_a_cut_past_the_end_leaves_no_file(run, codes, tmp_path):
    result = run("cut", codes, tmp_path / "x.codes", "--start", 100)
    assert result.exit_code == 1
    assert "past its end at" in result.stderr
    assert not (tmp_path / "x.codes").exists()
