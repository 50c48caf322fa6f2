"""Round trips of codecs as users run them: utterances to bytes and back, with size, time and sound."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.data.kaldi.utterance import Utterance
from audiovq.data.resampling import resample
from audiovq.errors import BadAudioError
from audiovq.evaluate.tally import Tally
from audiovq.metrics.alignment import aligned
from audiovq.metrics.scores import FileScore, failed_score, score_file
from audiovq.metrics.speech import Metric, Waveform


@dataclass(frozen=True)
class Coder:
    """A codec as plain callables.

    Attributes:
        name: of its row in a table.
        rate: Hz of what `encode` takes and `decode` gives.
        encode: waveform `[T]` and the speaker's name -> the bytes of a file. decode: back to `[T]`.
            BadAudioError if the file can't be coded; its scores then count as failed.
        payload_bits: of a file's bytes, the bits that are codes; the rest is container.
        container: what that is.
        exact: as many samples come back as went in, and it is an error if not. Otherwise the end is cut, or silence is
            added to it.
    """

    name: str
    rate: int
    encode: Callable[[Waveform, str], bytes]
    decode: Callable[[bytes], Waveform]
    payload_bits: Callable[[bytes], int]
    container: str
    exact: bool = True


@dataclass(frozen=True)
class Cost:
    """Size of a file and of the codes in it, bits; seconds that coding took, by the clock and of all processors."""

    file_bits: int
    payload_bits: int
    encode_seconds: float
    decode_seconds: float
    encode_cpu_seconds: float
    decode_cpu_seconds: float


@dataclass(frozen=True)
class RoundTrip:
    """One utterance's scores, and what it cost; None if it could not be coded. By tally, what it adds to that."""

    score: FileScore
    cost: Cost | None
    tallies: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Totals:
    """Of all utterances that could be coded: seconds of sound, bitrates in kbit/s, work in seconds per second of sound.

    `kbps` counts whole files, `payload_kbps` their codes alone. Real-time factors (below 1: faster than real time) are
    by the clock; `cpu` ones by the time of all processors, which other work on the machine disturbs less.
    """

    seconds: float
    kbps: float
    payload_kbps: float
    encode_rtf: float
    decode_rtf: float
    encode_cpu: float
    decode_cpu: float


def round_trip(
    utterances: Sequence[Utterance],
    coders: Sequence[Coder],
    rate: int,
    *,
    groups: Mapping[str, str] | None = None,
    metrics: Sequence[Metric] | None = None,
    tallies: Sequence[Tally] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[list[RoundTrip]]:
    """Encode, decode and score every utterance with every coder, by turns, so that times are comparable.

    Args:
        utterances: read, mixed down and resampled first, outside the time measured.
        coders: the codecs.
        rate: Hz at which outputs are scored against the originals, 16000 or 8000.
        groups: utterance id -> group.
        metrics: default: all of `metrics_for`. tallies: what else is measured.
        progress: called with the utterances done and their number.

    Returns for each coder its round trips, in the order of the utterances.
    """
    trips: list[list[RoundTrip]] = [[] for _ in coders]
    for i, utterance in enumerate(utterances):
        sounds = {r: utterance.mono(r) for r in {rate, *(coder.rate for coder in coders)}}
        group = groups[utterance.id] if groups else None
        for coder, done in zip(coders, trips, strict=True):
            try:
                if not done:  # once unmeasured: the first call pays for what later ones find ready
                    coder.decode(coder.encode(sounds[coder.rate], utterance.speaker))
                output, cost = _coded(coder, sounds[coder.rate], utterance.speaker)
            except BadAudioError as error:
                seconds = len(sounds[rate]) / rate
                failed = failed_score(utterance.id, seconds, rate, str(error), group=group, metrics=metrics)
                done.append(RoundTrip(failed, None))
                continue
            decoded = _fitted(resample(output[None], coder.rate, rate)[0], len(sounds[rate]), coder.exact)
            score = score_file(utterance.id, sounds[rate], decoded, rate, group=group, metrics=metrics)
            pair = aligned(sounds[rate], decoded, rate)
            added = {tally.name: tally.measure(utterance, *pair) for tally in tallies}
            done.append(RoundTrip(score, cost, {name: value for name, value in added.items() if value is not None}))
        if progress is not None:
            progress(i + 1, len(utterances))
    return trips


def totals(trips: Sequence[RoundTrip]) -> Totals:
    """Sums over all utterances that could be coded; NaN without any."""
    costs = [trip.cost for trip in trips if trip.cost is not None]
    seconds = sum(trip.score.seconds for trip in trips if trip.cost is not None)

    def share(name: str, unit: float = 1) -> float:
        return float(np.divide(sum(getattr(cost, name) for cost in costs), seconds * unit)) if seconds else float("nan")

    return Totals(
        seconds,
        share("file_bits", 1000),
        share("payload_bits", 1000),
        share("encode_seconds"),
        share("decode_seconds"),
        share("encode_cpu_seconds"),
        share("decode_cpu_seconds"),
    )


def _coded(coder: Coder, sound: Waveform, speaker: str) -> tuple[Waveform, Cost]:
    start = _times()
    data = coder.encode(sound, speaker)
    middle = _times()
    output = np.asarray(coder.decode(data), np.float32)
    encode, decode = middle - start, _times() - middle
    cost = Cost(8 * len(data), coder.payload_bits(data), *map(float, (encode[0], decode[0], encode[1], decode[1])))
    return output, cost


def _times() -> NDArray[np.float64]:
    """Seconds by the clock, and of all processors for this process and the programs it has called."""
    clock, cpu = time.perf_counter(), time.process_time()
    if sys.platform != "win32":  # there, the time of other programs is missing
        from resource import RUSAGE_CHILDREN, getrusage

        called = getrusage(RUSAGE_CHILDREN)
        cpu += called.ru_utime + called.ru_stime
    return np.array([clock, cpu])


def _fitted(output: Waveform, length: int, exact: bool) -> Waveform:
    if exact:  # a wrong length shows in `score_file`
        return output
    return np.pad(output[:length], (0, max(0, length - len(output))))
