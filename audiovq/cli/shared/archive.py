"""`encode` and `decode` with Kaldi's specifiers: `scp:` and `ark:` in place of files, utterances in place of names."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from audiovq.cli.shared.batch import exit_if_failed, process_jobs
from audiovq.cli.shared.progress import Progress
from audiovq.data.files import open_output
from audiovq.data.kaldi.archives import Specifier, read_archive, read_scp
from audiovq.data.kaldi.recording import as_waveform, read_recording
from audiovq.data.kaldi.utterance import cut_problem, parse_cut
from audiovq.data.tables import read_pairs, write_table
from audiovq.errors import BadAudioError, BadDataError, OutputError

if TYPE_CHECKING:
    from audiovq.codec import EncodedAudio, FileReport

Samples = tuple[Any, int]  # float32 [C, T], Hz
WriteCodes = Callable[[IO[bytes], "EncodedAudio"], int]
Encode = Callable[[str, Samples, Progress], "EncodedAudio"]  # utterance, sound, progress
Decode = Callable[[str, "EncodedAudio", Path, Progress], "FileReport"]  # utterance, codes, target, progress


@dataclass(frozen=True)
class Entry:
    """An utterance as a job's source; `value` is its sound (a call that reads it) or its codes."""

    id: str
    value: Any

    def __str__(self) -> str:
        return self.id


