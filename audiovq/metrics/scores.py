"""Scores of files, and their means with confidence intervals, for all files and by group."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from audiovq.data.tables import BLANKS, read_pairs
from audiovq.errors import BadDataError
from audiovq.metrics.alignment import aligned
from audiovq.metrics.interval import mean_interval
from audiovq.metrics.speech import Metric, Waveform, metrics_for

ALL = "all"


@dataclass(frozen=True)
class FileScore:
    """What was measured on one file; a metric that failed is NaN in `values`, with its reason in `failures`."""

    id: str
    group: str | None
    seconds: float
    values: dict[str, float]
    failures: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """Mean of a metric over the files where it could be measured, and its 95 % interval; NaN where there are none."""

    count: int
    failed: int
    mean: float
    low: float
    high: float


def score_file(
    id: str,
    reference: Waveform,
    output: Waveform,
    rate: int,
    *,
    group: str | None = None,
    metrics: Sequence[Metric] | None = None,
) -> FileScore:
    """Measure one output against its original, after removing the delay of the output, which is itself a metric.

    Args:
        id: of the file. group: for the summary.
        reference, output: `[T]`, of the same length.
        rate: of both, 8000 or 16000 Hz.
        metrics: default: all that there are at this rate.

    Raises ValueError if the lengths differ: a codec must give back as many samples as it got.
    """
    if reference.shape != output.shape or reference.ndim != 1:
        raise ValueError(f"{id}: original {reference.shape} and output {output.shape} must be [T], equally long")
    values: dict[str, float] = {}
    failures: dict[str, str] = {}
    pair = aligned(reference, output, rate)
    for metric in metrics_for(rate) if metrics is None else metrics:
        x, y = pair if metric.of_aligned else (reference, output)
        try:
            value, reason = metric.measure(x, y, rate), "not a finite number"
        except ModuleNotFoundError as error:
            value, reason = math.nan, f"{error.name} is not installed; pip install 'audiovq[eval]'"
        except Exception as error:  # the libraries raise many types
            value, reason = math.nan, " ".join(f"{type(error).__name__}: {error}".split())
        values[metric.name] = value if math.isfinite(value) else math.nan
        if not math.isfinite(value):
            failures[metric.name] = reason
    return FileScore(id, group, len(reference) / rate, values, failures)


def failed_score(
    id: str,
    seconds: float,
    rate: int,
    reason: str,
    *,
    group: str | None = None,
    metrics: Sequence[Metric] | None = None,
) -> FileScore:
    """The score of a file that a codec could not code: every metric failed, for that reason."""
    names = [metric.name for metric in (metrics_for(rate) if metrics is None else metrics)]
    return FileScore(id, group, seconds, dict.fromkeys(names, math.nan), dict.fromkeys(names, reason))


def summarize(scores: Sequence[FileScore]) -> dict[str, dict[str, Summary]]:
    """Group -> metric -> summary; "all" comes first, then the groups in order."""
    groups = {ALL: list(scores)}
    for name in sorted({score.group for score in scores if score.group is not None}):
        groups[name] = [score for score in scores if score.group == name]
    return {
        name: {metric: _summary([m.values[metric] for m in members]) for metric in members[0].values}
        for name, members in groups.items()
        if members
    }


def paired_differences(scores: Sequence[FileScore], others: Sequence[FileScore]) -> dict[str, Summary]:
    """Metric -> summary of (score - other) over the files that both have: most of the spread between files cancels."""
    other = {score.id: score.values for score in others}
    pairs = [(score.values, other[score.id]) for score in scores if score.id in other]
    return {name: _summary([mine[name] - its[name] for mine, its in pairs]) for name in (pairs[0][0] if pairs else {})}


def read_groups(path: str | Path, ids: Iterable[str]) -> dict[str, str]:
    """A file of `<utterance> <group>` lines; BadDataError for a malformed line, or one of `ids` without group."""
    table = read_pairs(path, "<utterance> <group>")
    for id, group in table.values.items():
        if BLANKS.search(group):
            raise BadDataError(f"{table.at(id)}: malformed line '{id} {group}'; write <utterance> <group>")
    groups = table.values
    for id in ids:
        if id not in groups:
            raise BadDataError(f"{path}: no group for utterance {id}; add a line for it")
    return groups


def _summary(values: Sequence[float]) -> Summary:
    good = [value for value in values if math.isfinite(value)]
    low, high = mean_interval(good)
    return Summary(len(good), len(values) - len(good), sum(good) / len(good) if good else math.nan, low, high)
