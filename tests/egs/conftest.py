"""Recipes run on synthesized stand-ins for their corpora, each in folders of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]
Done = subprocess.CompletedProcess[str]


def environment(**more: str) -> dict[str, str]:
    """As a user's shell, with this interpreter first."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "cmd_backend": "local", "db_root": "", **more}


def folders(place: Path) -> list[str]:
    """Options that put all that a run makes into one folder."""
    return [f"--data-dir={place}/data", f"--dump-dir={place}/dump", f"--exp-dir={place}/exp"]


def recipes_of(stages: str) -> list[Path]:
    """The folders of the recipes that share a file of stages."""
    found = sorted(path for path in ROOT.glob("egs/*/*/run.sh") if f"recipes/{stages}.sh" in path.read_text())
    return [path.parent for path in found]


@pytest.fixture(scope="session")
def recipes() -> list[Path]:
    """The folders of the recipes of sound."""
    return recipes_of("codec")


@pytest.fixture(scope="session")
def image_recipes() -> list[Path]:
    """The folders of the recipes of images."""
    return recipes_of("image")


@pytest.fixture(scope="session")
def vctk() -> Path:
    return ROOT / "egs" / "vctk" / "vqvae"


@pytest.fixture(scope="session")
def run_recipe() -> Callable[..., Done]:
    """`run_recipe(recipe, "--stage=1", ..., status=0, cmd_backend="slurm")` -> the finished process."""

    def run(recipe: Path, *arguments: str, status: int | None = 0, **more: str) -> Done:
        command = [str(recipe / "run.sh"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(**more), timeout=1500)
        if status is not None:
            assert done.returncode == status, done.stdout[-3000:] + done.stderr[-4000:]
        return done

    return run


@pytest.fixture(scope="session")
def fake_vctk_module() -> ModuleType:
    """tests/recipes/fake_vctk.py: tests are no package."""
    spec = importlib.util.spec_from_file_location("fake_vctk", ROOT / "tests" / "recipes" / "fake_vctk.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake_vctk(fake_vctk_module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Layout -> a small corpus in it, 0.80 in two folders more."""
    depths = {"0.80": 2, "0.92": 0}
    made = {}
    for layout, depth in depths.items():
        made[layout] = tmp_path_factory.mktemp("vctk")
        fake_vctk_module.write_fake_vctk(made[layout], layout, depth=depth, utterances=13, broken=False)
    return made


@pytest.fixture(scope="session")
def tiny_fsdd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3,000 files of 0.1 s, named as in the Free Spoken Digit Dataset: a speaker is a pitch, a digit a resonance."""
    root = tmp_path_factory.mktemp("fsdd")
    (root / "recordings").mkdir()
    t = np.arange(800) / 8000
    for s, speaker in enumerate(["george", "jackson", "lucas", "nicolas", "theo", "yweweler"]):
        pulses = np.diff(np.floor((90 + 25 * s) * t), prepend=-1.0)
        for digit in range(10):
            ring = np.exp(-np.arange(80) / 15) * np.sin(2 * np.pi * (400 + 250 * digit) * np.arange(80) / 8000)
            clean = 0.3 * np.convolve(pulses, ring)[:800] * np.hanning(800)
            for index in range(50):
                noise = np.random.default_rng([s, digit, index]).standard_normal(800)
                path = root / "recordings" / f"{digit}_{speaker}_{index}.wav"
                soundfile.write(path, clean + 0.003 * noise, 8000, subtype="PCM_16")
    return root
