"""What the system may do to a command: signals that end it, and standard streams that are closed or break."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class EndedBySignalError(KeyboardInterrupt):
    """SIGTERM or SIGHUP: what an interrupt cleans up, these do too."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def ends_by_signals() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise `EndedBySignalError`, unless they are ignored (nohup) or somebody's already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != own:  # a forked worker: it ends as if nobody had asked
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        elif signal.getsignal(number) is end:  # else a library took it over, as Lightning does, and calls this too
            for other in taken:
                signal.signal(other, signal.SIG_IGN)  # nothing is to interrupt the cleaning up
            raise EndedBySignalError(number)

    taken = [number for number in _ENDING if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def lasting_streams() -> Iterator[None]:
    """Within, no message that can't be written stops the work, and file names of any bytes can be printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # else the first file opened would get this number, and messages of C libraries with it
            os.open(os.devnull, os.O_RDWR)
    before = sys.stderr
    sys.stderr = _Lasting(before)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        yield
    finally:
        sys.stderr = before


class _Lasting:
    """A text stream whose writes never fail for the place they go to; None stands for nowhere."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream if stream is not None else open(os.devnull, "w")  # noqa: SIM115 (ends with the process)

    def write(self, text: str) -> int:
        try:
            return int(self._stream.write(text))
        except (OSError, ValueError):  # a full disk, a reader that has gone, a closed stream
            return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
