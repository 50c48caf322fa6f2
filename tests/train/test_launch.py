"""Starting and stopping runs: several processes in a Slurm allocation, signals, and deaths at the worst moments."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch
import yaml

from audiovq.audio import AudioVQVAE
from audiovq.data.corpus.open import open_corpus
from audiovq.data.corpus.segments import SegmentBatches
from audiovq.errors import ConfigError, OutputError
from audiovq.train import record, run
from audiovq.train.experiment import parse_experiment
from audiovq.train.run import train

from .conftest import tiny_config, tiny_tree

ROOT = Path(__file__).resolve().parents[2]
# What Slurm sets in an allocation with one task a node: Lightning would take the number of processes from it.
SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_NNODES": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
SLURM |= {"SLURM_NODEID": "0", "SLURM_JOB_NAME": "train", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NODELIST": "localhost"}

# Trains as `audiovq train` does; each process writes down what it saw and had after each step.
DRIVER = """
import hashlib, json, os, sys
import lightning.pytorch as pl, torch
from audiovq.train import run
from audiovq.train.experiment import load_experiment

torch.set_num_threads(1)
seen = []

class Note(pl.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if os.environ.get("POISON") == f"{trainer.global_rank} {trainer.global_step}":
            batch["waveform"][0, 0, 5] = torch.nan

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        rows = [hashlib.sha256(row.numpy().tobytes()).hexdigest() for row in batch["waveform"]]
        state = b"".join(v.contiguous().numpy().tobytes() for k, v in sorted(module.model.state_dict().items()))
        seen.append({"rows": rows, "weights": hashlib.sha256(state).hexdigest(), "skipped": module.skipped})

usual = run.run_callbacks
run.run_callbacks = lambda *arguments: [Note(), *usual(*arguments)]
run.train(load_experiment(sys.argv[1]), sys.argv[2], device="cpu")
with open(f"{sys.argv[2]}/rank{os.environ.get('RANK', '0')}.json", "w") as file:
    json.dump(seen, file)
"""


def start(tmp_path: Path, tree: dict, processes: int, name: str, poison: str = "") -> list[list[dict]]:
    """What each process noted. poison: "RANK STEP", whose batch holds a NaN."""
    (tmp_path / "driver.py").write_text(DRIVER)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tree))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *launch, str(tmp_path / "driver.py"), str(tmp_path / "tiny.yaml"), str(tmp_path / name)]
    environment = {**os.environ, **SLURM, "OMP_NUM_THREADS": "1", "POISON": poison}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("the step is skipped, 1 so far") == bool(poison)
    assert done.stdout.count(f"over {processes} process(es), {4 // processes} in each") == 1
    return [json.loads((tmp_path / name / f"rank{r}.json").read_text()) for r in range(processes)]


def test_two_processes_see_the_data_of_one_once_and_keep_the_same_weights(tiny_pack, tmp_path):
    tree = tiny_tree(tiny_pack)
    tree["model"]["quantizer"]["update"] = "loss"  # a codebook that is a parameter, without gradient at first
    first, second = start(tmp_path, tree, 2, "two")
    assert [step["weights"] for step in first] == [step["weights"] for step in second]
    assert len({step["weights"] for step in first}) == 6  # they move
    batches = SegmentBatches(
        [(open_corpus(tiny_pack, 8000), 1.0)], batch_size=4, segment_samples=512, seed=0, speakers=["a", "b"]
    )
    for step, (a, b) in enumerate(zip(first, second, strict=True)):
        whole = [hash_of(row) for row in batches.batch(step)["waveform"]]
        assert a["rows"] + b["rows"] == whole
        assert len(set(whole)) == 4


@pytest.mark.parametrize("step", [1, 4])  # the codebooks start at step 3
def test_all_processes_skip_a_step_that_one_of_them_can_not_take(tiny_pack, tmp_path, step):
    first, second = start(tmp_path, tiny_tree(tiny_pack), 2, "two", poison=f"1 {step}")
    weights = [note["weights"] for note in first]
    assert weights == [note["weights"] for note in second]
    assert [note["skipped"] for note in first] == [note["skipped"] for note in second] == [0] * step + [1] * (6 - step)
    assert weights[step] == weights[step - 1]
    assert len(set(weights)) == 5


def hash_of(row: torch.Tensor) -> str:
    return hashlib.sha256(row.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("value", ["", "one"])
def test_ranks_that_are_no_numbers_do_not_stop_a_run(tiny_pack, tmp_path, value):
    """A job's script may export them empty, and Lightning reads them as it is imported."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_tree(tiny_pack, max_steps=1)))
    names = [*SLURM, "RANK", "LOCAL_RANK", "WORLD_SIZE", "JSM_NAMESPACE_RANK", "OMPI_COMM_WORLD_RANK"]
    command = [sys.executable, "-m", "audiovq", "train", str(tmp_path / "tiny.yaml"), "--exp", str(tmp_path / "exp")]
    environment = {**os.environ, **dict.fromkeys(names, value)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "exp" / "trained.json").exists()


class Died(Exception):
    """In place of kill -9."""


def die(config, exp_dir, when: str, step: int) -> None:
    """Train, and die at a hook of that step."""

    class Death(pl.Callback):
        pass

    def hook(self, trainer, *arguments):
        if trainer.global_step == step:
            raise Died

    setattr(Death, when, hook)
    usual = run.run_callbacks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "run_callbacks", lambda *arguments: [Death(), *usual(*arguments)])
        with pytest.raises(Died):
            train(config, exp_dir, device="cpu")


