"""The inputs of `encode` and `decode`: one file, a directory tree that is mirrored into another, or a pipe."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, BinaryIO

import click

from audiovq.cli.shared.progress import Progress, TreeBar, file_bar
from audiovq.cli.shared.report import Report, error_line, file_line, show_notices
from audiovq.cli.shared.workers import CAN_FORK, Job, JobWork, Workers
from audiovq.data.files import refuse_input
from audiovq.data.standard import standard_input, standard_output
from audiovq.data.walk import walk
from audiovq.errors import AudioVQError, BadAudioError, BadCodesError, BadDataError, OutputError

File = Path | BinaryIO
Work = Callable[[File, File, Progress], Report]
_NAMED = 20  # files that share an error, by name


def process(
    source: str,
    target: str,
    work: Work,
    *,
    suffixes: Iterable[str],
    new_suffix: str,
    quiet: bool,
    debug: bool,
    skip_existing: bool = False,
    jobs: Callable[[list[Path]], int] = lambda sources: 1,
) -> None:
    """Run `work` on every file that `source` stands for, and print a line about each.

    Args:
        source: a file, a directory, or `-` for standard input.
        target: where it goes: a file (or a directory to put it into), a directory for a tree, `-` for standard output.
        work: does one file, and calls its third argument with the samples done and their total as it goes.
        suffixes: files of a tree to take; others are skipped.
        new_suffix: of the files written into a directory.
        quiet: no line about a file that is done, and no bar.
        debug: let the first error through.
        skip_existing: what is there already is done: files appear whole or not at all.
        jobs: told the files of a tree, says how many processes are to work on them. What is written and printed does
            not depend on it.

    A file of a tree that fails is named on stderr and does not stop the others; the exit code is 1 then, and also where
    a link leads nowhere or a folder can't be read.
    """
    show_notices(not quiet)
    if skip_existing and click.get_current_context().params.get("force"):
        raise click.UsageError("--force writes anew what --skip-existing leaves; give one of them")
    if source == "-" or not os.path.isdir(source):
        _process_one(source, target, work, new_suffix, quiet, skip_existing)
        return
    if target == "-":
        raise click.UsageError(f"{source} is a directory: its files can't all go to standard output; name a directory")
    pairs, problems = plan_tree(Path(source), Path(target), suffixes, new_suffix)
    for problem in problems:
        click.echo(f"audiovq: error: {problem}", err=True)
    total = len(pairs) + len(problems)
    if skip_existing:
        pairs = without_done(pairs, quiet=quiet)
    count = jobs([source for source, _ in pairs])
    failed = process_jobs(pairs, work, total=len(pairs), jobs=count, quiet=quiet, debug=debug)
    exit_if_failed(failed + len(problems), total)


def without_done(jobs: list[Job], *, quiet: bool) -> list[Job]:
    """Those whose target is not there yet."""
    rest = [job for job in jobs if not job[1].is_file()]
    if len(rest) < len(jobs) and not quiet:
        click.echo(f"audiovq: {len(jobs) - len(rest)} of {len(jobs)} are done already and skipped", err=True)
    return rest


def plan_tree(
    source: Path, target: Path, suffixes: Iterable[str], new_suffix: str
) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Pairs of input and output for the files under `source`, in order, and a line for each thing that is amiss there.

    Raises:
        BadAudioError, BadCodesError, BadDataError: nothing there to do.
        OutputError: `target` is a file, or two inputs would become one output.
    """
    suffixes = tuple(suffixes)
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: is a file; name a directory to hold what {source} becomes")
    tree = walk(source, suffixes)
    if not tree.files and not tree.problems:
        kinds: dict[str, type[AudioVQError]] = {".codes": BadCodesError, ".wav": BadAudioError}
        error = next((kinds[suffix] for suffix in suffixes if suffix in kinds), BadDataError)
        raise error(f"{source}: holds no file that ends in {', '.join(suffixes)}; check the path")
    origin: dict[Path, Path] = {}
    inner = _inside(target, source)
    for path in tree.files:
        if inner and path.relative_to(source).parts[: len(inner)] == inner:
            continue  # what an earlier run wrote
        output = (target / path.relative_to(source)).with_suffix(new_suffix)
        if output in origin:
            raise OutputError(f"{output}: both {origin[output]} and {path} would become it; rename one of them")
        origin[output] = path
    return [(path, output) for output, path in origin.items()], tree.problems


def _inside(target: Path, source: Path) -> tuple[str, ...]:
    """The way from the folder `source` to `target`; nothing if it lies elsewhere, or is the same."""
    try:
        return target.resolve().relative_to(source.resolve()).parts
    except (ValueError, OSError, RuntimeError):
        return ()


def input_file(name: str) -> File:
    """A path, or standard input for `-`, or a FIFO (`<(COMMAND)`) opened as that is."""
    if name == "-":
        return standard_input()
    path = Path(name)
    with contextlib.suppress(OSError, ValueError):  # whoever opens the path says what is wrong with it
        if path.is_fifo() or path.is_char_device():
            return path.open("rb")
    return path


def output_file(name: str, source: str, new_suffix: str) -> File:
    """A path, standard output for `-`, or a place in the directory `name`."""
    if name == "-":
        return standard_output()
    if name.lstrip().startswith("|"):
        raise click.UsageError(f"{name}: is a command, not a file; write to - and pipe that, or to 'ark:| COMMAND'")
    path = Path(name)
    if os.path.isdir(path) and source != "-":
        return path / Path(source).with_suffix(new_suffix).name
    return path


