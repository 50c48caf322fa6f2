"""What ends a training from outside: it is saved, and the exit status says that it is not finished."""

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from .conftest import tiny_tree


def stopped(tmp_path, pack, signum, workers=0, group=False, **environment):
    """Start a run, send a signal after its first checkpoint; exit status, what it said, steps saved."""
    tree = tiny_tree(pack, max_steps=10**6, valid_every=10**6)
    tree["data"]["num_workers"] = workers
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "audiovq", "train", str(tmp_path / "tiny.yaml"), "--exp", str(tmp_path / "exp")]
    with subprocess.Popen(
        [*command, "--device", "cpu", "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    ) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "exp" / "checkpoints" / "last.ckpt").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (os.killpg if group else os.kill)(process.pid, signum)
        try:
            said = process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert not (tmp_path / "exp" / "trained.json").exists()
    return process.returncode, said, sorted((tmp_path / "exp" / "checkpoints").glob("step*.ckpt"))


@pytest.mark.parametrize(
    ("signum", "status", "workers"), [(signal.SIGTERM, 75, 2), (signal.SIGINT, 130, 2), (signal.SIGHUP, 75, 0)]
)
def test_a_signal_saves_the_run_and_says_with_its_status_that_it_is_not_finished(
    tiny_pack, tmp_path, signum, status, workers
):
    done, said, saved = stopped(tmp_path, tiny_pack, signum, workers, group=True)
    assert (done, "audiovq: interrupted" in said) == (status, True)
    assert "Traceback" not in said
    step = int(said.split(": stopped at step ")[1].split(";")[0])
    assert saved[-1].name == f"step{step:07d}.ckpt"
