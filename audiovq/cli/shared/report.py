"""The lines that commands print on stderr: errors, warnings, and the result for each file."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path
from typing import Any, Protocol, TextIO

import click

import audiovq
from audiovq.errors import AudioVQError


class Report(Protocol):
    """What became of one file; `FileReport` and `ImageReport` are such."""

    @property
    def summary(self) -> str: ...

    @staticmethod
    def together(reports: Any, elapsed: float) -> str:
        """The same of several files that took so many seconds together."""


def error_line(error: Exception) -> str:
    """One line for the user; an error that is neither ours nor the system's is a bug, and is called one."""
    text = " ".join(str(error).split())
    if isinstance(error, AudioVQError | OSError):
        return f"audiovq: error: {text}"
    return f"audiovq: error: internal, {type(error).__name__}: {text} (audiovq --debug shows the traceback)"


def file_line(source: object, target: object, report: Report) -> str:
    """One line about a file that is done."""
    return f"{source} -> {target}: {report.summary}"


def show_own_warnings_only() -> None:
    """Warnings of this package become one line on stderr, under PYTHONWARNINGS=ignore too: they are about the user's
    files. Those of libraries are not the user's business.
    """
    package = str(Path(audiovq.__file__).resolve().parent)

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> Any:
        if str(Path(filename).resolve()).startswith(package):
            click.echo(f"audiovq: warning: {message}", err=True)

    warnings.showwarning = show
    warnings.filterwarnings("default", module=r"audiovq(\.|$)")


class _OnStderr(logging.Handler):
    """One line a record, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(f"audiovq: {record.getMessage()}", file=sys.stderr)


def show_notices(show: bool = True) -> None:
    """What the library logs, as that it compiles something now, becomes a line on stderr; or it does so no longer."""
    logger = logging.getLogger("audiovq")
    logger.setLevel(logging.INFO if show else logging.WARNING)
    if not any(isinstance(handler, _OnStderr) for handler in logger.handlers):
        logger.addHandler(_OnStderr())
