"""The tiny WaveNet model that evaluation is tested with."""

from ..evaluate.conftest import model_folder

__all__ = ["model_folder"]
