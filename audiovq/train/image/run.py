"""The parts of a run that trains a model of images: packs, module, callbacks."""

import hashlib
from functools import partial
from typing import Any

import lightning.pytorch as pl
from numpy.typing import NDArray

from audiovq.train.callbacks import Throughput
from audiovq.train.data import StepwiseData
from audiovq.train.image.config import ImageExperimentConfig
from audiovq.train.image.data import ImageBatches, open_grids, validation_images
from audiovq.train.image.examples import ImageExample
from audiovq.train.image.module import ImageModule

STAMP_IMAGES = 64  # looked at to tell one set of images from another


class ImageRun:
    """See `audiovq.train.run.Run`."""

    def __init__(self, config: ImageExperimentConfig) -> None:
        self.config = config
        paths = [config.data.root / path for path in (config.data.train, config.data.valid)]
        self._grids = {path: open_grids(path, config.model) for path in paths}
        self._train, self._valid = (self._grids[path] for path in paths)
        self.tables: dict[str, str] = {}
        self.batch = f"{config.data.batch_size} x {config.model.height} x {config.model.width}"

    def stamps(self) -> list[str]:
        """Of the sets of images: their number, and the values of some spread over each."""
        return [_stamp(grids) for grids in (self._train, self._valid)]

    def summaries(self) -> list[str]:
        """A line a set."""
        return [f"{path}: {len(grids):,} images" for path, grids in self._grids.items()]

    def module(self) -> ImageModule:
        """With random weights."""
        return ImageModule(self.config)

    def data(self) -> StepwiseData:
        """Batches and validation images."""
        data = self.config.data
        batches = partial(ImageBatches, self._train, data, seed=self.config.train.seed)
        return StepwiseData(batches, validation_images(self._valid, data))

    def callbacks(self) -> list[pl.Callback]:
        """Throughput, an example to see."""
        return [Throughput(self.config.train.log_every, key="images", unit="values"), ImageExample()]


def _stamp(grids: NDArray[Any]) -> str:
    digest = hashlib.sha256(f"{grids.shape}".encode())
    for i in range(0, len(grids), max(1, len(grids) // STAMP_IMAGES)):
        digest.update(grids[i].tobytes())
    return digest.hexdigest()
