"""Compares codecs on the same files: the tables, remarks and files of `audiovq evaluate codec`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from audiovq.evaluate.roundtrip import RoundTrip, Totals, totals
from audiovq.evaluate.tally import Tally
from audiovq.metrics.alignment import TOLERANCE
from audiovq.metrics.scores import FileScore, Summary, paired_differences, summarize
from audiovq.metrics.speech import Metric
from audiovq.metrics.table import markdown, number

LAG = "lag_ms"


@dataclass(frozen=True)
class Result:
    """A codec's name, what its files hold besides codes, and its round trips."""

    name: str
    container: str
    trips: Sequence[RoundTrip]

    @property
    def scores(self) -> list[FileScore]:
        return [trip.score for trip in self.trips]

    @property
    def totals(self) -> Totals:
        return totals(self.trips)

    def tally(self, tally: Tally) -> dict[str, float] | None:
        """The figures of a tally's row; None if no file added to it."""
        added = [trip.tallies[tally.name] for trip in self.trips if tally.name in trip.tallies]
        return tally.summarize(added) if added else None

    @property
    def summaries(self) -> dict[str, dict[str, Summary]]:
        return summarize(self.scores)


def report(results: Sequence[Result], metrics: Sequence[Metric], tallies: Sequence[Tally] = ()) -> str:
    """Everything for a reader: sound and cost of each codec, differences to the first one, and what went wrong."""
    parts = [sound_table(results, metrics), "Mean and 95 % interval over files."]
    for tally in tallies:
        parts += [tally.about, tally_table(results, tally)]
    parts.append(cost_table(results))
    if len(results) > 1:
        parts += [f"Differences to {results[0].name}, file by file:", difference_table(results, metrics)]
    return "\n\n".join([*parts, *filter(None, ["\n".join(remarks(results, metrics))])])


def sound_table(results: Sequence[Result], metrics: Sequence[Metric]) -> str:
    """One row a group and codec, all files first: bitrate of the codes, mean and interval of each metric."""
    summaries = [result.summaries for result in results]
    rows = []
    for group in summaries[0] if summaries else ():
        for result, by_group in zip(results, summaries, strict=True):
            cells = [by_group[group][metric.name] for metric in metrics]
            count = str(cells[0].count + cells[0].failed) if cells else "0"
            rows.append([result.name, group, count, _decimals(result.totals.payload_kbps, 3), *_shown(cells, metrics)])
    return markdown(["codec", "files", "n", "kbit/s", *(metric.title for metric in metrics)], rows)


def tally_table(results: Sequence[Result], tally: Tally) -> str:
    """One row a codec."""
    rows = []
    for result in results:
        figures = result.tally(tally)
        rows.append([result.name, *(show(figures) if figures else "-" for show in tally.columns.values())])
    return markdown(["codec", *tally.columns], rows)


def cost_table(results: Sequence[Result]) -> str:
    """Bitrates with and without the container, and seconds of work per second of sound."""
    rows = []
    for result in results:
        cost = result.totals
        rates = [_decimals(value, 3) for value in (cost.payload_kbps, cost.kbps)]
        work = [_decimals(v, 4) for v in (cost.encode_rtf, cost.decode_rtf, cost.encode_cpu, cost.decode_cpu)]
        rows.append([result.name, *rates, result.container, *work])
    titles = ["codes, kbit/s", "files, kbit/s", "container", "encode RTF", "decode RTF", "encode CPU", "decode CPU"]
    return markdown(["codec", *titles], rows)


def difference_table(results: Sequence[Result], metrics: Sequence[Metric]) -> str:
    """Each codec but the first against the first: mean of the differences on the same files, and its interval."""
    metrics, rows = [metric for metric in metrics if metric.of_aligned], []
    for result in results[1:]:
        by_metric = paired_differences(result.scores, results[0].scores)
        rows.append([result.name, *_shown([by_metric[metric.name] for metric in metrics], metrics)])
    return markdown(["codec", *(metric.title for metric in metrics)], rows)


def remarks(results: Sequence[Result], metrics: Sequence[Metric]) -> list[str]:
    """One line for every codec whose output is shifted, and for every metric that failed, with the reason and files."""
    lines = []
    for result in results:
        lags = [score.values[LAG] for score in result.scores if abs(score.values.get(LAG, 0)) > 1000 * TOLERANCE]
        if lags:
            late = f"{result.name}: {len(lags)} of {len(result.trips)} files by {median(lags):.1f} ms (median)"
            lines.append(f"late: {late}; it was removed before scoring")
    codecs: dict[tuple[str, str], list[str]] = {}  # what failed and why -> with which codecs
    for result in results:
        failed: dict[str, tuple[list[str], list[str]]] = {}  # reason -> metrics, files
        for score in result.scores:
            for metric in metrics:
                if reason := score.failures.get(metric.name):
                    names, ids = failed.setdefault(reason, ([], []))
                    names += [metric.title] * (metric.title not in names)
                    ids += [score.id] * (score.id not in ids)
        for reason, (names, ids) in failed.items():
            more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
            codecs.setdefault((f"{', '.join(names)} of {', '.join(ids[:3])}{more}", reason), []).append(result.name)
    for (what, reason), names in codecs.items():
        whose = "every codec" if len(names) == len(results) > 1 else ", ".join(names)
        lines.append(f"failed: {whose}: {what}: {reason}")
    return lines


def to_tree(results: Sequence[Result], tallies: Sequence[Tally] = ()) -> list[dict[str, Any]]:
    """What JSON holds of the codecs: totals, summaries by group, tallies, every file's scores, failures and cost."""
    return [
        {
            "name": result.name,
            "container": result.container,
            "totals": asdict(result.totals),
            "summary": {g: {m: asdict(s) for m, s in by.items()} for g, by in result.summaries.items()},
            **{tally.name: result.tally(tally) for tally in tallies},
            "difference_to_first": {
                m: asdict(s) for m, s in paired_differences(result.scores, results[0].scores).items()
            },
            "files": [{**asdict(trip.score), "cost": trip.cost and asdict(trip.cost)} for trip in result.trips],
        }
        for result in results
    ]


def to_tsv(results: Sequence[Result], metrics: Sequence[Metric]) -> str:
    """One line a codec and file: names, group, seconds, bits, then the scores; what failed is NaN."""
    names = [metric.name for metric in metrics]
    lines = ["\t".join(["codec", "id", "group", "seconds", "payload_bits", "file_bits", *names])]
    for result in results:
        for trip in result.trips:
            score, cost = trip.score, trip.cost
            bits = ["NaN", "NaN"] if cost is None else [str(cost.payload_bits), str(cost.file_bits)]
            values = [f"{score.values[name]:.6g}" if math.isfinite(score.values[name]) else "NaN" for name in names]
            lines.append("\t".join([result.name, score.id, score.group or "", f"{score.seconds:.6g}", *bits, *values]))
    return "\n".join(lines) + "\n"


def _shown(cells: Sequence[Summary], metrics: Sequence[Metric]) -> list[str]:
    return [number(s.mean, s.low, s.high, m.digits, failed=s.failed) for s, m in zip(cells, metrics, strict=True)]


def _decimals(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "failed"