def _process_one(source: str, target: str, work: Work, new_suffix: str, quiet: bool, skip_existing: bool) -> None:
    output = output_file(target, source, new_suffix)
    if skip_existing and isinstance(output, Path) and not without_done([(source, output)], quiet=quiet):
        return
    with file_bar(quiet) as progress:
        try:
            if source != "-":
                refuse_input(source, output)
            report = work(input_file(source), output, progress)
        except AudioVQError as error:
            raise _naming_the_file(error, source, target) from error
    if not isinstance(output, Path):
        output.flush()
    if not quiet:
        click.echo(file_line(source, output if isinstance(output, Path) else target, report), err=True)


def process_jobs(
    pairs: Iterable[Job],
    work: JobWork,
    *,
    total: int | None,
    jobs: int,
    quiet: bool,
    debug: bool,
    lines: bool = True,
    finish: Callable[[Any, Any, Any], Report] = lambda source, target, result: result,
) -> int:
    """Run `work` on every pair, name those that fail on stderr, and return how many did.

    An error that several share to the letter is said once, and once more with their number and some of their names.

    Args:
        pairs: of source and target, as `str` should show them. They are taken one by one, a few ahead of the work.
        work: gives a report, or what `finish` makes one of. More than one process send it, so it can be pickled.
        total: number of pairs, if it is known.
        jobs: processes, of one thread each; with 1 this one does it all.
        lines: print a line about each that is done, and one about all, unless `quiet`.
        finish: called in this process and in order with source, target and what `work` gave.
    """
    failed = 0
    said: dict[str, list[str]] = {}  # errors to the letter, and where else they came up
    reports: list[Report] = []
    began = time.perf_counter()
    with ExitStack() as stack:
        workers = stack.enter_context(Workers(_prepared(work), jobs)) if jobs > 1 else None  # before the bar's thread
        bar = stack.enter_context(TreeBar(total, quiet))
        results = workers.run(pairs, bar.of_file) if workers else _one_by_one(pairs, _prepared(work), bar)
        for (source, target), outcome in stack.enter_context(closing(results)):
            bar.file_done()
            try:
                if isinstance(outcome, Exception):
                    raise outcome
                reports.append(report := finish(source, target, outcome))
            except Exception as error:
                if debug:
                    raise
                failed += 1
                if str(error) in said:
                    said[str(error)].append(str(source))
                else:
                    said[str(error)] = []
                    bar.write(error_line(_naming_the_file(error, source, target)))
            else:
                if lines and not quiet:
                    bar.write(file_line(source, target, report))
        for text, others in said.items():
            if others:
                some = ", ".join(others[:_NAMED]) + (", ..." if len(others) > _NAMED else "")
                bar.write(f"audiovq: error: the same of {len(others)} more ({some}): {' '.join(text.split())}")
    if lines and not quiet and len(reports) > 1:
        click.echo(f"{len(reports)} files: {reports[0].together(reports, time.perf_counter() - began)}", err=True)
    return failed


def jobs_for(files: int | None, *, jobs: int | None, threads: int | None, device: str, one_core: bool) -> int:
    """How many processes are to work on so many files (None: not known).

    Short files keep no more than one core busy, and threads that wait for each other make them slower. So there is a
    process for each core, unless there are too few files for that.

    Args:
        jobs, threads: as asked for.
        device: cpu, or another one, which processes don't share well.
        one_core: whether a file keeps but one core busy however long it is: an autoregressive decoder.

    Raises UsageError for several jobs where there can't be any.
    """
    if (jobs or 1) > 1 and not (CAN_FORK and device == "cpu"):
        raise click.UsageError("--jobs beyond 1 needs Linux and --device cpu")
    if (jobs or 1) > 1 and (threads or 1) > 1:
        raise click.UsageError("each of several --jobs has one thread; leave --threads out")
    most = files if files is not None else jobs or cores()
    if jobs is not None or not CAN_FORK or device != "cpu" or threads is not None:
        return max(1, min(jobs or 1, most))
    return min(cores(), most) if one_core or most >= cores() else 1


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def exit_if_failed(failed: int, total: int, what: str = "files") -> None:
    """End with exit code 1 and a line that says how many failed."""
    if failed:
        click.echo(f"audiovq: error: {failed} of {total} {what} failed", err=True)
        raise click.exceptions.Exit(1)


def _one_by_one(pairs: Iterable[Job], work: JobWork, bar: TreeBar) -> Generator[tuple[Job, Any]]:
    for source, target in pairs:
        try:
            yield (source, target), work(source, target, bar.of_file())
        except Exception as error:
            yield (source, target), error


def _prepared(work: JobWork) -> JobWork:
    """`work`, in a folder that is there, and never on its own input."""

    def one(source: Any, target: Any, progress: Progress) -> Any:
        if isinstance(target, Path):
            refuse_input(source, target)
            target.parent.mkdir(parents=True, exist_ok=True)
        return work(source, target, progress)

    return one


def _naming_the_file(error: Exception, source: object, target: object) -> Exception:
    """The error with the file before its message, where that does not name it yet."""
    if isinstance(error, AudioVQError) and not any(str(name) in str(error) for name in (source, target)):
        return type(error)(f"{source}: {error}")
    return error
