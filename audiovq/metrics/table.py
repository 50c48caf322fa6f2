"""Scores as Markdown and JSON. A failed measurement is shown as `failed` or null, and counted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from audiovq.metrics.scores import Summary
from audiovq.metrics.speech import Metric


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns are also aligned for reading as text; the first column is left-aligned."""
    widths = [max(2, *(len(row[i]) for row in [headers, *rows])) for i in range(len(headers))]  # "-:" takes two

    def line(cells: Sequence[str]) -> str:
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths, strict=True))]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    return "\n".join([line(headers), line(rule), *map(line, rows)])


def number(mean: float, low: float, high: float, digits: int, *, failed: int = 0) -> str:
    """`mean [low, high]`, and how many measurements failed, if any."""
    if not math.isfinite(mean):
        return "failed"
    text = f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{text} ({failed} failed)" if failed else text


def summary_table(summaries: Mapping[str, Mapping[str, Summary]], metrics: Sequence[Metric]) -> str:
    """One row a group: mean and 95 % interval of each metric."""
    rows = []
    for group, by_metric in summaries.items():
        files = max((s.count + s.failed for s in by_metric.values()), default=0)
        cells = [by_metric[m.name] for m in metrics]
        shown = [number(s.mean, s.low, s.high, m.digits, failed=s.failed) for s, m in zip(cells, metrics, strict=True)]
        rows.append([group, str(files), *shown])
    return markdown(["files", "n", *(m.title for m in metrics)], rows)


def to_json(tree: Any) -> str:
    """Indented JSON; NaN, which JSON lacks, becomes null."""
    return json.dumps(_nan_to_none(tree), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _nan_to_none(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _nan_to_none(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_nan_to_none(value) for value in tree]
    return None if isinstance(tree, float) and not math.isfinite(tree) else tree
