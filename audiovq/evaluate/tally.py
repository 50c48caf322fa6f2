"""Sums over files that mean nothing for a single file: bands of a voice, words. Each has a table, one row per codec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiovq.data.kaldi.utterance import Utterance
from audiovq.metrics.bands import LEVEL_BANDS, PERIODICITY_BANDS, measure_bands, summarize_bands
from audiovq.metrics.interval import mean_interval
from audiovq.metrics.speech import Waveform


@dataclass(frozen=True)
class Tally:
    """A table of its own.

    Attributes:
        name: key in JSON.
        about: what is said over the table.
        measure: (utterance, original, output) at 16 kHz, aligned -> what the file adds, or None if it adds nothing.
        summarize: of all that files added, the figures of a row by name.
        columns: heading -> how a row's figures are shown.
    """

    name: str
    about: str
    measure: Callable[[Utterance, Waveform, Waveform], Any]
    summarize: Callable[[Sequence[Any]], dict[str, float]]
    columns: dict[str, Callable[[dict[str, float]], str]]


def bands_tally() -> Tally:
    """Periodicity, level and frame-rate lines; `audiovq.metrics.bands` says how."""
    shown = {
        f"periodic {low / 1000:g}-{high / 1000:g} kHz": _figure(f"periodicity_{low}", "{:.2f}")
        for low, high in PERIODICITY_BANDS
    }
    shown["line"] = _figure("line", "{:.1f}")
    shown |= {
        f"level {low // 100 / 10:g}-{high / 1000:g} kHz, dB": _figure(f"level_db_{low}", "{:+.1f}")
        for low, high in LEVEL_BANDS
    }
    return Tally(
        "bands",
        "The voice by band: periodicity of voiced frames; the strongest line at a multiple of 50 Hz in the envelope,"
        " over its surroundings; level against the original.",
        lambda _, reference, output: measure_bands(reference, output) if len(reference) else None,
        summarize_bands,
        shown,
    )


def words_tally(folder: Path | None) -> Tally:
    """Word errors of a Whisper model in files with text.

    folder: of the model, see `audiovq.evaluate.words.whisper`, whose errors are raised.
    """
    from audiovq.evaluate.words import whisper, word_counter

    hear, count_errors = whisper(folder), word_counter()

    def measure(utterance: Utterance, reference: Waveform, output: Waveform) -> tuple[int, int] | None:
        counts = count_errors(utterance.text, hear(output)) if utterance.text else (0, 0)
        return counts if counts[1] else None

    def summarize(files: Sequence[tuple[int, int]]) -> dict[str, float]:
        errors, words = np.array(files, float).T
        low, high = mean_interval(errors / words, words)
        percent = 100 / words.sum() * errors.sum()
        return {"files": len(files), "words": words.sum(), "percent": percent, "low": 100 * low, "high": 100 * high}

    return Tally(
        "words",
        "Words that a recogniser gets wrong, of files with text; mean over words and 95 % interval over files.",
        measure,
        summarize,
        {
            "files": _figure("files", "{:.0f}"),
            "words": _figure("words", "{:.0f}"),
            "errors %": lambda row: f"{row['percent']:.1f} [{row['low']:.1f}, {row['high']:.1f}]",
        },
    )


def _figure(name: str, form: str) -> Callable[[dict[str, float]], str]:
    return lambda row: form.format(row[name])
