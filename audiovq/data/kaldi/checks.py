"""Checks of a Kaldi data directory: its tables must agree, and its audio must exist and match them.

Kaldi's own validator never opens the audio and passes malformed lines, and the libraries silently take the last of two
equal ids. Every check here notes `file:line: what is wrong` in the table that the line is in.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from audiovq.data.audio import mixdown_remark
from audiovq.data.kaldi.recording import Sound, check_recording, sample_range, segment_problem
from audiovq.data.kaldi.tables import keys_of
from audiovq.data.kaldi.utterance import Utterance, cut_problem
from audiovq.data.tables import BLANKS, Table
from audiovq.errors import AudioVQError, BadAudioError

REQUIRED = ("wav.scp", "utt2spk", "spk2utt")
_NUMBERS = {"utt2dur": "seconds", "reco2dur": "seconds", "utt2num_samples": "samples", "utt2num_frames": "frames"}


def check_tables(
    folder: Path,
    tables: Mapping[str, Table],
    *,
    require_text: bool = False,
    unused: bool = False,
    spk_sort: bool = False,
) -> list[str]:
    """Every problem of the tables, file by file, the required ones first.

    The options ask for more than reading needs: text for all, no recording without a segment, speakers in order.
    """
    missing = [f"{folder / name}: missing; every data directory needs it" for name in REQUIRED if name not in tables]
    if not missing:
        missing = [f"{folder / name}: empty" for name in REQUIRED if not tables[name].path.stat().st_size]
        _check_segments(tables, unused)
        _check_ids(tables)
        for name in _NUMBERS.keys() & tables.keys():
            _check_numbers(tables[name])
        if require_text and (text := tables.get("text")) is None:
            missing.append(f"{folder / 'text'}: missing; leave --require-text out if transcripts are not needed")
        elif require_text and text is not None:
            _check_complete(text, _listing(tables))
        _check_speakers(tables, spk_sort)
    rest = sorted(tables.keys() - set(REQUIRED))
    return missing + [p for name in (*REQUIRED, *rest) if name in tables for p in tables[name].problems]


def _listing(tables: Mapping[str, Table]) -> Table:
    """The file that says which utterances there are."""
    return tables.get("segments", tables["wav.scp"])


def _check_segments(tables: Mapping[str, Table], unused: bool) -> None:
    wavs, segments = tables["wav.scp"], tables.get("segments")
    if segments is None:
        return
    used = set()
    for utterance, row in segments.rows.items():
        used.add(BLANKS.split(row.value)[0])
        if what := cut_problem(utterance, row.value, wavs.rows):
            segments.problem(utterance, what)
    for recording in wavs.rows if unused and not segments.problems else ():
        if recording not in used:
            wavs.problem(recording, f"no segment is of recording {recording}; take it out")


def _check_ids(tables: Mapping[str, Table]) -> None:
    """Tables by utterance name the utterances, all of them but `text`; others may not name what there is not."""
    listing, utt2spk = _listing(tables), tables["utt2spk"]
    speakers = {row.value for row in utt2spk.rows.values()}
    for table in tables.values():
        if table is listing or table.name in ("wav.scp", "spk2utt"):
            continue
        kind = keys_of(table.name)
        whole, home = {
            "utterance": (listing.rows, listing.name),
            "recording": (tables["wav.scp"].rows, "wav.scp"),
            "speaker": (speakers, "utt2spk"),
        }[kind or "utterance"]
        for key in table.rows:
            if key not in whole:
                table.problem(key, f"{kind} {key} is not in {home}")
        if kind == "utterance" and table.name != "text":
            _check_complete(table, listing)
    for utterance, row in utt2spk.rows.items():
        if BLANKS.search(row.value):
            utt2spk.problem(utterance, "more than two fields; write <utterance> <speaker>")
    if genders := tables.get("spk2gender"):
        for speaker, row in genders.rows.items():
            if row.value not in ("m", "f"):
                genders.problem(speaker, f"gender of {speaker} is '{row.value}', it must be m or f")


def _check_complete(table: Table, listing: Table) -> None:
    what = "has no speaker in utt2spk" if table.name == "utt2spk" else f"is missing in {table.name}"
    for utterance in listing.rows:
        if utterance not in table.rows:
            listing.problem(utterance, f"utterance {utterance} {what}")


def _check_numbers(table: Table) -> None:
    for key, row in table.rows.items():
        if number_of(row.value) is None:
            table.problem(key, f"'{row.value}' for {key}; write its {_NUMBERS[table.name]}, a number above 0")


def number_of(value: str) -> float | None:
    """A finite number above 0, or None."""
    try:
        number = float(value)
    except ValueError:
        return None
    return number if 0 < number < math.inf else None


def _check_speakers(tables: Mapping[str, Table], spk_sort: bool) -> None:
    utt2spk, spk2utt = tables["utt2spk"], tables["spk2utt"]
    if not spk2utt.rows:
        return
    listed = set()
    for speaker, row in spk2utt.rows.items():
        for utterance in BLANKS.split(row.value):
            own = utt2spk.rows.get(utterance)
            if own is None or own.value != speaker or utterance in listed:
                spk2utt.problem(speaker, f"{speaker} lists {utterance}, unlike utt2spk; make spk2utt anew")
            listed.add(utterance)
    for utterance, own in utt2spk.rows.items():
        if utterance not in listed:
            utt2spk.problem(utterance, f"{utterance} of {own.value} is not in spk2utt; make spk2utt anew")
    if spk_sort:
        _check_speaker_order(utt2spk)


def _check_speaker_order(utt2spk: Table) -> None:
    """Kaldi wants one order of utterances that is also one of speakers; `84_1 84` and `840_1 840` have none."""
    before = ""
    for utterance, row in sorted(utt2spk.rows.items(), key=lambda item: item[0].encode()):
        if row.value.encode() < before.encode():
            mend = "begin ids with the speaker and '-', or use --no-spk-sort if no tool of Kaldi's follows"
            utt2spk.problem(utterance, f"{utterance} puts speaker {row.value} after {before}; {mend}")
            return  # one names the cause; the rest would follow from it
        before = row.value


# --- the audio ------------------------------------------------------------------------------------------------


def check_audio(
    utterances: Iterable[Utterance], tables: Mapping[str, Table], *, one_rate: bool
) -> tuple[list[str], dict[str, str]]:
    """Open every recording and run every pipe; warn of sound that is silent, or so in the mean of its channels.

    Returns the problems, those of the recordings first, and the utterances that can't be read, with the reason.
    """
    utterances = list(utterances)
    wavs = tables["wav.scp"]
    listing = tables.get("segments", wavs)
    sounds, remarks = _open_recordings(utterances)
    problems = _said_once({wavs.at(name): error for name, error in sounds.items() if isinstance(error, str)})
    if one_rate:
        problems += _rate_problems(wavs, {n: s.rate for n, s in sounds.items() if isinstance(s, Sound)})
    unreadable = {}
    for u in utterances:
        sound = sounds[u.recording_id]
        if isinstance(sound, str):
            unreadable[u.id] = sound
            continue
        if what := segment_problem(u.start, u.end, sound.num_samples / sound.rate):
            unreadable[u.id] = f"{u.id} {what}"
            problems.append(f"{listing.at(u.id)}: {unreadable[u.id]}")
            continue
        problems += _length_problems(u, sound, tables)
        try:
            remark = remarks[u.id] if u.id in remarks else mixdown_remark(u.read()[0])
        except BadAudioError as error:
            unreadable[u.id] = str(error)
            problems.append(f"{listing.at(u.id)}: {error}")
            continue
        if remark:
            warnings.warn(f"{listing.at(u.id)}: {u.id} {remark}", stacklevel=2)
    return problems, unreadable


def _open_recordings(utterances: Iterable[Utterance]) -> tuple[dict[str, Sound | str], dict[str, str | None]]:
    """By recording, its facts or why it can't be read; by utterance of one read whole, what is odd about its sound."""
    parts: dict[str, list[Utterance]] = {}
    for u in utterances:
        parts.setdefault(u.recording_id, []).append(u)
    sounds: dict[str, Sound | str] = {}
    remarks: dict[str, str | None] = {}
    for name, own in parts.items():
        try:
            sound, waveform = check_recording(own[0].recording)
        except AudioVQError as error:
            sounds[name] = str(error)
            continue
        sounds[name] = sound
        if waveform is not None:  # here and now: a command runs once
            for u in own:
                first, last = sample_range(u.start, u.end, sound.rate)
                remarks[u.id] = mixdown_remark(waveform[:, first:last])
    return sounds, remarks