def validations(exp_dir: Path) -> dict[int, float]:
    """Loss by step of the validations, the latest where there are several."""
    found = {}
    for path in sorted(exp_dir.glob("csv/*/metrics.csv")):
        header, *lines = [line.split(",") for line in path.read_text().splitlines()]
        if "valid/loss" in header:  # not where a run died before
            loss, step = header.index("valid/loss"), header.index("step")
            found |= {int(row[step]): float(row[loss]) for row in lines if row[loss]}
    return found


@pytest.mark.parametrize(
    ("when", "step"),
    [("on_train_batch_end", 3), ("on_validation_start", 3), ("on_validation_start", 6), ("on_train_end", 6)],
)
def test_a_run_that_died_ends_as_one_that_did_not(tiny_pack, tmp_path, when, step):
    config = tiny_config(tiny_pack, save_every=1)
    train(config, tmp_path / "whole", device="cpu")
    die(config, tmp_path / "parts", when, step)
    assert not (tmp_path / "parts" / "trained.json").exists()
    train(config, tmp_path / "parts", device="cpu")
    assert (tmp_path / "parts" / "trained.json").exists()
    for name in ("latest", "best"):
        whole, parts = (AudioVQVAE.from_pretrained(tmp_path / r / "models" / name) for r in ("whole", "parts"))
        for (key, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
            assert torch.equal(a, b), (name, key)
    assert validations(tmp_path / "whole") == validations(tmp_path / "parts")


def test_a_finished_run_is_known_and_another_in_its_place_is_refused(tiny_pack, tmp_path, capsys):
    train(tiny_config(tiny_pack), tmp_path, device="cpu")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"}
    capsys.readouterr()
    train(tiny_config(tiny_pack, save_every=2), tmp_path, device="cpu")  # how often it is saved does not matter
    assert "nothing to do" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"} == before
    with pytest.raises(ConfigError, match=r"train\.learning_rate: 0\.001 -> 0\.5.*--resume none"):
        train(tiny_config(tiny_pack, learning_rate=0.5), tmp_path, device="cpu")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.name != ".lock"} == before
    train(tiny_config(tiny_pack, max_steps=9), tmp_path, device="cpu")
    assert "from " in (out := capsys.readouterr().out)
    assert "going on with other settings than before: train.max_steps: 6 -> 9" in out
    assert json.loads((tmp_path / "trained.json").read_text())["step"] == 9
    train(tiny_config(tiny_pack, learning_rate=0.5), tmp_path, device="cpu", resume="none")
    assert "from scratch" in capsys.readouterr().out
    assert (tmp_path / "previous_1" / "models" / "latest" / "config.json").is_file()


def test_two_runs_never_write_to_one_folder(tiny_pack, tmp_path, monkeypatch):
    monkeypatch.setattr(record, "LOCK_SECONDS", 1)
    with record.sole_writer(tmp_path), pytest.raises(OutputError, match="another run is writing there"):
        train(tiny_config(tiny_pack), tmp_path, device="cpu")
    train(tiny_config(tiny_pack, max_steps=1), tmp_path, device="cpu")


def test_a_run_leaves_its_speakers_and_its_environment(tiny_pack, tmp_path):
    train(tiny_config(tiny_pack, max_steps=1), tmp_path, device="cpu")
    assert (tmp_path / "spk2idx").read_text() == "a 0\nb 1\n"
    text = (tmp_path / "env.txt").read_text()
    assert f"torch {torch.__version__.split('+')[0]}" in text
    assert "8 utterances, 2 speakers" in text


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGTERM])
def test_torchrun_sh_passes_a_clusters_signal_on_and_the_run_is_saved(tiny_pack, tmp_path, signum):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_tree(tiny_pack, max_steps=10**6, valid_every=10**6)))
    pid_file = tmp_path / "pid"
    command = [str(ROOT / "recipes" / "torchrun.sh"), "--nproc", "2", "--pid-file", str(pid_file), "train"]
    command += [str(tmp_path / "tiny.yaml"), "--exp", str(tmp_path / "exp"), "--device", "cpu", "--threads", "1"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as p:
        deadline = time.monotonic() + 300
        while not (tmp_path / "exp" / "checkpoints" / "last.ckpt").exists():
            assert p.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert int(pid_file.read_text().split()[1]) == p.pid
        p.send_signal(signum)
        output = p.communicate(timeout=120)[0]
    assert p.returncode == 0, output[-3000:]
    assert output.count("SIGUSR1: stopped at step") == 1
    assert "start the same again to go on" in output
    stopped = int(output.split("stopped at step ")[1].split(";")[0])
    assert (tmp_path / "exp" / "checkpoints" / f"step{stopped:07d}.ckpt").exists()
    assert not (tmp_path / "exp" / "trained.json").exists()
    assert not pid_file.exists()
    train(parse_experiment(tiny_tree(tiny_pack, max_steps=stopped + 1), "x"), tmp_path / "exp", device="cpu")
    assert json.loads((tmp_path / "exp" / "trained.json").read_text())["step"] == stopped + 1
