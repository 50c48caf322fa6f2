"""A run that is killed with SIGKILL in every stage and started again ends with the results of one that was not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import environment, folders

STAGES = (0, 1, 2, 3, 4, 7)
MOMENTS = (0.3, 0.6, 0.8, 0.95)  # of a stage's duration
ARGUMENTS = "-o train.max_steps=40 -o train.valid_every=10 -o train.save_every=4 -o objective.quantize_from_step=6"


def options(corpus: Path, place: Path, stage: int) -> list[str]:
    chosen = [f"--db-root={corpus}", "--allow-partial=true", "--conf=conf/debug.yaml", f"--train-args={ARGUMENTS}"]
    return [*chosen, *folders(place), "--nj=2", "--threads=1", "--ngpu=0", f"--stage={stage}", f"--stop-stage={stage}"]


def start(vctk: Path, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen([str(vctk / "run.sh"), *arguments], stdout=file, stderr=file, env=environment())


def kill_all(pid: int) -> None:
    """The process and all that it started, as a node's failure or Slurm would."""
    family = [pid]
    for parent in family:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                family += map(int, (task / "children").read_text().split())
    for one in family:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)


def finish(process: subprocess.Popen[bytes], log: Path) -> None:
    assert process.wait(timeout=1200) == 0, log.read_text()[-3000:]


def results(place: Path) -> dict[str, str]:
    """Hashes of all that counts."""
    found = {}
    for pattern in ("data/**/*", "dump/**/*", "exp/*/models/**/*", "exp/*/*_best/**/*", "exp/*/spk2idx"):
        for path in place.glob(pattern):
            # a mark holds the times of files; the last bits of a score differ from call to call (`scores_of`)
            passed_over = (".done", "scores.json")
            if path.is_file() and path.suffix not in (".done", ".log") and path.name not in passed_over:
                found[str(path.relative_to(place))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def scores_of(path: Path) -> dict[str, float]:
    """All numbers of a tree of scores by where they stand."""
    found = {}

    def walk(node: object, name: str) -> None:
        if isinstance(node, dict | list):
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                walk(value, f"{name}/{key}")
        elif isinstance(node, int | float):
            found[name] = float(node)

    walk(json.loads(path.read_text()), "")
    return found


@pytest.mark.slow
def test_killed_in_every_stage_and_started_again_it_ends_the_same(vctk, fake_vctk, tmp_path):
    corpus, place = fake_vctk["0.92"], tmp_path / "place"  # the same for both: some files hold paths
    log = place / "run.log"
    place.mkdir()
    seconds = {}
    for stage in STAGES:
        began = time.monotonic()
        finish(start(vctk, options(corpus, place, stage), log), log)
        seconds[stage] = time.monotonic() - began
    expected = results(place)
    place.rename(tmp_path / "whole")
    place.mkdir()
    for stage in STAGES:
        killed = 0
        for moment in MOMENTS:
            process = start(vctk, options(corpus, place, stage), log)
            try:
                process.wait(timeout=moment * seconds[stage])
            except subprocess.TimeoutExpired:
                kill_all(process.pid)
                process.wait()
                killed += 1
        finish(start(vctk, options(corpus, place, stage), log), log)
        print(f"stage {stage}: {seconds[stage]:.0f} s, killed {killed} times", flush=True)
        assert killed
    seen = results(place)
    assert expected.keys() == seen.keys()
    assert [name for name in expected if expected[name] != seen[name]] == []
    scores = [scores_of(where / "exp" / "debug" / "scores.json") for where in (tmp_path / "whole", place)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-9, nan_ok=True)
    assert sum(name.endswith(".wav") for name in expected) >= 20