def specifier(text: str) -> Specifier | None:
    """`text` as a specifier, None if it is a plain file name; wrong usage if it is a mistaken one."""
    try:
        return Specifier.parse(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def read_map(path: Path | None) -> dict[str, str]:
    """A file such as utt2spk as {id: value}; empty without one."""
    return {} if path is None else read_pairs(path).values


def encode_entries(
    source: Specifier,
    target: str,
    encode: Encode,
    write_codes: WriteCodes,
    *,
    segments: Path | None,
    jobs: Callable[[int | None], int],
    allow_short: bool = False,
    force: bool,
    skip_existing: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Encode the utterances of an scp file or an archive of sound, into an archive of codes or files of a folder."""
    entries, total = _sounds(source, segments, allow_short)
    out = specifier(target)
    if out is None:
        folder = _output_folder(target)
        pairs = ((entry, _file_of(entry.id, folder, ".codes")) for entry in entries)
        seen = _Counted(pair for pair in pairs if not (skip_existing and pair[1].is_file()))
        count = jobs(total)
        failed = process_jobs(
            seen, _encode_to_file(encode, write_codes, force), total=total, jobs=count, quiet=quiet, debug=debug
        )
        exit_if_failed(failed, seen.count, "utterances")
        return
    if skip_existing:
        raise click.UsageError("--skip-existing is for files; an archive is written as a whole")
    from audiovq.bitstream.archive import CodesArchiveWriter
    from audiovq.codec.files import FileReport

    seconds, num_bytes = 0.0, 0
    with CodesArchiveWriter(out, force=force) as writer:

        def work(entry: Entry, _: str, progress: Progress) -> tuple[float, EncodedAudio, float]:
            began = time.perf_counter()
            waveform, rate = entry.value()
            return began, encode(entry.id, (waveform, rate), progress), waveform.shape[1] / rate

        def write(entry: Entry, _: str, result: tuple[float, EncodedAudio, float]) -> FileReport:
            nonlocal seconds, num_bytes
            began, encoded, length = result
            written = writer.write(entry.id, encoded.header, encoded.codes)
            seconds, num_bytes = seconds + length, num_bytes + written
            return FileReport(length, written, time.perf_counter() - began)

        seen = _Counted((entry, target) for entry in entries)
        count, shown = jobs(total), {"quiet": quiet, "debug": debug, "lines": False}
        failed = process_jobs(seen, work, total=total, jobs=count, finish=write, **shown)
        if failed == seen.count:
            raise BadDataError(f"{target}: nothing to write, {failed} of {seen.count} utterances failed")
    if not quiet:
        click.echo(f"{target}: {seen.count - failed} utterances, {seconds:.2f} s, {num_bytes} bytes of codes", err=True)
    exit_if_failed(failed, seen.count, "utterances")


def decode_entries(
    codes: Iterator[tuple[str, EncodedAudio]],
    target: str,
    decode: Decode,
    *,
    jobs: Callable[[EncodedAudio], int],
    force: bool,
    skip_existing: bool,
    quiet: bool,
    debug: bool,
) -> None:
    """Decode utterances to files of a folder, and list them in a wav.scp there."""
    folder = _output_folder(target)
    scp = folder / "wav.scp"
    if scp.exists() and not (force or skip_existing):
        raise OutputError(f"{scp}: exists already; use --force to overwrite it")
    first = next(codes, None)
    if first is None:
        raise BadDataError("no codes to decode: the archive is empty")
    done: dict[str, str] = {}

    def work(entry: Entry, path: Path, progress: Progress) -> FileReport:
        return decode(entry.id, entry.value, path, progress)

    def note(entry: Entry, path: Path, report: FileReport) -> FileReport:
        done[entry.id] = str(path)
        return report

    def pairs() -> Iterator[tuple[Entry, Path]]:
        for utterance, encoded in itertools.chain([first], codes):
            path = _file_of(utterance, folder, ".wav")
            if skip_existing and path.is_file():
                done[utterance] = str(path)
            else:
                yield Entry(utterance, encoded), path

    seen = _Counted(pairs())
    failed = process_jobs(seen, work, total=None, jobs=jobs(first[1]), finish=note, quiet=quiet, debug=debug)
    if done:
        write_table(scp, done)
    exit_if_failed(failed, seen.count, "utterances")


class _Counted:
    """Iterates over jobs and knows how many there were."""

    def __init__(self, jobs: Iterable[tuple[Entry, Any]]) -> None:
        self._jobs = jobs
        self.count = 0

    def __iter__(self) -> Iterator[tuple[Entry, Any]]:
        for job in self._jobs:
            self.count += 1
            yield job


def _sounds(source: Specifier, segments: Path | None, allow_short: bool) -> tuple[Iterator[Entry], int | None]:
    """Utterances with a call that reads each, and how many there are if that is known."""
    if source.scp is None:
        if segments is not None:
            raise click.UsageError("--segments cuts the recordings of an scp file; an archive has none")
        assert source.ark is not None
        sounds = ((key, value) for key, value in read_archive(source.ark, allow_short=allow_short))
        return (Entry(key, partial(as_waveform, value, key)) for key, value in sounds), None
    if source.ark is not None:
        raise click.UsageError("read from ark:FILE or from scp:FILE, not from both")
    wavs = read_scp(source.scp).values
    places: dict[str, tuple[str, float, float | None]] = {u: (u, 0.0, None) for u in wavs}
    if segments is not None:
        places = _cuts(segments, wavs)
    entries = [
        Entry(u, partial(read_recording, wavs[recording], start, end, allow_short=allow_short))
        for u, (recording, start, end) in places.items()
    ]
    if source.permissive:
        return _readable(entries), None
    return iter(entries), len(entries)


def _readable(entries: Iterable[Entry]) -> Iterator[Entry]:
    """As Kaldi's `scp,p:` has it: what can't be read is left out, with a warning."""
    for entry in entries:
        try:
            sound = entry.value()
        except BadAudioError as error:
            warnings.warn(f"{entry.id}: {error}; left out", stacklevel=2)
        else:
            yield Entry(entry.id, partial(_given, sound))


def _given(sound: Samples) -> Samples:
    return sound


def _cuts(segments: Path, wavs: dict[str, str]) -> dict[str, tuple[str, float, float | None]]:
    table = read_scp(str(segments))
    for utterance, row in table.rows.items():
        if what := cut_problem(utterance, row.value, wavs):
            table.problem(utterance, what)
    if table.problems:
        raise BadDataError(table.problems[0])
    cuts = {u: parse_cut(row.value) for u, row in table.rows.items()}
    return {u: (cut.recording, cut.start, cut.end) for u, cut in cuts.items() if cut is not None}


def _output_folder(target: str) -> Path:
    if target == "-":
        raise click.UsageError("many utterances can't all go to standard output as files; name a directory, or ark:-")
    if target.lstrip().startswith("|"):
        raise click.UsageError(f"{target}: is a command, not a directory; write 'ark:| COMMAND'")
    if Path(target).exists() and not Path(target).is_dir():
        raise OutputError(f"{target}: is a file; name a directory to hold a file for each utterance")
    return Path(target)


def _file_of(utterance: str, folder: Path, suffix: str) -> Path:
    if "/" in utterance or utterance.startswith("."):
        raise BadDataError(f"utterance {utterance}: its id can't be the name of a file; use an archive, or rename it")
    return folder / f"{utterance}{suffix}"


def _encode_to_file(
    encode: Encode, write_codes: WriteCodes, force: bool
) -> Callable[[Entry, Path, Progress], FileReport]:
    from audiovq.codec.files import FileReport

    def work(entry: Entry, path: Path, progress: Progress) -> FileReport:
        began = time.perf_counter()
        with open_output(path, force=force) as file:
            waveform, rate = entry.value()
            encoded = encode(entry.id, (waveform, rate), progress)
            num_bytes = write_codes(file, encoded)
        return FileReport(waveform.shape[1] / rate, num_bytes, time.perf_counter() - began)

    return work
