"""Judges of sound that were not used in any training here: predictors of listeners' ratings, voices and words.

Each comes in a package that carries its weights (extra `judges`); NISQA's weights are the user's. A judge that is not
installed is left out with a reason. Judges are slow, so every score is kept on disk by the sound that was scored.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from audiovq.data.files import atomic_output
from audiovq.errors import ConfigError
from audiovq.metrics.speech import Metric, Waveform

RATE = 16000  # Hz that all judges hear
DISTILLMOS_SAMPLES = 122_880  # the middle 7.68 s of a clip, one of its windows

Score = Callable[[Waveform, Waveform], float]


@dataclass(frozen=True)
class Judge:
    """A judge that can be asked for by name.

    Attributes:
        title: heading in a table.
        package: that has it, on PyPI; its version is part of what a score is kept under.
        licence: of code and weights.
        digits: shown after the point.
        load: makes the scorer (reference, output) -> value, both float32 `[T]` at 16 kHz; ImportError if it can't.
        alone: whether it hears the output only.
    """

    title: str
    package: str
    licence: str
    digits: int
    load: Callable[[Path | None], Score]
    alone: bool = False


def quality_metrics(names: Sequence[str], nisqa: Path | None) -> tuple[list[Metric], list[str]]:
    """The judges of these names as metrics, and a line for each that can't be had.

    Args:
        names: keys of `JUDGES`, or `all`.
        nisqa: folder of NISQA's weights, `nisqa.tar`; it is left out of `all` without it.

    Raises ConfigError for an unknown name.
    """
    wanted = [n for n in JUDGES if n != "nisqa" or nisqa is not None] if list(names) == ["all"] else list(names)
    for name in wanted:
        if name not in JUDGES:
            raise ConfigError(f"no judge {name!r}; there are {', '.join(JUDGES)}, words and all")
    metrics, left_out = [], []
    for name in wanted:
        judge = JUDGES[name]
        try:
            score = judge.load(nisqa)
        except (ImportError, OSError) as error:
            reason = " ".join(str(error).split())
            left_out.append(f"{name}: {judge.package} can't be used ({reason}); pip install 'audiovq[judges]'")
            continue
        metrics.append(Metric(name, judge.title, judge.digits, kept_on_disk(name, judge, score)))
    return metrics, left_out


def kept_on_disk(name: str, judge: Judge, score: Score) -> Callable[[Waveform, Waveform, int], float]:
    """The scorer as a metric's measure, which asks the judge only once for a pair of signals, ever."""
    try:
        stamp = f"{name} {judge.package} {version(judge.package)}"
    except PackageNotFoundError:
        stamp = name

    def measure(reference: Waveform, output: Waveform, rate: int) -> float:
        if rate != RATE:
            raise ValueError(f"{judge.title} hears {RATE} Hz, not {rate}")
        inputs = [output] if judge.alone else [reference, output]
        return float(remembered(stamp, inputs, lambda: score(reference, output)))

    return measure


def remembered(stamp: str, signals: Sequence[Waveform], work: Callable[[], Any]) -> Any:
    """What `work` returns, JSON, kept under the judge's stamp and the signals."""
    digest = hashlib.sha256(stamp.encode())
    for signal in signals:
        digest.update(np.ascontiguousarray(signal, "<f4").tobytes())
    file = cache_folder() / digest.hexdigest()[:2] / f"{digest.hexdigest()[2:]}.json"
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        pass
    value = work()
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_output(file, force=True) as temporary:
        temporary.write_text(json.dumps(value), encoding="utf-8")
    return value


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/audiovq/judges`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "audiovq" / "judges"


def _visqol(nisqa: Path | None) -> Score:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="speech", use_lattice_model=True)
    return lambda reference, output: float(
        api.measure_from_arrays(reference.astype(np.float64), output.astype(np.float64), RATE).moslqo
    )


def _distillmos(nisqa: Path | None) -> Score:
    import torch
    from distillmos import ConvTransformerSQAModel

    network = ConvTransformerSQAModel().eval()

    @torch.inference_mode()
    def score(reference: Waveform, output: Waveform) -> float:
        cut = max(0, len(output) - DISTILLMOS_SAMPLES) // 2
        middle = np.ascontiguousarray(output[cut : cut + DISTILLMOS_SAMPLES])
        return float(network(torch.from_numpy(middle)[None]))

    return score


def _speaker(nisqa: Path | None) -> Score:
    import scipy.ndimage

    moved = types.ModuleType("scipy.ndimage.morphology")  # the package asks for the name that SciPy 2 has no more
    moved.binary_dilation = scipy.ndimage.binary_dilation  # type: ignore[attr-defined]
    sys.modules.setdefault("scipy.ndimage.morphology", moved)
    from resemblyzer import VoiceEncoder, preprocess_wav

    network = VoiceEncoder("cpu", verbose=False)

    @lru_cache(maxsize=2)
    def embed(samples: bytes) -> Any:
        return network.embed_utterance(preprocess_wav(np.frombuffer(samples, np.float32), source_sr=RATE))

    return lambda reference, output: float(embed(reference.tobytes()) @ embed(output.tobytes()))


def _nisqa(nisqa: Path | None) -> Score:
    import torch
    import torchmetrics.functional.audio.nisqa as functional

    if nisqa is None or not (nisqa / "nisqa.tar").is_file():
        raise OSError("name the folder of its weights, nisqa.tar, with --nisqa")
    functional.NISQA_DIR = str(nisqa)  # it would fetch them otherwise

    def score(reference: Waveform, output: Waveform) -> float:
        found = functional.non_intrusive_speech_quality_assessment(torch.from_numpy(output.copy()), RATE)
        return float(found[0])

    return score


JUDGES: dict[str, Judge] = {
    "visqol": Judge("ViSQOL", "visqol-python", "Apache-2.0", 2, _visqol),
    "distillmos": Judge("DistillMOS", "distillmos", "MIT", 2, _distillmos, alone=True),
    "nisqa": Judge(
        "NISQA", "torchmetrics", "Apache-2.0; weights CC BY-NC-SA 4.0, from the user", 2, _nisqa, alone=True
    ),
    "speaker": Judge("speaker", "resemblyzer", "Apache-2.0", 3, _speaker),
}
