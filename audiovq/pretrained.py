"""Loads a model by its name, ready to run, and saves it to a folder."""

from pathlib import Path

import torch

from audiovq import image
from audiovq.audio.model import AudioVQVAE
from audiovq.image import ImageModel
from audiovq.modelfolder import bundled_models, codes_fingerprint, model_fingerprint, resolve_model

__all__ = [
    "bundled_models",
    "codes_fingerprint",
    "load_image_model",
    "load_model",
    "model_fingerprint",
    "resolve_model",
    "save_model",
]


def load_model(name_or_path: str | Path, device: str | torch.device = "cpu") -> AudioVQVAE:
    """A bundled name, a local folder or a hub id -> the model in eval mode on `device`."""
    return AudioVQVAE.from_pretrained(name_or_path).to(device)


def load_image_model(name_or_path: str | Path, device: str | torch.device = "cpu") -> ImageModel:
    """The same for a model of images: a VQ-VAE, or a baseline that was trained to be compared with it."""
    return image.load_image_model(name_or_path).to(device)


def save_model(model: AudioVQVAE, folder: str | Path) -> None:
    """Write the model folder."""
    model.save_pretrained(folder)
