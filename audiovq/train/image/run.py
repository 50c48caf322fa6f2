"""What a run that trains a model of images consists of: packs, module, callbacks."""

import hashlib
from pathlib import Path

import lightning.pytorch as pl

from audiovq.train.callbacks import Throughput
from audiovq.train.image.config import ImageExperimentConfig
from audiovq.train.image.data import ImageData, open_grids
from audiovq.train.image.examples import ImageExample
from audiovq.train.image.module import ImageModule

STAMP_IMAGES = 64  # looked at to tell one set of images from another


class ImageRun:
    """See `audiovq.train.run.Run`."""

    def __init__(self, config: ImageExperimentConfig) -> None:
        self.config = config
        self._paths = [config.data.root / path for path in (config.data.train, config.data.valid)]
        self.tables: dict[str, str] = {}
        self.batch = f"{config.data.batch_size} x {config.model.height} x {config.model.width}"

    def stamps(self) -> list[str]:
        """Of the sets of images: their number, and the values of some spread over each."""
        return [self._stamp(path) for path in self._paths]

    def summaries(self) -> list[str]:
        """A line a set."""
        return [f"{path}: {len(open_grids(path, self.config.model)):,} images" for path in self._paths]

    def module(self) -> ImageModule:
        """With random weights."""
        return ImageModule(self.config)

    def data(self) -> ImageData:
        """Batches and validation images."""
        return ImageData(self.config)

    def callbacks(self) -> list[pl.Callback]:
        """Throughput, an example to see."""
        return [Throughput(self.config.train.log_every, key="images", unit="values"), ImageExample()]

    def _stamp(self, path: Path) -> str:
        grids = open_grids(path, self.config.model)
        digest = hashlib.sha256(f"{grids.shape}".encode())
        for i in range(0, len(grids), max(1, len(grids) // STAMP_IMAGES)):
            digest.update(grids[i].tobytes())
        return digest.hexdigest()
