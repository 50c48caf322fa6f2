"""A codec as its user meets it: utterances to bytes and back, their cost, the time, and the sound."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from audiovq.data.audio import resample
from audiovq.data.kaldi import Utterance
from audiovq.evaluate.metrics import Waveform
from audiovq.evaluate.resynthesis import mono
from audiovq.evaluate.scores import FileScore, score_file

Encode = Callable[[Waveform, str], bytes]  # waveform [1, T] and the speaker's name -> the bytes of a file
Decode = Callable[[bytes], Waveform]  # -> [1, T]
CodeBits = Callable[[bytes], int]  # of a file's bytes, the bits that are codes


@dataclass(frozen=True)
class RoundTrip:
    """One utterance's scores, the size of its file in bits and what of it are codes, and seconds of work."""

    score: FileScore
    file_bits: int
    code_bits: int
    encode_seconds: float
    decode_seconds: float


def round_trip(
    utterances: Sequence[Utterance],
    rate: int,
    encode: Encode,
    decode: Decode,
    code_bits: CodeBits,
    *,
    groups: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[RoundTrip]:
    """Encode, decode and score every utterance.

    Args:
        utterances: read, mixed down and resampled to `rate` first, outside the time measured.
        rate: Hz of what `encode` takes and `decode` gives, with as many samples.
        encode, decode, code_bits: the codec.
        groups: utterance id -> group.
        progress: called with the utterances done and their number.

    Scores are taken at 16 kHz, or at 8 kHz below that.
    """
    scoring_rate = 16000 if rate >= 16000 else 8000
    trips: list[RoundTrip] = []
    for i, utterance in enumerate(utterances):
        sound = mono(utterance, rate)
        if not trips:  # once unmeasured: the first call pays for what later ones find ready
            decode(encode(sound[None], utterance.speaker))
        began = time.perf_counter()
        data = encode(sound[None], utterance.speaker)
        encoded = time.perf_counter()
        output = decode(data)
        decoded = time.perf_counter()
        reference, heard = (resample(x, rate, scoring_rate)[0] for x in (sound[None], np.asarray(output, np.float32)))
        group = groups[utterance.id] if groups else None
        score = score_file(utterance.id, reference, heard, scoring_rate, group=group)
        trips.append(RoundTrip(score, 8 * len(data), code_bits(data), encoded - began, decoded - encoded))
        if progress is not None:
            progress(i + 1, len(utterances))
    return trips


def rates(trips: Sequence[RoundTrip]) -> dict[str, Any]:
    """Totals over all utterances: `kbps` of whole files, `code_kbps` of the codes alone, real-time factors.

    A real-time factor is seconds of work per second of sound: below 1 is faster than real time.
    """
    seconds = sum(trip.score.seconds for trip in trips)
    return {
        "seconds": seconds,
        "kbps": sum(trip.file_bits for trip in trips) / seconds / 1000,
        "code_kbps": sum(trip.code_bits for trip in trips) / seconds / 1000,
        "encode_rtf": sum(trip.encode_seconds for trip in trips) / seconds,
        "decode_rtf": sum(trip.decode_seconds for trip in trips) / seconds,
    }
