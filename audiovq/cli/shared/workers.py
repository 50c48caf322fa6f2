"""Jobs shared among processes, one thread each: forked from a parent that has loaded the model, which they share.

They send what they have to say to the parent: progress, warnings, notices, results. A job that fails, or whose process
is killed, does not stop the others. When the parent stops, of an interrupt or of an error, they end and clean up.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable
from multiprocessing.connection import Connection, wait
from types import FrameType, TracebackType
from typing import Any, TextIO

from audiovq.cli.shared.progress import Progress

Job = tuple[Any, Any]  # source, target
JobWork = Callable[[Any, Any, Progress], Any]
CAN_FORK = sys.platform == "linux"  # elsewhere libraries do not survive it
_AHEAD = 4  # times as many jobs are taken as there are processes: memory does not grow with the jobs of a slow one
_PATIENCE = 20.0  # seconds that a process has for cleaning up
_WARNED: dict[Any, Any] = {}
_LOOK = 1.0  # seconds between looks whether the parent is still there


class Workers:
    """Processes for a `with` block, on leaving which they end.

    Args:
        work: done by them with source, target and a call for progress.
        count: how many.
    """

    def __init__(self, work: JobWork, count: int) -> None:
        self._work = work
        self._workers = [_Worker(work) for _ in range(count)]

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()

    def run(self, jobs: Iterable[Job], progress: Callable[[], Progress]) -> Generator[tuple[Job, Any]]:
        """Every job with its result, or the exception that it raised, in their order.

        progress: called for each job; what it gives hears of the progress.
        """
        numbered = enumerate(jobs)
        done: dict[int, tuple[Job, Any]] = {}
        idle, busy = deque(self._workers), dict[Connection, _Worker]()
        given = out = 0
        while True:
            while idle and given < out + _AHEAD * len(self._workers) and (item := next(numbered, None)) is not None:
                given += 1
                worker = idle.popleft()
                if not worker.process.is_alive():
                    worker = self._another(worker)
                if (problem := worker.give(*item, progress())) is None:
                    busy[worker.connection] = worker
                else:
                    done[item[0]] = item[1], problem
                    idle.append(worker)
            if not busy and not done:
                return
            for connection in wait(list(busy)) if busy else []:
                worker = busy[connection]  # type: ignore[index]
                if worker.listen():
                    done[worker.number] = worker.job, worker.result
                    del busy[worker.connection]
                    idle.append(worker)
            while out in done:
                yield done.pop(out)
                out += 1

    def _another(self, dead: _Worker) -> _Worker:
        dead.end()
        new = _Worker(self._work)
        self._workers[self._workers.index(dead)] = new
        return new


class _Worker:
    """One process, as the parent sees it."""

    def __init__(self, work: JobWork) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, work, os.getpid()), daemon=True)
        self.process.start()
        theirs.close()
        self.number = -1
        self.job: Job = (None, None)
        self.result: Any = None

    def give(self, number: int, job: Job, progress: Progress) -> Exception | None:
        """Hand it a job; an error if that can't be sent."""
        self.number, self.job, self._progress = number, job, progress
        try:
            self.connection.send(job)
        except Exception as error:
            return error
        return None

    def listen(self) -> bool:
        """Take one message; whether it was that the job is done, and `result` is there."""
        try:
            kind, *what = self.connection.recv()
        except (EOFError, OSError):
            self.process.join(_PATIENCE)
            self.result = ChildProcessError(f"{self.job[0]}: {self._death()}; the others go on")
            return True
        if kind == "progress":
            self._progress(*what)
        elif kind == "warning":
            message, category, filename, lineno, module = what
            warnings.warn_explicit(message, category, filename, lineno, module, registry=_WARNED)
        elif kind == "notice":
            logging.getLogger("audiovq").info(*what)
        else:
            self.result = what[0]
        return bool(kind == "done")

    def _death(self) -> str:
        status = self.process.exitcode or 0
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        hint = " (out of memory? take fewer --jobs)" if status == -signal.SIGKILL else ""
        return f"its process ended with {how}{hint}"

    def end(self) -> None:
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


def _serve(connection: Connection, work: JobWork, parent: int) -> None:
    """What a process does: jobs, until it is told to end, or nobody is there any more who could tell."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is to interrupt the cleaning up
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    for number in (signal.SIGINT, signal.SIGHUP):  # a terminal sends them to all: the parent decides
        signal.signal(number, signal.SIG_IGN)
    _say_to(connection)
    _take_one_thread()

    def progress(done: int, total: int) -> None:
        if os.getppid() != parent:
            raise KeyboardInterrupt
        connection.send(("progress", done, total))

    try:
        while os.getppid() == parent:
            if connection.poll(_LOOK):
                connection.send(("done", _result(work, connection.recv(), progress)))
    except (KeyboardInterrupt, EOFError, OSError):
        pass


def _result(work: JobWork, job: Job, progress: Progress) -> Any:
    """What the work gives, or the exception: those of libraries, which may not be fit to be sent, by their words."""
    try:
        return work(*job, progress)
    except Exception as error:
        own = type(error).__module__ in ("builtins", "audiovq.errors")
        sent = error if own else RuntimeError(f"{type(error).__name__}: {error}")
        sent.add_note("".join(traceback.format_exception(error)))
        return sent


def _say_to(connection: Connection) -> None:
    """Send warnings and what is logged to the parent, which shows each once, and not in the midst of its bar."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        module = next((name for name, m in sys.modules.items() if getattr(m, "__file__", None) == filename), None)
        connection.send(("warning", str(message), category, filename, lineno, module))

    class Sender(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            connection.send(("notice", record.getMessage()))

    warnings.showwarning = show
    logging.getLogger("audiovq").handlers = [Sender()]


def _take_one_thread() -> None:
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)
