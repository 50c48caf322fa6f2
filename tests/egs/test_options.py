"""Options of run.sh, and the shared shell scripts that recipes stand on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
set -euo pipefail
help_message="the help"
option_names="stage db_root flag train_args"
stage=-1 db_root="" flag=false train_args=""
. "$1"
shift
parse_options "$@"
printf '%s|' "$stage" "$db_root" "$flag" "$train_args"
"""


def parse(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", SCRIPT, "script", str(ROOT / "recipes" / "parse_options.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def run_recipe(recipe: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        [str(recipe / "run.sh"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        timeout=600,
    )


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], "-1||false||"),
        (["--stage", "3", "--db-root", "/a b"], "3|/a b|false||"),
        (["--stage=-1", "--db_root=x=y", "--flag=true"], "-1|x=y|true||"),
        (["--stage", "-1", "--db-root="], "-1||false||"),
        (["--train-args", "-o train.max_steps=3 --resume none"], "-1||false|-o train.max_steps=3 --resume none|"),
        (["--train-args", "--resume none"], "-1||false|--resume none|"),
        (["--stage", "1", "--stage", "2"], "2||false||"),
    ],
)
def test_options_are_read_in_every_spelling(arguments, values):
    done = parse(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (0, values, "")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--stag", "1"], "unknown option --stag"),
        (["--stag=1"], "unknown option --stag"),
        (["--path", "/x"], "unknown option --path"),
        (["--Stage", "1"], "unknown option --Stage"),
        (["--stage"], "option --stage needs a value"),
        (["--stage", "--db-root", "x"], "option --stage needs a value"),
        (["--stage", "two"], "option --stage needs a whole number, got 'two'"),
        (["--stage=1.5"], "option --stage needs a whole number"),
        (["--stage="], "option --stage needs a whole number"),
        (["--flag", "yes"], "option --flag needs true or false"),
        (["--stage", "1", "extra"], "unexpected argument extra"),
        (["-x"], "unexpected argument -x"),
    ],
)
def test_mistakes_end_with_2_the_reason_and_the_usage(arguments, reason):
    done = parse(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert reason in done.stderr.splitlines()[0]
    assert "the help" in done.stderr


def test_help_of_the_recipe_lists_the_stages(recipe):
    done = run_recipe(recipe, "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for stage in range(-1, 8):
        assert f"\n  {stage:2d}  " in done.stdout
    for option in ("--stage", "--stop-stage", "--db-root", "--nj", "--conf", "--tag", "--train-args", "--exp-dir"):
        assert f"\n  {option} " in done.stdout


@pytest.mark.parametrize("arguments", [["--stage", "x"], ["--nj"], ["--epochs", "3"], ["train"]])
def test_recipe_refuses_wrong_usage(recipe, arguments):
    done = run_recipe(recipe, *arguments)
    assert done.returncode == 2
    assert "Usage: ./run.sh" in done.stderr


def test_seats_of_later_stages_say_so_and_end_well(recipe):
    done = run_recipe(recipe, "--stage=5", "--stop_stage=6")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "stage 5: train a prior",
        "not there yet: the issue on priors brings it",
        "stage 6: sample from the prior",
        "not there yet: the issue on priors brings it",
    ]


def test_a_failing_stage_stops_the_recipe(recipe, tmp_path):
    folders = ["--data-dir", str(tmp_path / "data"), "--dump-dir", str(tmp_path / "dump")]
    done = run_recipe(recipe, "--db-root", str(tmp_path), *folders)
    assert done.returncode == 1
    assert "stage 0" in done.stdout
    assert "stage 1" not in done.stdout
    assert "recordings: no such folder" in done.stderr


def test_path_may_be_sourced_twice(recipe):
    command = f". {recipe}/path.sh; first=$PATH; . {recipe}/path.sh; [ $PATH = $first ] && echo $LC_ALL"
    assert subprocess.run(["bash", "-eu", "-c", command], capture_output=True, text=True).stdout == "C\n"


def run_local(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "recipes" / "run_local.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


def test_a_job_is_shown_and_logged_with_its_command_and_status(tmp_path):
    log = tmp_path / "deep" / "log"
    done = run_local("--gpu", "1", str(log), "echo", "two words", "here")
    assert (done.returncode, done.stdout) == (0, "two words here\n")
    lines = log.read_text().splitlines()
    assert lines[0] == "# echo two words here"
    assert lines[2] == "two words here"
    assert lines[-1].endswith("with status 0")


def test_parallel_jobs_have_their_own_logs_and_a_failed_one_is_shown(tmp_path):
    script = "echo job JOB; test JOB != 2"
    done = run_local("JOB=1:3", str(tmp_path / "x.JOB.log"), "bash", "-c", script)
    assert done.returncode == 1
    assert "1 of 3 failed" in done.stderr
    assert "job 2" in done.stderr
    assert done.stdout == ""
    assert [(tmp_path / f"x.{n}.log").read_text().count(f"job {n}\n") for n in (1, 2, 3)] == [1, 1, 1]


def test_a_failed_single_job_fails_and_usage_is_2(tmp_path):
    assert run_local(str(tmp_path / "log"), "false").returncode == 1
    assert run_local("JOB=1:2").returncode == 2


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shell_files_are_clean(recipe):
    files = [*recipe.glob("*.sh"), *(ROOT / "recipes").glob("*.sh")]
    assert len(files) >= 5
    done = subprocess.run(["shellcheck", *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
