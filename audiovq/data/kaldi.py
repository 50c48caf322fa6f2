"""Kaldi data directories (wav.scp, segments, utt2spk, spk2utt, text, spk2gender), read strictly and written sorted.

Kaldi's own validator passes missing audio and malformed lines, and the libraries take the last of two equal ids;
here each such thing is a BadDataError that names file and line. Order is bytewise (LC_ALL=C) whatever the locale.
"""

from __future__ import annotations

import io
import math
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from audiovq.data.audio import read_audio
from audiovq.data.files import atomic_output
from audiovq.errors import AudioVQError, BadAudioError, BadDataError

_BLANKS = re.compile(r"[ \t]+")
_OPTIONAL = ("segments", "text", "spk2gender")


@dataclass(frozen=True)
class Utterance:
    """One utterance: `recording` is a path (a relative one counts from the current folder) or a command ending in `|`.

    `start` and `end` are seconds in the recording; `end` None means its end. `recording_id` differs from `id`
    only where a `segments` file cuts recordings into utterances.
    """

    id: str
    speaker: str
    recording: str
    start: float = 0.0
    end: float | None = None
    text: str | None = None
    recording_id: str = ""

    @property
    def is_pipe(self) -> bool:
        return self.recording.endswith("|")

    @property
    def is_segment(self) -> bool:
        return self.start > 0 or self.end is not None or self.recording_id not in ("", self.id)

    def read(self) -> tuple[NDArray[np.float32], int]:
        """The utterance as float32 `[C, T]` and its rate in Hz; BadAudioError names utterance and recording."""
        try:
            if self.is_pipe:
                waveform, rate = _read_pipe(self.recording)
                return waveform[:, _sample(self.start, rate) :][:, : self._num_samples(rate)], rate
            if not self.is_segment:
                return read_audio(self.recording)
            rate = _rate_of(self.recording)
            return read_audio(self.recording, start=_sample(self.start, rate), num_samples=self._num_samples(rate))
        except BadAudioError as error:
            raise BadAudioError(f"utterance {self.id}: {error}") from None

    def _num_samples(self, rate: int) -> int | None:
        return None if self.end is None else _sample(self.end, rate) - _sample(self.start, rate)


