"""What Kaldi's file names stand for: a file, `-`, a command to read from (`COMMAND |`) or to write into (`| COMMAND`).

Commands that files name (`wav.scp`) run as the user. `--no-pipes`, or AUDIOVQ_NO_PIPES=1, refuses them.
"""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from audiovq.data.files import atomic_output
from audiovq.data.standard import standard_input, standard_output
from audiovq.errors import BadAudioError, BadDataError, OutputError

NO_PIPES = "AUDIOVQ_NO_PIPES"
_SHELL = ("bash", "-o", "pipefail", "-c")  # any part of a pipeline that fails makes it fail


def is_pipe(name: str) -> bool:
    """Whether a name is a command to read from."""
    return name.rstrip().endswith("|")


def is_stream(name: str) -> bool:
    """Whether a name is no file: standard input or output, or a command."""
    return name == "-" or is_pipe(name) or name.startswith("|")


def pipes_refused() -> bool:
    """Whether commands that files name are refused."""
    return os.environ.get(NO_PIPES, "").strip().lower() not in ("", "0", "no", "false", "off")


def run_pipe(name: str) -> bytes:
    """The output of a command that a file names. Raises BadAudioError if commands are refused, or it fails."""
    command = _command(name)
    if pipes_refused():
        raise BadAudioError(f"a command in place of a file, which --no-pipes or {NO_PIPES} refuses")
    done = subprocess.run([*_SHELL, command], stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BadAudioError(f"'{command} |' failed with status {done.returncode}{': ' + said[-1] if said else ''}")
    return done.stdout


@contextmanager
def open_input(name: str) -> Iterator[io.BufferedReader]:
    """Open a name that the user gave. Raises BadDataError if it can't be opened, or if a command fails."""
    if name == "-":
        raw = standard_input()
        yield raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(raw)  # type: ignore[arg-type]
    elif is_pipe(name):
        command = _command(name)
        with subprocess.Popen([*_SHELL, command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert isinstance(process.stdout, io.BufferedReader)
            try:
                yield process.stdout
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise BadDataError(f"'{command} |' failed with status {process.returncode}")
    else:
        try:
            file = open(name, "rb")  # noqa: SIM115  (closed below; an error of the block is not one of opening)
        except OSError as error:
            raise BadDataError(f"{name}: can't be opened ({error.strerror}); check the name") from None
        with file:
            yield file


@contextmanager
def open_output(name: str, *, force: bool = False) -> Iterator[BinaryIO]:
    """Open a name to write to: a file appears whole at the end. Raises OutputError, also for a command that fails."""
    if name == "-":
        file = standard_output()
        yield file
        file.flush()
    elif name.startswith("|"):
        command = name[1:].strip()
        with subprocess.Popen([*_SHELL, command], stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            try:
                yield process.stdin  # type: ignore[misc]
                process.stdin.close()
            except BrokenPipeError:
                process.wait()
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0:
            raise OutputError(f"'| {command}' failed with status {process.returncode}")
    else:
        with atomic_output(name, force=force) as temporary, temporary.open("wb") as file:
            yield file


def _command(name: str) -> str:
    return name.rstrip().removesuffix("|").strip()
