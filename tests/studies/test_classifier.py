"""The small classifier and the judges: taught on cases that can be told apart, and asked about others."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from audiovq.errors import BadDataError, BadModelError
from audiovq.prior import CodeItem
from studies.prior_ablation.judges import sound_judge
from studies.recognition.classifier import train_classifier


def spectra(count: int, seed: int):
    """Of three classes: one of three bands is louder; of different widths."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = []
    for label in labels:
        x = rng.normal(0, 0.3, (6, 1, int(rng.integers(9, 30)))).astype(np.float32)
        x[2 * label : 2 * label + 2] += 0.7
        images.append(x)
    return images, [str(label) for label in labels]


def test_it_learns_its_classes_and_says_how_often_it_is_right():
    taught = train_classifier(*spectra(100, 0), steps=40)
    assert taught.classes == ["0", "1", "2"]
    assert taught.held_out == 10
    assert taught.accuracy >= 0.9
    images, labels = spectra(40, 1)
    features = taught.features(images)
    assert features.shape == (40, 32)
    answers = taught.model.logits(torch.from_numpy(features).float()).argmax(1).tolist()
    assert np.mean([taught.classes[a] == b for a, b in zip(answers, labels, strict=True)]) > 0.9


def test_it_is_the_same_every_time_and_leaves_other_random_numbers_alone():
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    one, two = (train_classifier(*spectra(20, 0), steps=3) for _ in range(2))
    assert torch.rand(1) == before
    images, _ = spectra(3, 2)
    assert (one.features(images) == two.features(images)).all()


def test_one_class_or_few_examples_are_refused():
    images, labels = spectra(20, 0)
    with pytest.raises(BadDataError, match=r"1 class\(es\)"):
        train_classifier(images, ["a"] * 20)
    with pytest.raises(BadDataError, match="9 examples"):
        train_classifier(images[:9], labels[:9])


def test_a_judge_of_sound_hears_codes_in_the_voice_of_their_label(model_folder, sound, tmp_path, monkeypatch):
    import soundfile

    from audiovq.data.kaldi.datadir import DataDir
    from audiovq.data.kaldi.utterance import Utterance
    from studies.prior_ablation import judges

    monkeypatch.setattr(judges, "train_classifier", partial(train_classifier, steps=2))
    utterances = []
    for i in range(12):
        path = tmp_path / f"{i}.wav"
        soundfile.write(path, sound(seed=i, seconds=0.1, rate=8000), 8000)
        utterances.append(Utterance(f"u{i:02d}", "ab"[i % 2], str(path)))
    DataDir(tuple(utterances)).write(tmp_path / "data")
    judge = sound_judge(model_folder, tmp_path / "data", "speaker")
    assert "2 classes" in judge.description
    codes = np.arange(40)[None] % 16
    ann, bob = (judge.features([CodeItem("x", codes, voice)]) for voice in ("ann", "bob"))
    assert ann.shape == (1, 32)
    assert (ann != bob).any()
    with pytest.raises(BadModelError, match="needs a speaker and the codes name none"):
        judge.features([CodeItem("x", codes)])
    with pytest.raises(BadDataError, match="have no text"):
        sound_judge(model_folder, tmp_path / "data", "text")
