"""Parts of a data directory: subsets of its utterances, and a split into equal jobs, as Kaldi's scripts make them.

Everything here is a pure function of the data: no random numbers, no locale, the same result on every machine.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from audiovq.data.kaldi.checks import number_of
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.recording import sound_of
from audiovq.data.kaldi.utterance import Utterance
from audiovq.data.tables import BLANKS
from audiovq.errors import BadDataError

T = TypeVar("T")
_SHUFFLE_SEED = 777


def keep(data: DataDir, ids: Collection[str]) -> DataDir:
    """Only the utterances of these ids; tables are cut down when the result is written."""
    wanted = frozenset(ids)
    return replace(data, utterances=tuple(u for u in data.utterances if u.id in wanted))


def of_speakers(data: DataDir, speakers: Iterable[str]) -> list[str]:
    """All utterances of these speakers."""
    wanted = set(speakers)
    return [u.id for u in data.utterances if u.speaker in wanted]


def first(data: DataDir, number: int) -> list[str]:
    """The first ones, in the order of their ids."""
    return [u.id for u in data.utterances[:number]]


def last(data: DataDir, number: int) -> list[str]:
    """The last ones."""
    return [u.id for u in data.utterances[-number:]]


def spread(data: DataDir, number: int) -> list[str]:
    """So many, evenly spread over all."""
    return [u.id for u in _spread(data.utterances, number)]


def shortest(data: DataDir, number: int) -> list[str]:
    """The shortest ones; of equal length, the first."""
    seconds = {u.id: _seconds(u, data) for u in data.utterances}
    return sorted(seconds, key=lambda i: (seconds[i], i.encode()))[:number]


def enough_speakers(data: DataDir, number: int) -> list[str]:
    """All utterances of speakers taken in a shuffled order (always the same) until there are at least so many."""
    speakers = list(data.speakers)
    random.Random(_SHUFFLE_SEED).shuffle(speakers)
    chosen: list[str] = []
    for speaker in speakers:
        if len(chosen) >= number:
            break
        chosen += of_speakers(data, [speaker])
    return chosen


def per_speaker(data: DataDir, number: int, which: str = "spread") -> list[str]:
    """So many of each speaker: "spread" evenly, the "first" or the "last"; a speaker with fewer gives all."""
    pick: dict[str, Callable[[Sequence[Utterance], int], Sequence[Utterance]]] = {
        "spread": _spread,
        "first": lambda utterances, n: utterances[:n],
        "last": lambda utterances, n: utterances[-n:],
    }
    return [u.id for utterances in _by_speaker(data).values() for u in pick[which](utterances, number)]


def read_list(path: str | Path) -> list[str]:
    """The first field of each line; BadDataError for a file that is missing, empty or not UTF-8."""
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadDataError(f"{path}: no list of ids that can be read ({error})") from None
    ids = [BLANKS.split(line.strip())[0] for line in lines if line.strip()]
    if not ids:
        raise BadDataError(f"{path}: lists nothing; write one id a line")
    return ids


def split(data: DataDir, parts: int, *, per_utterance: bool = False) -> list[DataDir]:
    """Parts of about equally many utterances, in order; speakers stay together unless `per_utterance`.

    Raises BadDataError if there are fewer speakers (utterances) than parts.
    """
    groups: list[list[Utterance]] = (
        [[u] for u in data.utterances] if per_utterance else list(_by_speaker(data).values())
    )
    if len(groups) < parts:
        what = "utterances" if per_utterance else "speakers (--per-utt splits within them)"
        raise BadDataError(f"{len(groups)} {what} can't be split into {parts} parts; ask for fewer")
    ends = list(itertools.accumulate(len(group) for group in groups))
    cuts = [0]  # groups in the parts before each one
    for k in range(1, parts):
        wanted = ends[-1] * k / parts
        i = bisect.bisect_left(ends, wanted)
        nearest = i + 1 if ends[i] + (ends[i - 1] if i else 0) <= 2 * wanted else i
        cuts.append(min(max(nearest, cuts[-1] + 1), len(groups) - (parts - k)))  # each part gets one at least
    cuts.append(len(groups))
    return [keep(data, [u.id for group in groups[a:b] for u in group]) for a, b in itertools.pairwise(cuts)]


def _spread(items: Sequence[T], number: int) -> list[T]:
    if number >= len(items):
        return list(items)
    return [items[k * len(items) // number] for k in range(number)]


def _by_speaker(data: DataDir) -> dict[str, list[Utterance]]:
    groups: dict[str, list[Utterance]] = {speaker: [] for speaker in data.speakers}
    for u in data.utterances:
        groups[u.speaker].append(u)
    return groups


def _seconds(u: Utterance, data: DataDir) -> float:
    """As its segment, `utt2dur` or the header of its recording says."""
    if u.end is not None:
        return u.end - u.start
    stated = number_of(data.tables.get("utt2dur", {}).get(u.id, ""))
    if stated is not None:
        return stated
    sound = sound_of(u.recording)
    return sound.num_samples / sound.rate - u.start