@dataclass(frozen=True)
class DataDir:
    """The utterances of a data directory, sorted bytewise by id, and what is known of the speakers' gender (m or f)."""

    utterances: tuple[Utterance, ...]
    spk2gender: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def read(path: str | Path) -> DataDir:
        """Read and check a data directory (not its audio: see `validate`); BadDataError names file and line."""
        data, problems = _parse(Path(path))
        if problems:
            more = f" (and {len(problems) - 1} more problems)" if len(problems) > 1 else ""
            raise BadDataError(problems[0] + more)
        return data

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(sorted({u.speaker for u in self.utterances}, key=str.encode))

    def write(self, path: str | Path) -> None:
        """Write the directory's files, each atomically; the same data gives the same bytes. Makes the folder."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        utterances = sorted(self.utterances, key=lambda u: u.id.encode())
        spk2utt: dict[str, list[str]] = {}
        for u in utterances:
            spk2utt.setdefault(u.speaker, []).append(u.id)
        tables = {
            "wav.scp": {(u.recording_id or u.id): u.recording for u in utterances},
            "utt2spk": {u.id: u.speaker for u in utterances},
            "spk2utt": {speaker: " ".join(ids) for speaker, ids in spk2utt.items()},
            "text": {u.id: u.text for u in utterances if u.text is not None},
            "spk2gender": {s: g for s, g in self.spk2gender.items() if s in spk2utt},
            "segments": {},
        }
        if any(u.is_segment for u in utterances):
            tables["segments"] = {u.id: _segment_line(u) for u in utterances}
        for name, table in tables.items():
            if not table and name in _OPTIONAL:
                (path / name).unlink(missing_ok=True)  # else one of an earlier run would speak for this one
                continue
            lines = (f"{key} {table[key]}".rstrip(" ") + "\n" for key in sorted(table, key=str.encode))
            with atomic_output(path / name, force=True) as temporary:
                temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


def validate(path: str | Path, *, audio: bool = True) -> list[str]:
    """Every problem of a data directory as `file:line: what is wrong`, in order; empty if it is sound.

    `audio` also opens each recording's header, and runs each pipe; segments must end within their recording.
    """
    path = Path(path)
    data, problems = _parse(path)
    if audio and not problems:
        problems += _audio_problems(path, data)
    return problems


# --- the tables -------------------------------------------------------------------------------------------------


def _parse(path: Path) -> tuple[DataDir, list[str]]:
    problems: list[str] = []
    if not path.is_dir():
        return DataDir(()), [f"{path}: no such data directory; it should be a folder with wav.scp and utt2spk"]

    def table(name: str, required: bool, empty_value: bool = False) -> dict[str, tuple[int, str]]:
        return _read_table(path / name, required, empty_value, problems)

    wavs, utt2spk, spk2utt = table("wav.scp", True), table("utt2spk", True), table("spk2utt", True)
    texts, genders = table("text", False, empty_value=True), table("spk2gender", False)
    has_segments = (path / "segments").exists()
    segments = table("segments", False)
    cuts = {u: cut for u, (line, value) in segments.items() if (cut := _cut(path, u, line, value, wavs, problems))}

    utterance_ids: Iterable[str] = segments if has_segments else wavs
    listing = "segments" if has_segments else "wav.scp"
    for name, ids in (("utt2spk", utt2spk), ("text", texts)):
        problems += [
            f"{path / name}:{line}: utterance {u} is not in {listing}"
            for u, (line, _) in ids.items()
            if u not in (segments if has_segments else wavs)
        ]
    for speaker, (line, value) in genders.items():
        if value not in ("m", "f"):
            problems.append(f"{path / 'spk2gender'}:{line}: gender of {speaker} is '{value}', it must be m or f")
    utterances = []
    for u in utterance_ids:
        line = (segments if has_segments else wavs)[u][0]
        if u not in utt2spk:
            problems.append(f"{path / listing}:{line}: utterance {u} has no speaker in utt2spk")
        elif _BLANKS.search(utt2spk[u][1]):
            problems.append(f"{path / 'utt2spk'}:{utt2spk[u][0]}: more than two fields; write <utterance> <speaker>")
        elif u in cuts or not has_segments:
            recording_id, start, end = cuts.get(u, (u, 0.0, None))
            text = texts[u][1] if u in texts else None
            utterances.append(Utterance(u, utt2spk[u][1], wavs[recording_id][1], start, end, text, recording_id))
    if utt2spk and spk2utt:
        _compare_speakers(path, utt2spk, spk2utt, problems)
    return DataDir(tuple(utterances), {s: g for s, (_, g) in genders.items()}), problems


def _read_table(path: Path, required: bool, empty_value: bool, problems: list[str]) -> dict[str, tuple[int, str]]:
    """A file of `<id> <value>` lines as {id: (line number, value)}."""
    if not path.exists():
        if required:
            problems.append(f"{path}: missing; every data directory needs it")
        return {}
    try:
        content = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        problems.append(f"{path}: not UTF-8 at byte {error.start}; convert it")
        return {}
    if required and not content:
        problems.append(f"{path}: empty")
    if content and not content.endswith("\n"):
        problems.append(f"{path}:{content.count(chr(10)) + 1}: the last line has no newline; add one")
    rows: dict[str, tuple[int, str]] = {}
    previous = ""
    for number, row in enumerate(content.removesuffix("\n").split("\n") if content else [], start=1):
        fields = _BLANKS.split(row, maxsplit=1)
        key, value = fields[0], fields[1] if len(fields) > 1 else ""
        if row.endswith("\r"):
            problems.append(f"{path}:{number}: ends in a carriage return; convert the file to Unix line ends")
        elif not key or not (value or empty_value):
            problems.append(f"{path}:{number}: malformed line '{row[:60]}'; write <id> <value>")
        elif key in rows:
            problems.append(f"{path}:{number}: id {key} is on line {rows[key][0]} already; ids must be unique")
        else:
            if key.encode() < previous.encode():
                problems.append(f"{path}:{number}: {key} comes after {previous}; sort the file with LC_ALL=C sort")
            previous = key
            rows[key] = (number, value.rstrip(" \t"))
    return rows


def _cut(
    path: Path, utterance: str, line: int, value: str, wavs: Mapping[str, object], problems: list[str]
) -> tuple[str, float, float | None] | None:
    """A line of `segments` as (recording id, start, end); end -1 is the recording's end."""
    where = f"{path / 'segments'}:{line}"
    fields = _BLANKS.split(value)
    try:
        recording_id, start, end = fields[0], float(fields[1]), float(fields[2])
        if len(fields) != 3 or not (math.isfinite(start) and math.isfinite(end)):
            raise ValueError
    except (ValueError, IndexError):
        problems.append(f"{where}: malformed line for {utterance}; write <utterance> <recording> <start> <end>")
        return None
    if recording_id not in wavs:
        problems.append(f"{where}: recording {recording_id} is not in wav.scp")
    elif start < 0 or (end != -1 and end <= start):
        problems.append(f"{where}: {utterance} goes from {start:g} to {end:g} s; needed 0 <= start < end (or end -1)")
    else:
        return recording_id, start, None if end == -1 else end
    return None


