"""The compiled search against its definitions: the tiled search beside it, and equation 1 in float64."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from audiovq.quantize import nearest
from audiovq.quantize.search import kernel as search_kernel
from audiovq.quantize.search import nearest as search
from audiovq.quantize.search.kernel import LONGEST, PANEL, PART

INSTRUCTION_SETS = {  # what numba is told of the processor, and what a block then is
    "avx2": ("haswell", "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+sse4.2,+popcnt,+lzcnt,+movbe", "8 16"),
    "sse2": ("x86-64", "+sse,+sse2", "4 8"),
}


def by_kernel(x: Tensor, codebook: Tensor, threads: int = 1) -> Tensor:
    table = search.search_table(codebook)
    return torch.from_numpy(search_kernel.search(x.numpy(), table.numpy(), len(codebook), threads))


def excess(codes: Tensor, x: Tensor, codebook: Tensor) -> Tensor:
    """How much longer the distance to the chosen code is than the shortest, by this one: [N], in float64."""
    distances = torch.cdist(x.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist")
    best = distances.amin(dim=1)
    return (distances.gather(1, codes.unsqueeze(1)).squeeze(1) - best) / best


@pytest.mark.parametrize(
    ("n", "k", "d"),
    [
        (1, PANEL, 1),
        (5, PANEL + 1, 2),
        (6, 3 * PANEL, 16),
        (7, 1000, 7),
        (LONGEST + 1, 2 * PANEL - 1, 8),  # a second chunk, a panel that overlaps
        (2 * LONGEST + 13, 129, 33),
        (PART // 300 + 7, 100, 300),  # a second part
        (40, 2000, 1030),  # chunks of fewer rows
    ],
)
def test_it_finds_the_codes_of_the_tiled_search(n: int, k: int, d: int) -> None:
    x, codebook = torch.randn(n, d), torch.randn(k, d)
    codes = by_kernel(x, codebook)
    assert codes.dtype == torch.int64
    assert excess(codes, x, codebook).max() < 1e-5
    other = codes != search._search_cpu(x, search.search_table(codebook))
    assert other.double().mean() < 2e-3  # rounding decides the closest calls
    assert not other[excess(codes, x, codebook) > 1e-5].any()


@pytest.mark.parametrize("mean", [100.0, 1000.0])
def test_data_far_from_the_origin_keep_their_nearest_code(mean: float) -> None:
    x, codebook = torch.randn(4000, 16) + mean, torch.randn(256, 16) + mean
    assert excess(by_kernel(x, codebook), x, codebook).max() < 1e-4


@pytest.mark.parametrize("quarter", [PANEL // 2 - 3, PANEL // 2, 350])
def test_the_lowest_index_wins_a_tie(quarter: int) -> None:
    codebook = torch.randint(-3, 4, (quarter, 4)).float()
    codebook = torch.cat([codebook, -codebook] * 2)  # with integers and a mean of 0 there is no rounding
    x = torch.randint(-3, 4, (500, 4)).float()
    codes = by_kernel(x, codebook)
    assert torch.equal(codes, torch.cdist(x.double(), codebook.double()).argmin(dim=1))
    assert codes.max() < 2 * quarter


def test_a_row_of_nan_or_infinity_harms_only_itself() -> None:
    x, codebook = torch.randn(600, 8), torch.randn(PANEL + 36, 8)
    expected = by_kernel(x, codebook)
    x[3], x[5, 0], x[7] = float("nan"), float("inf"), -float("inf")
    codes = by_kernel(x, codebook)
    others = [i for i in range(600) if i not in (3, 5, 7)]
    assert torch.equal(codes[others], expected[others])
    assert ((codes >= 0) & (codes < len(codebook))).all()


def test_a_code_depends_on_its_row_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the batch, the number of threads, or the order of memory."""
    x, codebook = torch.randn(3001, 16) + 30, torch.randn(300, 16) + 30
    codes = by_kernel(x, codebook)
    assert torch.equal(by_kernel(x[1000:1017], codebook), codes[1000:1017])
    assert torch.equal(by_kernel(x.t().contiguous().t(), codebook), codes)
    monkeypatch.setattr(search_kernel, "SHARE", 1)
    assert torch.equal(by_kernel(x, codebook, threads=3), codes)


