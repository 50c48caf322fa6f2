"""Batches of images, a pure function of (seed, step, rank): a resumed run sees the data of an uninterrupted one."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.data.image.open import open_images, spread
from audiovq.errors import BadDataError
from audiovq.image.config import CodesConfig, ImageModelConfig
from audiovq.train.data import Batch, StepwiseBatches
from audiovq.train.image.config import ImageDataConfig


def open_grids(path: Path, model: ImageModelConfig) -> NDArray[Any]:
    """What the model is trained on: integers `[N, C, H, W]`, memory-mapped where they lie in one file.

    Raises BadDataError if they are of another size or range than the model's.
    """
    grids = _codes(path) if isinstance(model.input, CodesConfig) else _pixels(path, model.input.channels)
    wanted = (model.input.channels, model.height, model.width)
    if len(grids) == 0 or grids.shape[1:] != wanted:
        raise BadDataError(f"{path}: {len(grids)} of {list(grids.shape[1:])}; the model is for {list(wanted)}")
    if isinstance(model.input, CodesConfig) and not 0 <= grids.min() <= grids.max() < model.input.values:
        raise BadDataError(f"{path}: codes up to {grids.max()}; the model is for {model.input.values} values")
    return grids


def _pixels(path: Path, channels: int) -> NDArray[Any]:
    """RGB, or of grey images, whose three channels are equal, one."""
    images = open_images(path).images
    if channels == 3:
        return images
    some = images[list(spread(len(images), 64))]
    if (some != some[:, :1]).any():
        raise BadDataError(f"{path}: has colours; set model.input.channels to 3, or pack grey images")
    return images[:, :1]


def _codes(path: Path) -> NDArray[Any]:
    try:
        grids = np.load(path, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise BadDataError(
            f"{path}: can't be read as an array of codes ({error}); audiovq image encode makes one"
        ) from None
    if grids.dtype.kind not in "iu" or grids.ndim not in (3, 4):
        raise BadDataError(f"{path}: {grids.dtype} {list(grids.shape)}; codes are integers [N, H, W] or [N, Q, H, W]")
    return grids[:, None] if grids.ndim == 3 else grids


class ImageBatches(StepwiseBatches):
    """Endless batches from `start_step` on: `images` uint8 or int64 `[B, C, H, W]`; an epoch has each image once.

    Args:
        grids: `[N, C, H, W]`.
        config, seed: of the run; rank, world_size: rank r of w gets the r-th of w equal parts of each batch.
        start_step: the first batch's number.
    """

    def __init__(
        self,
        grids: NDArray[Any],
        config: ImageDataConfig,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
    ) -> None:
        super().__init__(config.batch_size, rank=rank, world_size=world_size, start_step=start_step)
        self.grids, self.flip, self.seed = grids, config.flip, seed
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def batch(self, step: int) -> Batch:
        """This rank's part of batch `step`."""
        first = step * self.whole + self.offset
        places = [divmod(i, len(self.grids)) for i in range(first, first + self.local)]
        images = np.stack([self.grids[self._order(epoch)[i]] for epoch, i in places])
        if self.flip:
            # counter-based: stream `step` is reached at no cost
            mirrored = np.random.Generator(np.random.Philox(key=self.seed, counter=step << 64)).random(self.whole) < 0.5
            mine = mirrored[self.offset : self.offset + self.local]
            images[mine] = images[mine][..., ::-1]
        return {"images": as_tensor(images)}

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.Generator(np.random.Philox(key=self.seed + 1, counter=epoch << 64)).permutation(
            len(self.grids)
        )


def as_tensor(grids: NDArray[Any]) -> Tensor:
    """Pixels stay uint8; codes, which may be uint16, become int64."""
    return torch.from_numpy(np.ascontiguousarray(grids if grids.dtype == np.uint8 else grids.astype(np.int64)))


def validation_images(grids: NDArray[Any], config: ImageDataConfig) -> list[Batch]:
    """The same images at every validation, in batches; the last may be smaller."""
    chosen, size = spread(len(grids), config.valid_images), config.batch_size
    return [
        {"images": as_tensor(np.stack([grids[i] for i in chosen[k : k + size]]))} for k in range(0, len(chosen), size)
    ]
