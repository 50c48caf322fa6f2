"""Jobs shared among processes: in order, none lost, none in the way of others, and none left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import pytest

from audiovq.cli.shared.batch import cores, jobs_for
from audiovq.cli.shared.workers import CAN_FORK, Workers
from audiovq.errors import BadAudioError

pytestmark = pytest.mark.skipif(not CAN_FORK, reason="processes are forked on Linux alone")


def silent() -> object:
    return lambda done, total: None


def run(work, jobs, count: int = 2) -> list:
    with Workers(work, count) as workers:
        return list(workers.run(jobs, silent))


def test_results_come_in_the_order_of_the_jobs_and_from_several_processes():
    def work(source, target, progress):
        time.sleep(0.1 if source % 2 else 0.0)
        return source * 10, os.getpid()

    results = run(work, ((k, "x") for k in range(9)), 3)
    assert [(job, result[0]) for job, result in results] == [((k, "x"), 10 * k) for k in range(9)]
    pids = {result[1] for _, result in results}
    assert len(pids) == 3
    assert os.getpid() not in pids


def test_an_error_is_the_result_of_its_job_alone():
    class LocalError(Exception):  # can't be sent
        pass

    def work(source, target, progress):
        if source == 1:
            raise BadAudioError("a.wav: not audio")
        if source == 2:
            raise LocalError("odd")
        return source

    results = [result for _, result in run(work, ((k, "x") for k in range(4)))]
    assert (results[0], results[3]) == (0, 3)
    assert isinstance(results[1], BadAudioError)
    assert str(results[1]) == "a.wav: not audio"
    assert "in work" in results[1].__notes__[0]  # where, for --debug
    assert isinstance(results[2], RuntimeError)
    assert "LocalError: odd" in str(results[2])


@pytest.mark.parametrize("count", [1, 2])
def test_a_process_that_is_killed_costs_its_job_alone(count):
    def work(source, target, progress):
        if source == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return source

    results = [result for _, result in run(work, ((k, "x") for k in range(6)), count)]
    assert isinstance(results[1], ChildProcessError)
    assert "1: its process ended with signal SIGKILL (out of memory?" in str(results[1])
    assert results[:1] + results[2:] == [0, 2, 3, 4, 5]


def test_what_cannot_be_sent_is_an_error_of_its_job():
    results = [result for _, result in run(lambda source, target, progress: 7, [(lambda: 1, "x"), (2, "x")])]
    assert isinstance(results[0], Exception)
    assert results[1] == 7


def test_progress_and_warnings_reach_the_parent():
    seen = []

    def work(source, target, progress):
        progress(source, 10)
        warnings.warn(f"{source} is odd", stacklevel=1)

    with pytest.warns(UserWarning, match="2 is odd") as said, Workers(work, 2) as workers:
        assert len(list(workers.run([(1, "x"), (2, "x")], lambda: lambda *counts: seen.append(counts)))) == 2
    assert sorted(str(one.message) for one in said) == ["1 is odd", "2 is odd"]
    assert sorted(seen) == [(1, 10), (2, 10)]


def test_few_jobs_are_taken_ahead_of_a_slow_one():
    taken = []

    def jobs():
        for k in range(100):
            taken.append(k)
            yield k, "x"

    def work(source, target, progress):
        time.sleep(1.0 if source == 0 else 0.0)

    with Workers(work, 2) as workers:
        for _ in workers.run(jobs(), silent):
            break
    assert len(taken) < 20


def test_leaving_ends_the_processes_and_what_they_do_is_cleaned_up(tmp_path):
    def work(source, target, progress):
        mark = tmp_path / f"half-{source}"
        mark.touch()
        try:
            while len(list(tmp_path.iterdir())) < 2:
                time.sleep(0.01)
            progress(0, 1)
            time.sleep(60)
        finally:
            mark.unlink()

    def interrupt(done, total):  # in the parent, as Ctrl-C does
        raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Workers(work, 2) as workers:
        for _ in workers.run([(1, "x"), (2, "x")], lambda: interrupt):
            pass
    assert time.monotonic() - began < 30
    assert list(tmp_path.iterdir()) == []
    assert multiprocessing.active_children() == []


PARENT = """
import os, sys, time
from audiovq.cli.shared.workers import Workers
def work(source, target, progress):
    print(os.getpid(), flush=True)
    for k in range(600):
        progress(k, 600)
        time.sleep(0.1)
with Workers(work, 2) as workers:
    list(workers.run([(1, "x")], lambda: lambda done, total: None))
"""


def test_no_process_outlives_a_parent_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        assert len(children) == 2
        parent.kill()
        parent.stdout.read()  # until the last of them has gone
    for _ in range(100):
        if not any(Path(f"/proc/{pid}").exists() for pid in children):
            break
        time.sleep(0.1)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_how_many_processes_there_are(monkeypatch):
    monkeypatch.setattr("audiovq.cli.shared.batch.cores", lambda: 4)
    given = {"jobs": None, "threads": None, "device": "cpu", "one_core": False}
    assert [jobs_for(files, **given) for files in (0, 1, 3, 4, 100, None)] == [1, 1, 1, 4, 4, 4]
    assert [jobs_for(files, **given | {"one_core": True}) for files in (1, 3, 100)] == [1, 3, 4]
    assert jobs_for(100, **given | {"threads": 1}) == 1
    assert jobs_for(100, **given | {"device": "cuda"}) == 1
    assert [jobs_for(files, **given | {"jobs": 6}) for files in (1, 100, None)] == [1, 6, 6]
    assert cores() >= 1
    for wrong in ({"device": "cuda"}, {"threads": 2}):
        with pytest.raises(click.UsageError):
            jobs_for(100, **given | {"jobs": 2} | wrong)