def _compare_speakers(
    path: Path, utt2spk: dict[str, tuple[int, str]], spk2utt: dict[str, tuple[int, str]], problems: list[str]
) -> None:
    listed: dict[str, str] = {}
    for speaker, (line, value) in spk2utt.items():
        for u in _BLANKS.split(value):
            if u not in utt2spk or utt2spk[u][1] != speaker or u in listed:
                problems.append(f"{path / 'spk2utt'}:{line}: {speaker} lists {u}, unlike utt2spk; make spk2utt anew")
            listed[u] = speaker
    for u, (line, speaker) in utt2spk.items():
        if u not in listed:
            problems.append(f"{path / 'utt2spk'}:{line}: {u} of {speaker} is not in spk2utt; make spk2utt anew")


def _segment_line(u: Utterance) -> str:
    end = "-1" if u.end is None else f"{u.end:.6f}"
    return f"{u.recording_id or u.id} {u.start:.6f} {end}"


# --- the audio --------------------------------------------------------------------------------------------------


def _audio_problems(path: Path, data: DataDir) -> list[str]:
    lines = {n: {k: i for k, (i, _) in _read_table(path / n, False, True, []).items()} for n in ("wav.scp", "segments")}
    problems: list[str] = []
    seconds: dict[str, float | None] = {}
    for u in data.utterances:
        if u.recording_id not in seconds:
            try:
                seconds[u.recording_id] = _seconds_of(u.recording)
            except AudioVQError as error:
                problems.append(f"{path / 'wav.scp'}:{lines['wav.scp'][u.recording_id]}: {error}")
                seconds[u.recording_id] = None
        total = seconds[u.recording_id]
        # segments are often rounded to 10 ms, so an end may lie that much beyond
        if total is not None and max(u.start, (u.end or 0.0) - 0.01) > total:
            where = f"{path / 'segments'}:{lines['segments'][u.id]}"
            problems.append(f"{where}: {u.id} ends at {u.end or u.start:g} s, its recording has {total:.3f} s")
    return problems


def _seconds_of(recording: str) -> float:
    if recording.endswith("|"):
        waveform, rate = _read_pipe(recording)
        return waveform.shape[1] / rate
    read_audio(recording, num_samples=0)  # raises with the reason if it can't be opened
    info = soundfile.info(recording)
    return float(info.frames / info.samplerate)


def _rate_of(recording: str) -> int:
    return read_audio(recording, num_samples=0)[1]


def _sample(seconds: float, rate: int) -> int:
    return round(seconds * rate)


def _read_pipe(recording: str) -> tuple[NDArray[np.float32], int]:
    """Run the command of a wav.scp line; its exit status counts, as a command that dies midway leaves short audio."""
    command = recording.removesuffix("|").strip()
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BadAudioError(f"'{command} |' failed with status {done.returncode}{': ' + said[-1] if said else ''}")
    try:
        return read_audio(io.BytesIO(done.stdout))
    except BadAudioError as error:
        raise BadAudioError(f"'{command} |' gave no audio ({error})") from None
