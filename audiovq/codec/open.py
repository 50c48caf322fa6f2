"""A codec by its name, whatever it codes."""

from __future__ import annotations

import os

import torch

from audiovq.codec.codec import Codec
from audiovq.codec.image.codec import ImageCodec
from audiovq.codec.loading import is_image_model
from audiovq.modelfolder import resolve_model


def open_codec(name_or_path: str | os.PathLike[str], device: str | torch.device = "auto") -> Codec | ImageCodec:
    """Load a bundled name, a model folder or a hub id; errors as of `from_pretrained`."""
    kind = ImageCodec if is_image_model(resolve_model(os.fspath(name_or_path))) else Codec
    return kind.from_pretrained(name_or_path, device)
