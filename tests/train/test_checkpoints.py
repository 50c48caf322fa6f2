"""Checkpoint files: whole or not there, and named when they are damaged."""

import os
import shutil

import numpy as np
import pytest
import torch

from audiovq.errors import AudioVQError, ConfigError, OutputError
from audiovq.train.checkpoints import CheckpointFiles, damage_of
from audiovq.train.run import train

from .conftest import tiny_config


@pytest.fixture(scope="module")
def trained(tiny_pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    train(tiny_config(tiny_pack, keep=3), folder, device="cpu")
    return folder


def test_every_damage_to_a_checkpoint_is_told_with_the_newest_whole_one(trained, tmp_path):
    shutil.copytree(trained / "checkpoints", tmp_path / "c")
    last, step = tmp_path / "c" / "last.ckpt", tmp_path / "c" / "step0000006.ckpt"
    os.utime(step, (2e9, 2e9))
    data, generator = last.read_bytes(), np.random.default_rng(0)
    last.unlink()
    for tried in range(60):
        changed = bytearray(data)
        match tried % 4:
            case 0:
                del changed[int(generator.integers(len(data))) :]
            case 1:
                # in the tensors: what lies between the records of an archive means nothing
                at = data.index(b"PK\x07\x08", len(data) // 2) - 1
                changed[at - tried] ^= 1 << (tried % 8)
            case 2:
                changed = bytearray(generator.bytes(int(generator.integers(0, 5000))))
            case _:
                place = int(generator.integers(len(data)))
                changed[place : place + 3000] = bytes(3000)
        last.write_bytes(changed)
        with pytest.raises(ConfigError, match=r"last\.ckpt: .*--resume .*step0000006\.ckpt"):
            CheckpointFiles().load_checkpoint(last)


@pytest.mark.parametrize("content", [{}, [1], {"state_dict": {}}, torch.ones(3)])
def test_other_files_of_torch_are_no_checkpoints(tmp_path, content):
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(ConfigError, match=r"x\.ckpt: holds no run.*--resume none"):
        CheckpointFiles().load_checkpoint(tmp_path / "x.ckpt")


def test_a_damaged_checkpoint_stops_a_run_and_the_one_named_goes_on(trained, tiny_pack, tmp_path):
    shutil.copytree(trained, tmp_path / "e")
    last = tmp_path / "e" / "checkpoints" / "last.ckpt"
    data = last.read_bytes()
    last.unlink()
    last.write_bytes(data[:3000])
    config = tiny_config(tiny_pack, max_steps=9)
    with pytest.raises(ConfigError, match="go on from the newest whole one: --resume ") as told:
        train(config, tmp_path / "e", device="cpu")
    train(config, tmp_path / "e", device="cpu", resume=str(told.value).split("--resume ")[1])
    assert (tmp_path / "e" / "trained.json").exists()


def test_a_checkpoint_of_another_model_is_refused(trained, tiny_pack, tmp_path):
    with pytest.raises(AudioVQError, match="another model"):
        train(
            tiny_config(tiny_pack, "wavenet"),
            tmp_path,
            device="cpu",
            resume=str(trained / "checkpoints" / "last.ckpt"),
        )


def test_nothing_is_staged_elsewhere_and_a_full_disk_leaves_nothing(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    files = CheckpointFiles()
    checkpoint = files.load_checkpoint(trained / "checkpoints" / "last.ckpt")
    files.save_checkpoint(checkpoint, tmp_path / "new" / "a.ckpt")
    assert damage_of(tmp_path / "new" / "a.ckpt") is None

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"b\.ckpt: can't be written \(No space left on device\)"):
        files.save_checkpoint(checkpoint, tmp_path / "new" / "b.ckpt")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize(
    "environment",
    [
        {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "x", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
        {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
        {"WORLD_SIZE": "4", "NODE_RANK": "1"},
    ],
    ids=["Slurm", "MPI", "left behind", "world size"],
)
def test_only_torchrun_makes_several_processes(tiny_pack, tmp_path, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    train(tiny_config(tiny_pack, max_steps=1), tmp_path, device="cpu")
    assert (tmp_path / "trained.json").exists()


def test_a_device_that_is_not_there_is_said_in_a_line(tiny_pack, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no usable CUDA device"):
        train(tiny_config(tiny_pack), tmp_path, device="cuda")
