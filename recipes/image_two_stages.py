#!/usr/bin/env python3
"""A sheet of images and of what two stages of codes keep of them.

    image_two_stages.py --first exp/vqvae/models/best --second exp/vqvae_second/models/best \\
                        --data dump/64/test --out two_stages.png

Three images a row: the original; decoded from its codes; decoded from codes that the second model drew, given its own
few codes of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from audiovq.data.image.open import open_images
from audiovq.data.image.output import sheet, write_png
from audiovq.errors import AudioVQError, BadModelError
from audiovq.image import ImageVQVAE, load_image_model


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--first", type=Path, required=True, help="model folder: images to codes")
    parser.add_argument("--second", type=Path, required=True, help="model folder: these codes to fewer")
    parser.add_argument("--data", type=Path, required=True, help="images, as `audiovq image pack` takes them")
    parser.add_argument("--out", type=Path, required=True, help="PNG file, replaced")
    parser.add_argument("--num", type=int, default=16, help="how many images, spread evenly")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    try:
        torch.manual_seed(options.seed)
        first, second = (_model(folder, options.device) for folder in (options.first, options.second))
        images = np.ascontiguousarray(open_images(options.data, limit=options.num).images)
        write_png(options.out, sheet(rows(first, second, torch.from_numpy(images)), 9), force=True)
    except AudioVQError as error:
        sys.exit(f"{sys.argv[0]}: error: {error}")
    print(f"{options.out}: original, from its codes, from the second model's codes of these; three times a row")


def rows(first: ImageVQVAE, second: ImageVQVAE, images: torch.Tensor) -> list[np.ndarray]:
    """Of each image `[C, H, W]` three, uint8: itself, from its codes, from the second model's."""
    device = next(first.parameters()).device
    with torch.inference_mode():
        codes = first.encode(images.to(device))
        versions = [images.to(device), first.decode(codes), first.decode(second.decode(second.encode(codes)))]
    return [version[i].byte().cpu().numpy() for i in range(len(images)) for version in versions]


def _model(folder: Path, device: str) -> ImageVQVAE:
    model = load_image_model(folder, device)
    if not isinstance(model, ImageVQVAE):
        raise BadModelError(f"{folder}: is no VQ-VAE, and has no codes")
    return model


if __name__ == "__main__":
    main()
