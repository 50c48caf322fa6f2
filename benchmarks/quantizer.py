"""Time and memory of vector quantization: ours against four public implementations, on one core or one GPU.

    python benchmarks/quantizer.py [--cases A B C R one frames] [--peers encodec moshi ...] [--rounds 15] [--json FILE]

For each case: a training step's forward, forward and backward, and assignment without gradient. Ratios are a peer's
time by ours, the median over rounds in which all are measured one after the other. The floor of an assignment is the
time of its multiplications, 2 N K D, at the rate of a large matrix product measured in the same rounds.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import harness  # before torch: it sets the number of threads
import torch
from quantizer_peers import PEERS, Candidate, audiovq
from torch import Tensor

from audiovq.quantize import nearest

OURS, FLOOR = "audiovq", "sgemm"
FLOOR_SIZE = 2048


@dataclass(frozen=True)
class Case:
    """N vectors of D dimensions in a batch of B items, and Q codebooks of K vectors; targets by name."""

    name: str
    batch: int
    rows: int
    size: int
    dim: int
    levels: int = 1
    train: bool = True

    @property
    def products(self) -> int:
        """Multiplications of an assignment."""
        return self.rows * self.levels * self.size * self.dim

    @property
    def title(self) -> str:
        levels = f"{self.levels} x " if self.levels > 1 else ""
        return f"{self.name}: N {self.rows}, K {levels}{self.size}, D {self.dim}"


CASES = {
    case.name: case
    for case in (
        Case("A", batch=8, rows=32768, size=512, dim=64),
        Case("B", batch=8, rows=32768, size=1024, dim=8),
        Case("C", batch=8, rows=8192, size=8192, dim=256),
        Case("R", batch=8, rows=8192, size=1024, dim=128, levels=8),
        Case("one", batch=1, rows=1, size=1024, dim=8, train=False),
        Case("frames", batch=1, rows=75, size=1024, dim=128, levels=8, train=False),
    )
}

# A training step's forward, a peer's time by ours at least: against the quickest peer, against vector-quantize-pytorch.
TRAIN_TARGETS = {"A": (2.5, 10.0), "B": (5.0, 40.0), "C": (1.4, 5.0), "R": (1.9, 8.0)}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="Time and memory of vector quantizers.")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS), metavar="PEER")
    harness.add_options(parser, rounds=15)
    options = parser.parse_args(argv)
    harness.pin()
    facts = harness.machine(options.device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    rows, targets = [], []
    for name in options.cases:
        measured = measure(CASES[name], options.peers, options.rounds, options.device)
        print(f"### {CASES[name].title}\n\n{show(measured)}\n", flush=True)
        rows += measured
        targets += check(CASES[name], measured)
    print(f"### All cases\n\n{summary(rows)}\n")
    cells = [[t["target"], t["wanted"], t["measured"], "yes" if t["met"] else "NO"] for t in targets]
    print(harness.table(["target", "wanted", "measured", "met"], cells))
    if options.json:
        harness.write_json(options.json, facts, rows=rows, targets=targets)


def measure(case: Case, peers: Sequence[str], rounds: int, device: str) -> list[dict[str, object]]:
    """All candidates in one case: rows of {case, n, k, d, levels, what, name, same_codes, to_floor, **Timing}."""
    torch.manual_seed(0)
    x = torch.randn(case.batch, case.rows // case.batch, case.dim, device=device)
    mask = torch.ones(x.shape[:2], dtype=torch.bool, device=device)
    mask[-1, max(1, mask.shape[1] * 3 // 4) :] = False  # the last item of the batch is shorter
    codebooks = draw_codebooks(case, device)
    candidates = {OURS: audiovq(codebooks, mask)}
    for name in peers:
        try:
            candidates[name] = PEERS[name](codebooks, mask)
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}")
    same = share_of_same_codes(candidates, x)

    rows = []
    for what, calls in calls_of(candidates, x, case.train).items():
        for candidate in candidates.values():
            candidate.module.train(what != "assign")
        if what == "assign":
            calls[FLOOR] = harness.sgemm(FLOOR_SIZE, device=device)
        timings = harness.compare(calls, rounds=rounds, device=device)
        floor = timings.pop(FLOOR).ratio * case.products / FLOOR_SIZE**3 if what == "assign" else None
        for name, timing in timings.items():
            row = dict(case=case.name, n=case.rows, k=case.size, d=case.dim, levels=case.levels, what=what, name=name)
            to_floor = timing.ratio / floor if floor and case.train else None  # no floor for a call of microseconds
            rows.append(row | asdict(timing) | dict(same_codes=same[name], to_floor=to_floor))
    return rows


def draw_codebooks(case: Case, device: str) -> list[Tensor]:
    """A codebook per level, each of vectors drawn from what the levels before it left over of other data."""
    residual = torch.randn(2 * case.size, case.dim, device=device)
    codebooks = []
    for _ in range(case.levels):
        codebooks.append(residual[torch.randperm(len(residual), device=device)[: case.size]])
        # What was drawn is its own nearest code: the noise leaves something of it for the next level.
        residual = residual + 0.5 * residual.std() * torch.randn_like(residual)
        residual = residual - codebooks[-1][nearest(residual, codebooks[-1])]
    return codebooks


def share_of_same_codes(candidates: dict[str, Candidate], x: Tensor) -> dict[str, float]:
    """How many of a candidate's codes are ours, before any training: 1 but for ties, unless it measures otherwise."""
    codes = {}
    for name, candidate in candidates.items():
        candidate.module.eval()
        with torch.no_grad():
            found = candidate.assign(x)
        codes[name] = found.movedim(candidate.level_dim, -1) if found.ndim == 3 else found
    return {name: (found == codes[OURS]).double().mean().item() for name, found in codes.items()}


