"""Bars on a terminal: samples per second and the time left; none in a pipe, none if quiet."""

from __future__ import annotations

import io
import sys
import threading
import time

import pytest

from audiovq.cli.shared.progress import TreeBar, file_bar, in_samples

TQDM_INTERVAL = 0.11  # seconds; it redraws no sooner


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def show_on(monkeypatch):
    """To be called in the test itself: between set-up and test pytest puts a stderr of its own in place."""

    def show(screen: io.StringIO) -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", screen)
        monkeypatch.setattr("audiovq.cli.shared.progress.DELAY", 0.0)
        return screen

    return show


def test_frames_are_counted_in_samples():
    seen = []
    in_samples(lambda *counts: seen.append(counts), 320)(3, 50)
    assert seen == [(960, 16000)]


def test_a_file_shows_its_samples_and_their_rate(show_on):
    terminal = show_on(Terminal())
    with file_bar(quiet=False) as progress:
        progress(16000, 64000)
        time.sleep(TQDM_INTERVAL)
        progress(48000, 64000)
    line = next(line for line in terminal.getvalue().split("\r") if "48.0k/64.0k" in line)
    assert " samples/s" in line
    assert "<00:" in line  # time left


def test_a_tree_shows_its_files_and_the_rate_of_all(show_on):
    terminal = show_on(Terminal())
    with TreeBar(3, quiet=False) as bar:

        def work(length: int) -> None:
            progress = bar.of_file()
            progress(length // 2, length)
            progress(length, length)
            bar.file_done()

        threads = [threading.Thread(target=work, args=(n,)) for n in (1000, 3000)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bar.samples == 4000
        time.sleep(TQDM_INTERVAL)
        bar.of_file()(0, 1000)
        bar.write("a line")
    assert "2/3" in terminal.getvalue()
    assert " samples/s]" in terminal.getvalue()
    assert "a line\n" in terminal.getvalue()


@pytest.mark.parametrize("quiet", [True, False])
def test_there_is_no_bar_in_a_pipe_and_none_if_quiet(show_on, quiet):
    screen = show_on(Terminal() if quiet else io.StringIO())
    with file_bar(quiet) as progress:
        progress(1, 2)
    with TreeBar(1, quiet) as bar:
        bar.of_file()(1, 2)
        bar.file_done()
    assert screen.getvalue() == ""
