"""Judges of samples: a codec's decoder turns codes into sound or images, and a classifier gives their features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.codec import Codec
from audiovq.codec.sampled import recording_of
from audiovq.data.image.open import open_images
from audiovq.data.kaldi.datadir import DataDir
from audiovq.errors import BadDataError, BadModelError
from audiovq.image.build import load_image_model
from audiovq.image.model import ImageVQVAE
from audiovq.prior import CodeItem
from studies.prior_ablation.sample_quality import Judge
from studies.recognition.classifier import Pixels, Trained, train_classifier
from studies.recognition.features import log_mel
from studies.recognition.frechet import Features

BATCH_SIZE = 50  # decoded at once
MOST = 5000  # examples that a classifier is taught, at most

SoundLabels = Literal["text", "speaker"]
T = TypeVar("T")


def sound_judge(codec: str | Path, data: str | Path, labels: SoundLabels) -> Judge:
    """Features of a classifier of log-mel spectra.

    Args:
        codec: name or folder of the model whose codes are judged. If it knows speakers, items must name one.
        data: data directory of recordings; labels: what the classifier learns to tell apart, their `text` (for single
            words) or their `speaker`.

    Raises BadDataError for recordings without text, or too few of them.
    """
    coder = Codec.from_pretrained(codec, "cpu")
    utterances = _evenly(DataDir.read(data).utterances)
    if labels == "text" and any(u.text is None for u in utterances):
        raise BadDataError(f"{data}: some utterances have no text; add it, or tell speakers apart")
    found = [str(u.text) if labels == "text" else u.speaker for u in utterances]

    def image(sound: NDArray[np.float32]) -> Pixels:
        return log_mel(sound, coder.sample_rate)[:, None]  # bands as channels

    trained = train_classifier([image(u.mono(coder.sample_rate)) for u in utterances], found)

    def features(items: Sequence[CodeItem]) -> Features:
        sounds: list[NDArray[np.float32]] = []
        for batch in _batches(items):
            voices = [item.label if coder.model.speakers else None for item in batch]
            sounds += [x[0] for x in coder.decode_many([recording_of(coder, i.codes) for i in batch], speakers=voices)]
        return trained.features([image(sound) for sound in sounds])

    return Judge(_description(trained, f"log-mel spectra by {labels}", len(utterances)), features)


def image_judge(codec: str | Path, data: str | Path) -> Judge:
    """Features of a classifier of images by class.

    Args:
        codec: name or folder of the image model whose codes are judged.
        data: images with classes, whatever `audiovq.data.image.open.open_images` takes.

    Raises BadDataError for images without classes, BadModelError for a model without codes.
    """
    model = load_image_model(codec)
    if not isinstance(model, ImageVQVAE):
        raise BadModelError(f"{codec}: has no codes to decode; name the model that made them")
    pack = open_images(data)
    if pack.labels is None:
        raise BadDataError(f"{data}: no classes are known; give images in one folder a class")
    chosen = _evenly(range(len(pack.images)))
    trained = train_classifier([_scaled(pack.images[i]) for i in chosen], [pack.labels[i] for i in chosen])

    @torch.inference_mode()
    def features(items: Sequence[CodeItem]) -> Features:
        generator, found = torch.Generator().manual_seed(0), []
        for batch in _batches(items):
            images = model.decode(torch.from_numpy(np.stack([item.codes for item in batch])), generator)
            found.append(trained.features([_scaled(image) for image in images.numpy()]))
        return np.concatenate(found)

    return Judge(_description(trained, "images by class", len(chosen)), features)


def _description(trained: Trained, what: str, count: int) -> str:
    return (
        f"features: 32 channels of a small convolutional classifier of {what}, {len(trained.classes)} classes,"
        f" taught on {count - trained.held_out:,} originals; right on {trained.accuracy:.1%} of {trained.held_out:,}"
        " others"
    )


def _scaled(image: NDArray[np.integer]) -> Pixels:
    return (image / np.float32(127.5) - 1).astype(np.float32)


def _evenly(things: Sequence[T]) -> list[T]:
    return [things[k * len(things) // min(len(things), MOST)] for k in range(min(len(things), MOST))]


def _batches(items: Sequence[CodeItem]) -> list[Sequence[CodeItem]]:
    return [items[i : i + BATCH_SIZE] for i in range(0, len(items), BATCH_SIZE)]