def spy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the kernel take every search that is not a handful of rows; the list grows with each one."""
    calls, kernel = [], search_kernel.search

    def counted(x, table, codebook_size, threads):  # type: ignore[no-untyped-def]
        calls.append(codebook_size)
        return kernel(x, table, codebook_size, threads)

    assert search._kernel() is search_kernel
    monkeypatch.setattr(search_kernel, "search", counted)
    monkeypatch.setattr(search, "_COMPILED", 1)
    return calls


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_large_searches_take_it(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    x, codebook = torch.randn(1000, 8).to(dtype), torch.randn(PANEL, 8)
    expected = nearest(x, codebook)
    calls = spy(monkeypatch)
    assert torch.equal(nearest(x, codebook), expected)
    assert calls == [PANEL]


def test_codebooks_smaller_than_a_panel_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    x, codebook = torch.randn(3000, 8), torch.randn(PANEL - 1, 8)
    expected = nearest(x, codebook)
    calls = spy(monkeypatch)
    assert torch.equal(nearest(x, codebook), expected)
    assert calls == []


def test_where_it_does_not_compile_the_tiled_search_stands_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    x, codebook = torch.randn(1000, 8), torch.randn(PANEL, 8)
    expected = nearest(x, codebook)

    def fail(*_: object) -> None:
        raise RuntimeError("unknown processor")

    caplog.set_level("INFO")
    monkeypatch.setattr(search_kernel, "search", fail)
    monkeypatch.setattr(search, "_COMPILED", 1)
    search._kernel.cache_clear()
    try:
        assert torch.equal(nearest(x, codebook), expected)
        assert torch.equal(nearest(x, codebook), expected)
    finally:
        search._kernel.cache_clear()
    assert [record for record in caplog.messages if "unknown processor" in record] == caplog.messages
    assert len(caplog.messages) == 1


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_numba_is_imported_by_the_first_large_search_only() -> None:
    imported = python("""
        import sys, torch
        from audiovq.quantize import nearest
        nearest(torch.randn(20_000, 8), torch.randn(512, 8))
        print("numba" in sys.modules)
        nearest(torch.randn(70_000, 8), torch.randn(512, 8))
        print("numba" in sys.modules)
    """)
    assert imported.split() == ["False", "True"]


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_other_instruction_sets_find_the_same_codes(name: str, tmp_path: object) -> None:
    cpu, features, expected = INSTRUCTION_SETS[name]
    if os.uname().machine != "x86_64":
        pytest.skip("these are instruction sets of x86-64")
    found = python(
        """
        import torch
        from audiovq.quantize.search import nearest as search
        from audiovq.quantize.search import kernel as search_kernel
        for n, k, d in ((1, 64, 1), (2001, 150, 33), (100, 1000, 300)):
            x, codebook = torch.randn(n, d), torch.randn(k, d)
            table = search.search_table(codebook)
            codes = torch.from_numpy(search_kernel.search(x.numpy(), table.numpy(), k, 1))
            assert (codes != search._search_cpu(x, table)).double().mean() < 2e-3
        print(search_kernel.LANES, search_kernel.PANEL)
        """,
        NUMBA_CPU_NAME=cpu,
        NUMBA_CPU_FEATURES=features,
        NUMBA_CACHE_DIR=str(tmp_path),
    )
    assert found == expected


@pytest.mark.slow
def test_it_is_faster_than_the_tiled_search() -> None:
    """A ratio in one run, by CPU time, alternating: loops whose vectors LLVM tears apart are several times slower."""
    x, codebook = torch.randn(32768, 64), torch.randn(512, 64)
    table = search.search_table(codebook)

    def seconds(run: Callable[[], object]) -> float:
        begin = time.thread_time()
        run()
        return time.thread_time() - begin

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        compiled, tiled = (lambda: by_kernel(x, codebook)), (lambda: search._search_cpu(x, table))
        rounds = torch.tensor([[seconds(compiled), seconds(tiled)] for _ in range(9)]).median(dim=0).values
    finally:
        torch.set_num_threads(threads)
    print(f"compiled {rounds[0] * 1e3:.1f} ms, tiled {rounds[1] * 1e3:.1f} ms")
    assert rounds[1] / rounds[0] > 1.05