def _said_once(errors: Mapping[str, str]) -> list[str]:
    """Errors by place, as problems; one that several places share, as that a library is missing, is said once."""
    places: dict[str, list[str]] = {}
    for place, error in errors.items():
        places.setdefault(error, []).append(place)
    return [
        f"{first}: {error}" + (f" (and {len(others)} more lines)" if others else "")
        for error, (first, *others) in places.items()
    ]


def _rate_problems(wavs: Table, rates: Mapping[str, int]) -> list[str]:
    if not rates:
        return []
    usual, count = max(Counter(rates.values()).items(), key=lambda item: (item[1], item[0]))
    mend = "resample it, or use --any-rate if what follows resamples (as packing does)"
    return [
        f"{wavs.at(name)}: {name} has {rate} Hz, unlike the {usual} Hz of {count} others; {mend}"
        for name, rate in rates.items()
        if rate != usual
    ]


def _length_problems(u: Utterance, sound: Sound, tables: Mapping[str, Table]) -> list[str]:
    """Whether the lengths that tables state are those of the audio."""
    first, last = sample_range(u.start, u.end, sound.rate)
    samples = min(sound.num_samples if last is None else last, sound.num_samples) - first
    found = []
    for name, key, actual, slack in (
        ("utt2num_samples", u.id, float(samples), 1.0 if u.is_segment else 0.0),
        ("utt2dur", u.id, samples / sound.rate, 0.05),
        ("reco2dur", u.recording_id, sound.num_samples / sound.rate, 0.05),
    ):
        table = tables.get(name)
        if table is None or key not in table.rows:
            continue
        stated = number_of(table.rows[key].value)
        if stated is not None and abs(stated - actual) > slack:
            found.append(f"{table.at(key)}: {stated:g} for {key}, but its audio has {actual:g}; make {name} anew")
    return found
