"""Compiled code kept on disk."""

import os
import subprocess
import sys

import numba
import pytest

from audiovq.simd import disk_cache


def test_where_nothing_can_be_written_code_is_compiled_all_the_same(monkeypatch):
    njit = numba.njit

    def refuse(*args, **options):  # numba itself calls it too, when it compiles for the first time
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(disk_cache.numba, "njit", refuse)
    assert disk_cache.compiled_and_kept(lambda x: x + 1)(2) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "index flipped"])
def test_a_damaged_cache_mends_itself(tmp_path, damage):
    (tmp_path / "kernel.py").write_text(
        "from audiovq.simd.disk_cache import compiled_and_kept\n@compiled_and_kept\ndef twice(x):\n    return 2 * x\n"
        "if __name__ == '__main__':\n    print(twice(21), sum(twice.stats.cache_hits.values()))\n"
    )

    def run() -> str:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONWARNINGS": "error"}
        command = [sys.executable, str(tmp_path / "kernel.py")]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert run() == "42 0\n"
    assert run() == "42 1\n"
    index, kept = (next((tmp_path / "cache").rglob(f"*.{suffix}")) for suffix in ("nbi", "nbc"))
    path = index if "index" in damage else kept
    data = bytearray(path.read_bytes())
    if "flipped" in damage:
        data[len(data) // 2] ^= 1
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else data)
    assert run() == "42 0\n"
    assert run() == "42 1\n"
