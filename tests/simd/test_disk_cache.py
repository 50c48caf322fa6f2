"""Compiled code kept on disk."""

import numba

from audiovq.simd import disk_cache


def test_where_nothing_can_be_written_code_is_compiled_all_the_same(monkeypatch):
    njit = numba.njit

    def refuse(*args, **options):  # numba itself calls it too, when it compiles for the first time
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*args, **options)

    monkeypatch.setattr(disk_cache.numba, "njit", refuse)
    assert disk_cache.compiled_and_kept(lambda x: x + 1)(2) == 3
