"""Opens a codec by its name, for sound or images."""

from __future__ import annotations

import os

import torch

from audiovq.codec.codec import Codec
from audiovq.codec.image.codec import ImageCodec
from audiovq.codec.loading import pick_device
from audiovq.modelfolder import StoredModel, read_model


def open_codec(name_or_path: str | os.PathLike[str], device: str | torch.device = "auto") -> Codec | ImageCodec:
    """Load a bundled name, a model folder or a hub id; errors as of `from_pretrained`."""
    place = pick_device(device)
    return codec_of(read_model(os.fspath(name_or_path)), os.fspath(name_or_path), place)


def codec_of(stored: StoredModel, name: str, device: torch.device) -> Codec | ImageCodec:
    """The codec of a model folder that was read already."""
    return (ImageCodec if stored.is_image else Codec).from_stored(stored, name, device)