def calls_of(candidates: dict[str, Candidate], x: Tensor, train: bool) -> dict[str, dict[str, Callable[[], object]]]:
    """What is measured: what -> name -> call."""
    leaf = x.clone().requires_grad_()
    gradient = torch.randn_like(x)

    def forward(candidate: Candidate) -> object:
        return candidate.forward(leaf)

    def backward(candidate: Candidate) -> None:
        leaf.grad = None
        candidate.module.zero_grad()
        z_q, loss = candidate.forward(leaf)
        torch.autograd.backward([z_q, loss], [gradient, torch.ones_like(loss)])

    def assign(candidate: Candidate) -> None:
        with torch.no_grad():
            candidate.assign(x)

    steps = {"forward": forward, "forward+backward": backward} if train else {}
    return {
        what: {name: (lambda step=step, candidate=candidate: step(candidate)) for name, candidate in candidates.items()}
        for what, step in {**steps, "assign": assign}.items()
    }


def show(rows: list[dict[str, object]]) -> str:
    """Markdown: a line per candidate and measurement."""
    header = ["", "", "ms", "wall ms", "time / ours", "time / floor", "peak MB", "same codes"]
    keys = ["what", "name", "ms", "wall_ms", "ratio", "to_floor", "peak_mb", "same_codes"]
    return harness.table(header, [[row[key] for key in keys] for row in rows])


def summary(rows: list[dict[str, object]]) -> str:
    """Markdown: a line per case and measurement, our time, and how many times as long each peer takes."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    cells: dict[tuple[object, object], list[str]] = {}
    for row in rows:
        line = cells.setdefault((row["case"], row["what"]), ["-"] * len(names))
        time = f"{harness.cell(row['ms'])} ms" if row["name"] == OURS else f"{harness.cell(row['ratio'])} x"
        memory = "" if row["peak_mb"] is None else f", {harness.cell(row['peak_mb'])} MB"
        line[names.index(row["name"])] = time + memory
    return harness.table(["case", "", *names], [[*key, *line] for key, line in cells.items()])


def check(case: Case, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """What was aimed at in this case, and what came out: rows of {case, target, wanted, measured, met}."""
    by = {(row["what"], row["name"]): row for row in rows}
    ours = by["assign", OURS]
    checks: list[tuple[str, str, float, float]] = []  # target, at least or at most, limit, measured
    ratios = {name: row["ratio"] for (what, name), row in by.items() if what == "forward" and name != OURS}
    if case.name in TRAIN_TARGETS and ratios:
        best, first = TRAIN_TARGETS[case.name]
        quickest = min(ratios, key=ratios.get)
        checks.append((f"forward against the quickest peer ({quickest})", ">=", best, ratios[quickest]))
        if "vector-quantize-pytorch" in ratios:
            name = "vector-quantize-pytorch"
            checks.append((f"forward against {name}", ">=", first, ratios[name]))
    if case.train:
        checks.append(("assign by the floor", "<=", 1.3 if case.dim >= 64 else 3.5, ours["to_floor"]))
    if ours["peak_mb"] is not None:
        checks.append(("assign, peak MB", "<=", 10.0, ours["peak_mb"]))
        if case.train:
            limit = 2.5 * case.rows * case.dim * 4 / 1e6 + 4
            checks.append(("forward, peak MB", "<=", limit, by["forward", OURS]["peak_mb"]))
    if case.rows == 1 and ("assign", "encodec") in by:
        checks.append(("assign against encodec", ">=", 1.0, by["assign", "encodec"]["ratio"]))
    return [
        dict(case=case.name, target=f"{case.name}: {what}", wanted=f"{sign} {limit:.3g}", measured=value,
             met=value >= limit if sign == ">=" else value <= limit)
        for what, sign, limit, value in checks
    ]  # fmt: skip


if __name__ == "__main__":
    main()
