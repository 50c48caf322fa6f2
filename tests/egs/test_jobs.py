"""Jobs on this machine and on clusters, whose schedulers are played by scripts that keep their contracts."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import environment, folders

ROOT = Path(__file__).resolve().parents[2]

# Reads the script from standard input and runs each task of the array with hardly an environment, as a node would.
SBATCH = """#!/usr/bin/env bash
printf '%s\\n' "$*" > "$PLAY/sbatch.arguments"
script=$(cat) tasks="" failed=0
for argument in "$@"; do
    case $argument in
        --array=*) range=${argument#--array=}; range=${range%%%*}; tasks=$(seq "${range%-*}" "${range#*-}") ;;
        --output=*) output=${argument#--output=} ;;
        --nodes=*) nodes=${argument#--nodes=} ;;
    esac
done
for task in ${tasks:-1}; do
    printf '%s\\n' "$script" | env -i PATH="$PATH" HOME=/ PLAY="$PLAY" SLURM_JOB_ID=77 SLURM_ARRAY_TASK_ID="$task" \\
        SLURM_JOB_NUM_NODES="${nodes:-1}" SLURM_NTASKS="${nodes:-1}" SLURM_JOB_NODELIST=here,there \\
        SLURM_NTASKS_PER_NODE=1 bash > "$output" 2>&1 || failed=1
done
echo 77
exit $failed
"""
SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
pids=()
for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do
    SLURM_PROCID=$node "$@" &
    pids+=($!)
done
status=0
for pid in "${pids[@]}"; do wait "$pid" || status=1; done
exit $status
"""
# Kaldi's queue.pl in small: its options, JOB=1:N, ./path.sh on the node, the log's first and last lines.
QUEUE = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift 2; done
range=${1#JOB=} log=$2
shift 2
for ((i = ${range%:*}; i <= ${range#*:}; i++)); do
    file=${log//JOB/$i}
    mkdir -p "$(dirname "$file")"
    env -i PATH=/usr/bin:/bin HOME=/ bash -c ". ./path.sh; $(printf '%q ' "${@//JOB/$i}")" > "$file" 2>&1 || exit 1
done
"""


@pytest.fixture
def cluster(tmp_path):
    """A folder of scheduler commands."""
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "scontrol": "#!/bin/sh\necho localhost\n"}.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "path.sh").write_text("export FROM_PATH=yes\n")
    return tmp_path


def job(script: str, *arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{cwd}/bin:{os.environ['PATH']}", "PLAY": str(cwd), **more}
    command = [str(ROOT / "recipes" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=cwd, env=environment)


def test_a_job_is_shown_and_logged_with_its_command_and_status(tmp_path):
    log = tmp_path / "deep" / "log"
    done = job("run_local.sh", "--gpu", "1", str(log), "echo", "two words", "here", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "two words here\n")
    lines = log.read_text().splitlines()
    assert lines[0] == "# echo two words here"
    assert lines[2] == "two words here"
    assert lines[-1].endswith("with status 0")


@pytest.mark.parametrize("script", ["run_local.sh", "run_slurm.sh"])
def test_parallel_jobs_have_their_own_logs_and_a_failed_one_is_shown(cluster, script):
    command = ["JOB=1:3", "log/x.JOB.log", "bash", "-c", "echo 'job  JOB'; test JOB != 2"]
    done = job(script, *command, cwd=cluster)
    assert done.returncode == 1
    assert "failed" in done.stderr
    assert "job  2" in done.stderr
    assert "job  1" not in done.stderr
    assert done.stdout == ""
    logs = [(cluster / "log" / f"x.{n}.log").read_text() for n in (1, 2, 3)]
    assert [text.count(f"job  {n}\n") for n, text in zip((1, 2, 3), logs, strict=True)] == [1, 1, 1]


@pytest.mark.parametrize("script", ["run_local.sh", "run_slurm.sh"])
def test_a_failed_single_job_fails_and_usage_is_2(cluster, script):
    done = job(script, "log/one.log", "bash", "-c", "echo the reason; exit 3", cwd=cluster)
    assert done.returncode == 1
    assert "the reason" in done.stderr
    assert job(script, "JOB=1:2", cwd=cluster).returncode == 2


def test_slurm_is_told_what_a_job_needs_and_the_node_sources_path(cluster):
    options = ["--gpu", "2", "--mem", "8G", "--num-threads", "4", "--max-jobs-run", "5", "JOB=1:2", "log/y.JOB.log"]
    command = ["bash", "-c", 'echo "$FROM_PATH $SLURM_ARRAY_TASK_ID $(pwd)" "${SECRET:-unset}" \'$quoted "words"\'']
    done = job(
        "run_slurm.sh", *options, *command, cwd=cluster, sbatch_options="--partition=big --time=1:00", SECRET="x"
    )
    assert done.returncode == 0, done.stderr
    told = (cluster / "sbatch.arguments").read_text()
    for option in ("--gpus-per-node=2", "--mem=8G", "--cpus-per-task=4", "--array=1-2%5", "--partition=big", "--wait"):
        assert option in told.split()
    assert f"yes 2 {cluster} unset $quoted" in (cluster / "log" / "y.2.log").read_text()


def test_a_command_for_several_nodes_runs_once_on_each(cluster):
    done = job("run_slurm.sh", "--num-nodes", "2", "log/n.log", "bash", "-c", "echo node $SLURM_PROCID", cwd=cluster)
    assert done.returncode == 0, done.stderr
    told = (cluster / "sbatch.arguments").read_text().split()
    assert {"--nodes=2", "--ntasks-per-node=1", "--signal=USR1@300"} <= set(told)
    text = (cluster / "log" / "n.log").read_text()
    assert "node" in text
    assert text.count("\nnode") == 2


def command_of(recipe: Path, script: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], **more}
    command = ["bash", "-eu", "-c", f"cd {recipe}; . ./path.sh; . ./cmd.sh; {script}"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_backends_are_chosen_by_name(vctk, tmp_path):
    assert command_of(vctk, "echo $cuda_cmd").stdout == f"{ROOT}/recipes/run_local.sh\n"
    assert command_of(vctk, "echo $cuda_cmd", cmd_backend="slurm").stdout == f"{ROOT}/recipes/run_slurm.sh\n"
    missing = command_of(vctk, "true", cmd_backend="queue.pl", kaldi_parallel=str(tmp_path))
    assert missing.returncode == 1
    assert f"no queue.pl in {tmp_path}" in missing.stderr
    assert "use local, slurm" in command_of(vctk, "true", cmd_backend="pbs").stderr


def test_a_queue_in_kaldis_contract_gets_jobs_that_need_nothing_but_path(vctk, tmp_path):
    queue = tmp_path / "queue.pl"
    queue.write_text(QUEUE)
    queue.chmod(0o755)
    call = f"$train_cmd --num-threads 2 JOB=1:2 {tmp_path}/q.JOB.log bash -c 'echo JOB $LC_ALL $OMP_NUM_THREADS'"
    done = command_of(vctk, call, cmd_backend="queue.pl", kaldi_parallel=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "q.2.log").read_text() == "2 C 1\n"


def short_training(corpus: Path, place: Path, steps: int) -> list[str]:
    chosen = [
        f"--db-root={corpus}",
        "--allow-partial=true",
        "--conf=conf/debug.yaml",
        "--nj=1",
        "--ngpu=0",
        "--threads=1",
    ]
    overrides = [
        "objective.quantize_from_step=1",
        f"train.max_steps={steps}",
        "train.valid_every=2",
        "train.save_every=2",
    ]
    overrides += ["data.batch_size=4", "data.num_workers=0", "data.valid_segments=2"]
    return [*chosen, *folders(place), "--train-args=-o " + " -o ".join(overrides)]


@pytest.mark.slow
def test_two_nodes_train_one_model_and_the_sbatch_example_knows_it(vctk, cluster, run_recipe, fake_vctk):
    """Two torchruns meet at the first node of the allocation; Slurm's own variables say one task a node."""
    play = {"PATH": f"{cluster}/bin:{environment()['PATH']}", "PLAY": str(cluster)}
    options = [*short_training(fake_vctk["0.92"], cluster, 4), "--num-nodes=2", "--stop-stage=2"]
    run_recipe(vctk, *options, cmd_backend="slurm", **play)
    exp = cluster / "exp" / "debug"
    assert (exp / "log" / "train.log").read_text().count("samples over 2 process(es), 2 in each") == 1
    assert (exp / "trained.json").is_file()

    arguments = [str(exp / "config.yaml"), str(exp), str(cluster / "dump" / "16000")]
    command = ["bash", str(vctk / "local" / "train.sbatch"), *arguments]
    allocation = {"SLURM_SUBMIT_DIR": str(vctk), "SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_ID": "78"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment(**allocation, **play), timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nothing to do" in done.stdout
    assert "localhost" not in done.stdout  # what the played scontrol says: not put back into the queue


@pytest.mark.slow
def test_a_signal_to_run_sh_saves_and_ends_with_75_and_the_same_command_goes_on(vctk, run_recipe, fake_vctk, tmp_path):
    options = short_training(fake_vctk["0.92"], tmp_path, 10**6)
    run_recipe(vctk, *options, "--stop-stage=1")
    command = [str(vctk / "run.sh"), *options, "--stage=2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
    ) as run:
        deadline = time.monotonic() + 600
        while not (tmp_path / "exp" / "debug" / "checkpoints" / "last.ckpt").exists():
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        run.send_signal(signal.SIGUSR1)
        output = run.communicate(timeout=300)[0]
    assert run.returncode == 75, output[-2000:]
    assert "the same command goes on" in output
    assert "stage 3" not in output
    stopped = int(output.split("stopped at step ")[1].split(";")[0])
    done = run_recipe(vctk, *short_training(fake_vctk["0.92"], tmp_path, stopped + 2), "--stage=2", "--stop-stage=2")
    assert "last.ckpt" in done.stdout
    assert (tmp_path / "exp" / "debug" / "trained.json").is_file()
