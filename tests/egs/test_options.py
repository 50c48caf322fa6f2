"""Options of run.sh, in every recipe."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELLCHECK = shutil.which("shellcheck", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
SCRIPT = """
set -euo pipefail
help_message="the help"
option_names="stage db_root
flag train_args nj seconds"
option_aliases="n_jobs=nj"
stage=-1 db_root="" flag=false train_args="" nj=2 seconds=0.5
. "$1"
shift
parse_options "$@"
printf '%s|' "$stage" "$db_root" "$flag" "$train_args" "$nj" "$seconds"
"""


def parse(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", SCRIPT, "script", str(ROOT / "recipes" / "parse_options.sh"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ([], "-1||false||2|0.5|"),
        (["--stage", "3", "--db-root", "/a b"], "3|/a b|false||2|0.5|"),
        (["--stage=-1", "--db_root=x=y", "--flag=true"], "-1|x=y|true||2|0.5|"),
        (["--stage", "-1", "--db-root="], "-1||false||2|0.5|"),
        (["--train-args", "-o train.max_steps=3 --resume none"], "-1||false|-o train.max_steps=3 --resume none|2|0.5|"),
        (["--train-args", "--resume none"], "-1||false|--resume none|2|0.5|"),
        (["--stage", "1", "--stage", "2"], "2||false||2|0.5|"),
        (["--n-jobs", "7"], "-1||false||7|0.5|"),
        (["--n_jobs=8", "--seconds", "3"], "-1||false||8|3|"),
        (["--seconds=.25"], "-1||false||2|.25|"),
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
        (["--stage", "--n-jobs", "2"], "option --stage needs a value"),
        (["--stage", "two"], "option --stage needs a whole number, got 'two'"),
        (["--stage=1.5"], "option --stage needs a whole number"),
        (["--stage="], "option --stage needs a whole number"),
        (["--n-jobs=many"], "option --n-jobs needs a whole number"),
        (["--seconds=long"], "option --seconds needs a number, got 'long'"),
        (["--seconds", "."], "option --seconds needs a number"),
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


def test_help_of_every_recipe_lists_stages_and_options(recipes, run_recipe):
    assert len(recipes) >= 5
    for recipe in recipes:
        done = run_recipe(recipe, "--help")
        assert done.stderr == ""
        for stage in range(-1, 8):
            assert f"\n  {stage:2d}  " in done.stdout
        names = (
            "stage stop-stage nj ngpu num-nodes conf train-args tag db-root download-dir data-dir dump-dir exp-dir fs"
        )
        for option in [*names.split(), "min-duration", "max-duration", "resume", "checkpoint", "pack"]:
            assert f"\n  --{option} " in done.stdout, (recipe, option)
        assert all(len(line) < 125 for line in done.stdout.splitlines())


def test_recipes_differ_in_local_and_conf_only(recipes):
    for name in ("run.sh", "path.sh", "cmd.sh", "db.sh"):
        assert len({(recipe / name).read_text() for recipe in recipes}) == 1, name
    for recipe in recipes:
        assert {p.name for p in recipe.iterdir()} >= {"README.md", "RESULTS.md", "conf", "local"}


@pytest.mark.parametrize(
    "arguments",
    [["--stage", "x"], ["--nj"], ["--epochs", "3"], ["train"], ["--conf=conf/none.yaml"], ["--num-nodes=2"]],
)
def test_recipe_refuses_wrong_usage(vctk, run_recipe, arguments):
    done = run_recipe(vctk, *arguments, status=2)
    assert "Usage: ./run.sh" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("stage", [5, 6])
def test_stages_of_priors_say_what_has_to_be_there_first(vctk, run_recipe, tmp_path, stage):
    done = run_recipe(vctk, f"--stage={stage}", f"--stop_stage={stage}", f"--exp-dir={tmp_path}", status=1)
    assert f"{tmp_path}/vqvae_25hz/models/best/config.json is missing; run stage 2 first" in done.stderr


def test_a_failing_stage_stops_the_recipe(recipes, run_recipe, tmp_path):
    fsdd = next(recipe for recipe in recipes if recipe.parent.name == "fsdd")
    folders = ["--data-dir", str(tmp_path / "data"), "--dump-dir", str(tmp_path / "dump")]
    done = run_recipe(fsdd, "--db-root", str(tmp_path), *folders, status=1)
    assert "stage 0" in done.stdout  # nothing is left out by default
    assert "stage 1" not in done.stdout
    assert "recordings: no such folder" in done.stderr
    assert not (tmp_path / "data" / "train").exists()


def test_without_a_corpus_stage_0_says_what_to_do(recipes, run_recipe, tmp_path):
    for recipe in recipes:
        options = [f"--data-dir={tmp_path}/data", f"--download-dir={tmp_path}/none", "--stage=0", "--stop-stage=0"]
        done = run_recipe(recipe, *options, status=1)
        assert "run stage -1 first" in done.stderr or "--db-root" in done.stderr
        assert list(tmp_path.iterdir()) == []


def test_path_may_be_sourced_twice(recipes):
    for recipe in recipes:
        command = f". {recipe}/path.sh; first=$PATH; . {recipe}/path.sh; [ $PATH = $first ] && echo $LC_ALL"
        assert subprocess.run(["bash", "-eu", "-c", command], capture_output=True, text=True).stdout == "C\n"


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
def test_shell_files_are_clean():
    files = sorted(
        path for pattern in ("recipes/*.sh", "egs/**/*.sh", "egs/**/*.sbatch") for path in ROOT.glob(pattern)
    )
    assert len(files) >= 20
    done = subprocess.run([SHELLCHECK, *map(str, files)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
