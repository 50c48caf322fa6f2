"""Judges: found where they are installed, left out with a reason elsewhere, asked once about the same sound."""

import json
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import ConfigError
from audiovq.evaluate import quality_judges
from audiovq.evaluate.quality_judges import JUDGES, Judge, kept_on_disk, quality_metrics
from audiovq.evaluate.tally import words_tally


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "audiovq" / "judges"


@pytest.fixture
def sounds():
    return np.random.default_rng(0).standard_normal((2, 16000)).astype(np.float32) * 0.1


def counting(alone: bool = False) -> tuple[Judge, list[int]]:
    asked: list[int] = []

    def score(reference, output):
        asked.append(1)
        return float(np.abs(output).mean())

    return Judge("Loudness", "nowhere", "MIT", 2, lambda nisqa: score, alone=alone), asked


def test_a_judge_is_asked_once_about_a_pair_of_signals_ever(sounds, cache):
    judge, asked = counting()
    for _ in range(2):  # as two runs do
        measure = kept_on_disk("loudness", judge, judge.load(None))
        assert measure(*sounds, 16000) == pytest.approx(np.abs(sounds[1]).mean())
    assert len(asked) == 1
    measure(sounds[1], sounds[1], 16000)  # another original
    assert len(asked) == 2
    kept_on_disk("another name", judge, judge.load(None))(*sounds, 16000)
    assert len(asked) == 3
    assert len(list(cache.rglob("*.json"))) == 3


def test_one_that_hears_the_output_alone_is_not_asked_again_for_another_original(sounds):
    judge, asked = counting(alone=True)
    measure = kept_on_disk("loudness", judge, judge.load(None))
    measure(sounds[0], sounds[1], 16000)
    measure(sounds[1], sounds[1], 16000)
    assert len(asked) == 1


def test_a_damaged_score_is_measured_again(sounds, cache):
    judge, asked = counting()
    measure = kept_on_disk("loudness", judge, judge.load(None))
    measure(*sounds, 16000)
    next(cache.rglob("*.json")).write_text("{")
    measure(*sounds, 16000)
    assert len(asked) == 2


def test_another_rate_is_no_low_score(sounds):
    judge, _ = counting()
    with pytest.raises(ValueError, match="hears 16000 Hz, not 8000"):
        kept_on_disk("loudness", judge, judge.load(None))(*sounds, 8000)


def test_what_is_not_installed_is_left_out_with_a_reason(monkeypatch):
    for package in ("visqol", "distillmos", "resemblyzer"):
        monkeypatch.setitem(sys.modules, package, None)
    metrics, left_out = quality_metrics(["visqol", "distillmos", "speaker"], None)
    assert not metrics
    assert len(left_out) == 3
    assert all("audiovq[judges]" in line for line in left_out)
    assert left_out[0].startswith("visqol: visqol-python")


def test_nisqa_needs_the_users_weights(tmp_path):
    _, left_out = quality_metrics(["nisqa"], tmp_path)
    assert "--nisqa" in left_out[0]
    assert "nisqa" not in [m.name for m in quality_metrics(["all"], None)[0]]


def test_an_unknown_judge_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="no judge 'mos'; there are visqol"):
        quality_metrics(["mos"], None)


@pytest.mark.parametrize("name", [n for n in JUDGES if n != "nisqa"])
def test_a_judge_hears_what_noise_does_to_speech(name, request):
    modules = {"visqol": "visqol", "distillmos": "distillmos", "speaker": "resemblyzer"}
    if find_spec(modules[name]) is None:
        pytest.skip(f"{name}: not installed; pip install 'audiovq[judges]'")
    from importlib import resources

    from audiovq.data.audio import read_audio

    with resources.as_file(resources.files("audiovq") / "assets/sample.flac") as path:
        sound = read_audio(path)[0][0][:64000]
    noisy = sound + 0.1 * np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    (metric,), _ = quality_metrics([name], None)
    assert metric.measure(sound, sound, 16000) > metric.measure(sound, noisy, 16000) + 0.05


@pytest.fixture
def recogniser(monkeypatch, tmp_path):
    """A faster_whisper that hears the word whose number is the loudness, and the packages that count errors."""
    pytest.importorskip("jiwer", reason="jiwer is not installed; pip install 'audiovq[judges]'")
    pytest.importorskip("whisper_normalizer", reason="whisper-normalizer is not installed")

    class WhisperModel:
        def __init__(self, folder, **options):
            assert Path(folder) == tmp_path
            assert options["local_files_only"]

        def transcribe(self, waveform, **options):
            words = ["cat", "dog", "bird"][: round(float(np.abs(waveform).max()))]
            return [types.SimpleNamespace(text=" " + " ".join(words))], None

    module = types.ModuleType("faster_whisper")
    module.WhisperModel = WhisperModel
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    (tmp_path / "model.bin").write_bytes(b"weights")
    return tmp_path


def test_words_are_counted_over_files_with_text(recogniser):
    tally = words_tally(recogniser)
    said = Utterance("a", "a", "a.wav", text="Cat, dog bird!")
    silent = Utterance("b", "b", "b.wav")
    sound = np.zeros(1000, np.float32)
    loud, soft = sound.copy(), sound.copy()
    loud[0], soft[0] = 3, 1
    assert tally.measure(said, sound, loud) == (0, 3)
    assert tally.measure(said, sound, soft) == (2, 3)
    assert tally.measure(silent, sound, soft) is None
    figures = tally.summarize([(0, 3), (2, 3), (1, 1)])
    assert figures["percent"] == pytest.approx(100 * 3 / 7)
    assert figures["low"] <= figures["percent"] <= figures["high"]
    assert figures["files"] == 3


def test_what_counts_errors_is_missed_before_the_work(recogniser, monkeypatch):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    with pytest.raises(ImportError, match="jiwer"):
        words_tally(recogniser)


def test_a_recogniser_without_weights_says_what_to_name(recogniser, tmp_path):
    with pytest.raises(OSError, match=r"no model\.bin"):
        words_tally(tmp_path / "elsewhere")


def test_scores_are_kept_as_json(sounds, cache):
    judge, _ = counting()
    kept_on_disk("loudness", judge, judge.load(None))(*sounds, 16000)
    assert isinstance(json.loads(next(cache.rglob("*.json")).read_text()), float)
    assert quality_judges.cache_folder() == cache
