"""`audiovq image evaluate`: bits per dimension of an image model, and whether it uses its latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audiovq.cli.shared.options import THREADS, Output, set_threads
from audiovq.cli.shared.progress import step_bar
from audiovq.errors import BadDataError

FOLDER = click.Path(file_okay=False, path_type=Path)
OUTPUT = Output()


@click.command()
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--prior", "prior_dir", type=FOLDER, help="Of `audiovq prior fit --layout grid`, on this model's codes.")
@click.option("--importance", type=click.IntRange(min=0), default=0, show_default=True, metavar="S",
              help="Also the importance-weighted bound of so many samples.")  # fmt: skip
@click.option("--temperature", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
              help="Of a VQ-VAE's proposals for --importance: softmax(-d^2 / t).")  # fmt: skip
@click.option("--shuffle/--no-shuffle", default=True, help="Also what other images' latents cost.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only so many images, spread evenly.")
@click.option("--allow-lossy", is_flag=True, help="Measure on images that were JPEG: never beside published figures.")
@click.option("--json", "json_path", type=OUTPUT, help="Write everything as JSON; an existing file is replaced.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=THREADS, help="CPU threads.")
def evaluate(
    model: str,
    data: Path,
    prior_dir: Path | None,
    importance: int,
    temperature: float,
    shuffle: bool,
    limit: int | None,
    allow_lossy: bool,
    json_path: Path | None,
    seed: int,
    device: str,
    threads: int | None,
) -> None:
    """Bits per dimension of MODEL on DATA, a pack or folder of images (a second stage: .npy codes), term by term.

    All are upper bounds of -log2 p(x) / (C H W), means over images with their 95 % intervals; a model without latents
    gives the exact value.
    """
    set_threads(threads)
    from audiovq.data.files import atomic_output
    from audiovq.data.image.open import open_images, spread
    from audiovq.evaluate.image.collapse import latent_use, use_table
    from audiovq.evaluate.image.likelihood import bits_table, bits_tree, image_bits
    from audiovq.image import PixelModel, load_image_model
    from audiovq.image.config import PixelsConfig
    from audiovq.metrics.table import to_json
    from audiovq.prior import load_prior
    from audiovq.train.image.data import open_grids

    loaded = load_image_model(model, device)
    assert loaded.config is not None
    images, labels = open_grids(data, loaded.config), None
    if isinstance(loaded.config.input, PixelsConfig):
        pack = open_images(data)
        labels = pack.labels
        if pack.lossy and not allow_lossy:
            raise BadDataError(
                f"{data}: comes from JPEG or lossy WebP, whose bits/dim are lower than those of real images; "
                "measure with --allow-lossy, and never beside published figures"
            )
    rows = list(spread(len(images), limit))
    images = images[rows]
    labels = None if labels is None else [labels[i] for i in rows]
    prior = None if prior_dir is None else load_prior(prior_dir, device)
    with step_bar("evaluate", "image") as progress:
        bits = image_bits(
            loaded,
            images,
            prior=prior,
            labels=labels if prior is not None and prior.spec.labels else None,
            importance_samples=importance,
            temperature=temperature,
            seed=seed,
            progress=progress,
        )
    click.echo(f"{model} on {len(images)} images of {data}\n\n{bits_table(bits)}")
    tree: dict[str, Any] = {"model": model, "data": str(data), "prior": None if prior_dir is None else str(prior_dir)}
    tree |= bits_tree(bits)
    if shuffle and not isinstance(loaded, PixelModel):
        use = latent_use(loaded, images, seed=seed)
        click.echo(f"\n{use_table(use)}")
        tree["latent_use"] = use.tree()
    if json_path is not None:
        with atomic_output(json_path, force=True) as temporary:
            temporary.write_text(to_json(tree), encoding="utf-8")
