"""VQ-VAEs of images, and the baselines that the paper compares them with (arXiv 1711.00937, sections 4.1 and 4.2)."""

from audiovq.image.baselines import GaussianVAE, VimcoVAE
from audiovq.image.build import build_image_model, image_model_from, load_image_model
from audiovq.image.config import ImageModelConfig
from audiovq.image.model import Bound, ImageModel, ImageVQVAE, PixelModel

__all__ = [
    "Bound",
    "GaussianVAE",
    "ImageModel",
    "ImageModelConfig",
    "ImageVQVAE",
    "PixelModel",
    "VimcoVAE",
    "build_image_model",
    "image_model_from",
    "load_image_model",
]
