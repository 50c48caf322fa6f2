"""Held-out images and their reconstructions, in TensorBoard at each validation."""

from typing import cast

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from audiovq.image import ImageModel, ImageVQVAE
from audiovq.image.config import PixelsConfig
from audiovq.image.decoder import ConvDecoder

COUNT = 8


class ImageExample(pl.Callback):
    """Originals above reconstructions; nothing for codes, and for PixelCNN decoders, which are slow to sample."""

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        board = next((x for x in trainer.loggers if isinstance(x, TensorBoardLogger)), None)
        loaders = trainer.val_dataloaders
        model = cast(ImageModel, pl_module.model)
        if trainer.sanity_checking or board is None or loaders is None or not _shows(model):
            return
        images: Tensor = next(iter(loaders))["images"][:COUNT].to(pl_module.device)
        decoded = model.reconstruct(images)
        rows = [torch.cat(list(row), dim=-1) for row in (images.long(), decoded)]
        sheet = torch.cat(rows, dim=-2).byte().cpu()
        board.experiment.add_image("valid/reconstructions", sheet, trainer.global_step)


def _shows(model: ImageModel) -> bool:
    ready = not isinstance(model, ImageVQVAE) or model.quantizer.ready
    pixels = model.config is not None and isinstance(model.config.input, PixelsConfig)
    return ready and pixels and isinstance(model.decoder, ConvDecoder)
