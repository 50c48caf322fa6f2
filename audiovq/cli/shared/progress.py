"""Progress bars on a terminal, none in a pipe. They show samples per second of one channel at the model's rate."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[[int, int], None]  # (done, total)
DELAY = 1.0  # seconds before the bar of a single file: work that is done at once needs none


def in_samples(progress: Progress, hop_length: int) -> Progress:
    """What to give to a codec, which counts frames, so that `progress` hears of samples."""
    return lambda done, total: progress(done * hop_length, total * hop_length)


@contextmanager
def file_bar(quiet: bool) -> Iterator[Progress]:
    """The bar of a single file: samples done, their rate, and the time that is left."""
    with _tqdm(quiet, unit=" samples", unit_scale=True, delay=DELAY) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


@contextmanager
def step_bar(what: str, unit: str) -> Iterator[Progress]:
    """The bar of a work in steps, with its name."""
    with _tqdm(False, desc=what, unit=unit) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


class TreeBar:
    """The bar of many files: those done and the time that is left, and the rate of all that are at work together.

    Its methods may be called by several threads.

    Attributes:
        samples: done of all files together.
    """

    def __init__(self, files: int | None, quiet: bool) -> None:
        self._bar = _tqdm(quiet, total=files, unit="file", miniters=0)
        self._lock = threading.Lock()
        self.samples = 0
        self._began = time.perf_counter()

    def of_file(self) -> Progress:
        """A call for the progress of one more file, in samples."""
        before = 0

        def progress(done: int, total: int) -> None:
            nonlocal before
            with self._lock:
                self.samples += done - before
                before = done
                rate = self.samples / max(time.perf_counter() - self._began, 1e-9)
                self._bar.set_postfix_str(f"{rate:,.0f} samples/s", refresh=False)
                self._bar.update(0)

        return progress

    def file_done(self) -> None:
        """One file more."""
        with self._lock:
            self._bar.update()

    def write(self, line: str) -> None:
        """A line on stderr, above the bar."""
        with self._lock:
            self._bar.write(line, file=sys.stderr)

    def __enter__(self) -> TreeBar:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


def _tqdm(quiet: bool, **options: Any) -> Any:
    from tqdm import tqdm

    return tqdm(leave=False, disable=quiet or not sys.stderr.isatty(), **options)
