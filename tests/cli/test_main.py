"""The command as a whole: quick help, one line per error, exit codes 0, 1, 2 and 130."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

import audiovq
from audiovq.cli import main
from audiovq.errors import BadCodesError


def failing(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("fail", callback=fail)


@pytest.fixture
def fail_with(monkeypatch, run):
    def fail(error: BaseException, *options: str):
        monkeypatch.setattr(main.LazyGroup, "get_command", lambda *_: failing(error))
        return run(*options, "inspect")

    return fail


def test_help_lists_commands_that_are_there_without_importing_any(run):
    done = run("--help")
    assert done.exit_code == 0
    for name in ("encode", "decode", "convert", "inspect", "verify", "models", "demo"):
        assert f"\n  {name} " in done.stdout
    code = "import sys; from audiovq.cli.main import cli; cli(['--help'], standalone_mode=False); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "audiovq.cli.main" in modules
    assert not {"torch", "numpy", "audiovq.cli.encode"} & set(modules)


def test_a_command_whose_module_is_not_there_is_not_listed(run, monkeypatch):
    monkeypatch.setitem(main.COMMANDS, "dance", ("audiovq.cli.dance", "dance", "Dance."))
    assert "dance" not in run("--help").stdout
    assert run("dance").exit_code == 2


@pytest.mark.parametrize("command", ["encode", "decode", "convert", "inspect", "verify", "models", "demo"])
def test_every_command_has_help(run, command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert done.stdout.startswith("Usage:")


def test_version(run):
    assert run("--version").stdout == f"audiovq {audiovq.__version__}\n"


def test_an_error_of_ours_is_one_line_and_exit_1(fail_with):
    done = fail_with(BadCodesError("x.codes: is damaged;\n  fetch it again"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "audiovq: error: x.codes: is damaged; fetch it again\n"


def test_a_bug_is_one_line_too_and_says_how_to_see_more(fail_with):
    done = fail_with(KeyError("k"))
    assert done.exit_code == 1
    assert done.stderr == "audiovq: error: internal, KeyError: 'k' (audiovq --debug shows the traceback)\n"


def test_debug_lets_the_traceback_through(fail_with):
    error = BadCodesError("x")
    assert fail_with(error, "--debug").exception is error


def test_an_interrupt_exits_130(fail_with):
    done = fail_with(KeyboardInterrupt())
    assert (done.exit_code, done.stderr) == (130, "audiovq: interrupted\n")


@pytest.mark.parametrize(
    "args",
    [
        ["nonsense"],
        ["encode"],
        ["encode", "a.wav", "b.codes", "--bitrate", "fast"],
        ["encode", "a.wav", "b.codes", "--bitrate", "-1k"],
        ["encode", "a.wav", "b.codes", "--bitrate", "1k", "--num-quantizers", "1"],
        ["encode", "a.wav", "b.codes", "--device", "abacus"],
        ["decode", "a.codes", "b.wav", "--start", "-1"],
        ["convert", "a.wav", "b.wav"],
    ],
)
def test_wrong_usage_exits_2(run, args):
    done = run(*args)
    assert done.exit_code == 2
    assert "Error: " in done.stderr
