"""What all benchmarks share: one core, candidates measured in turn, medians, peak memory, and how rows are shown.

A benchmark imports this module before torch and numpy, calls `pin()`, hands named calls to `compare`, and prints a
`table`. Times vary from minute to minute on a shared machine: only what was measured in turn in one run is compared.
"""

from __future__ import annotations

import argparse
import os

# Thread pools read these when their library is first loaded.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import ctypes
import json
import math
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
import torch

SHORTEST_MS = 5.0  # a call that is quicker is repeated until a measurement takes this long
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt, from glibc's malloc.h


@dataclass(frozen=True)
class Timing:
    """What was measured of one candidate.

    Attributes:
        ms: of one call: CPU time of the process on a CPU, time between CUDA events on a GPU. Median over the rounds.
        wall_ms: median wall time of one call.
        ratio: median over the rounds of this candidate's `ms` by the first candidate's in the same round.
        peak_mb: greatest extra memory during one call, in MB of 1e6 bytes; None where it can't be measured.
        calls: calls in one measurement.
    """

    ms: float
    wall_ms: float
    ratio: float
    peak_mb: float | None
    calls: int


def pin() -> None:
    """Keep the process on one core (Linux) and torch on one thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)


def compare(
    candidates: Mapping[str, Callable[[], object]], *, rounds: int, device: str | torch.device = "cpu"
) -> dict[str, Timing]:
    """Measure the candidates one after the other in every round, each round starting with another one.

    Args:
        candidates: name -> a call without arguments; the first one is what `Timing.ratio` compares with.
        rounds: measurements of each candidate.
        device: where the calls compute.
    """
    device = torch.device(device)
    names = list(candidates)
    peaks, calls = {}, {}
    for name, call in candidates.items():
        call()
        peaks[name] = peak_memory(call, device)
        once = min(_measure(call, 1, device)[0] for _ in range(2))  # the first may have to fetch its memory back
        calls[name] = max(1, math.ceil(SHORTEST_MS / max(once, 1e-3)))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for r in range(rounds):
        first = r % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(_measure(candidates[name], calls[name], device))
    reference = times[names[0]]
    return {
        name: Timing(
            ms=median(ms for ms, _ in times[name]),
            wall_ms=median(wall for _, wall in times[name]),
            ratio=median(ms / base for (ms, _), (base, _) in zip(times[name], reference, strict=True)),
            peak_mb=peaks[name],
            calls=calls[name],
        )
        for name in names
    }


def _measure(call: Callable[[], object], calls: int, device: torch.device) -> tuple[float, float]:
    """Milliseconds of one call, by the device's own clock and by the wall's."""
    if device.type == "cuda":
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize(device)
        wall = time.perf_counter()
        start.record()
        for _ in range(calls):
            call()
        end.record()
        torch.cuda.synchronize(device)
        return start.elapsed_time(end) / calls, (time.perf_counter() - wall) * 1e3 / calls
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - cpu) * 1e3 / calls, (time.perf_counter() - wall) * 1e3 / calls


def peak_memory(call: Callable[[], object], device: str | torch.device = "cpu") -> float | None:
    """Greatest extra memory in MB while `call` runs once, its result included; call it once before, to warm up.

    On a GPU: what torch's allocator handed out. On Linux with glibc: the high-water mark of the process's resident
    memory, which sees torch's and numpy's buffers alike, to about 0.3 MB. Elsewhere None.
    """
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    try:
        with _large_blocks_from_the_system():
            Path("/proc/self/clear_refs").write_text("5")  # the mark falls to what is resident now
            before = _status_mb("VmHWM")
            call()
            return _status_mb("VmHWM") - before
    except (OSError, AttributeError):  # another system, or another C library
        return None


@contextmanager
def _large_blocks_from_the_system() -> Iterator[None]:
    """Inside, blocks of 128 kB and more come from the system and go back when they are freed.

    Otherwise they come from the heap, which keeps what is freed: blocks of a time long past would be used unseen, and
    two blocks that never live at once could count as two. Holes in the heap are used even so, unless they are plugged.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.sbrk.restype = ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.mallopt(_MMAP_THRESHOLD, 128 << 10)
    libc.malloc_trim(0)
    plugs, end = [], libc.sbrk(0)
    while libc.sbrk(0) == end and len(plugs) < 1 << 16:  # until the heap has to grow for one; nobody writes to them
        plugs.append(libc.malloc(120 << 10))
    try:
        yield
    finally:
        for plug in plugs:
            libc.free(plug)
        libc.mallopt(_MMAP_THRESHOLD, 32 << 20)  # these two are where a process that frees large blocks ends by itself
        libc.mallopt(_TRIM_THRESHOLD, 64 << 20)


def _status_mb(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(key + ":"))


def sgemm(size: int = 2048, *, device: str | torch.device = "cpu") -> Callable[[], object]:
    """A call of one float32 matrix product, 2 size^3 operations: what the machine can do at that moment."""
    a, b, out = torch.randn(3, size, size, device=device).unbind()
    return lambda: torch.mm(a, b, out=out)


def add_options(parser: argparse.ArgumentParser, *, rounds: int) -> None:
    """The options that every benchmark has."""
    parser.add_argument("--rounds", type=int, default=rounds, help=f"measurements of each candidate ({rounds})")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows and the facts of the machine there")


def machine(device: str = "cpu") -> dict[str, object]:
    """Facts without which a time means nothing."""
    facts = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    if torch.device(device).type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_json(path: Path, facts: Mapping[str, object], **tables: Iterable[Mapping[str, object]]) -> None:
    """Tables as they were printed, with the machine's facts: {"machine": {...}, "rows": [{...}, ...], ...}."""
    content = {"machine": dict(facts)} | {name: list(rows) for name, rows in tables.items()}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers with three significant figures and to the right, None as "-"."""
    values = [list(row) for row in rows]
    lines = [list(header), *([cell(value) for value in row] for row in values)]
    for i in range(len(header)):
        width = max(3, *(len(line[i]) for line in lines))
        text = any(isinstance(row[i], str) for row in values)
        for line in lines:
            line[i] = line[i].ljust(width) if text else line[i].rjust(width)
        lines[0][i] += "\n" + ("-" * width if text else "-" * (width - 1) + ":")
    top, rule = zip(*(cell.split("\n") for cell in lines[0]), strict=True)
    return "\n".join("| " + " | ".join(line) + " |" for line in [top, rule, *lines[1:]])


def cell(value: object) -> str:
    """As a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
