"""`audiovq image sample`: a sheet of images drawn from a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.shared.options import THREADS, set_threads
from audiovq.cli.shared.progress import step_bar
from audiovq.errors import BadModelError, ConfigError

if TYPE_CHECKING:
    from audiovq.image import ImageModel
    from audiovq.prior import Prior

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("model")
@click.argument("out", metavar="OUT.png", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--prior", "prior_dir", type=FOLDER, help="Of `audiovq prior fit --layout grid`, on this model's codes.")
@click.option(
    "--first-stage", metavar="MODEL", help="For a second stage, whose images are codes: the model to decode them."
)
@click.option("--num", type=click.IntRange(min=1), help="Images in all, or a row of each class; 64 or 8 if not given.")
@click.option(
    "--label", "labels", multiple=True, help="Class, of a prior that is conditioned on it; repeatable, a row each."
)
@click.option("--every-label", is_flag=True, help="A row of every class that the prior knows.")
@click.option("--temperature", type=click.FloatRange(min=0), default=1.0, show_default=True)
@click.option("--top-k", type=click.IntRange(min=1), help="Draw from the k most probable codes.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
              help="Draw from the fewest codes that have this probability.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=THREADS, help="CPU threads.")
@click.option("--force", "-f", is_flag=True, help="Overwrite an existing file.")
def sample(
    model: str,
    out: Path,
    prior_dir: Path | None,
    first_stage: str | None,
    num: int | None,
    labels: tuple[str, ...],
    every_label: bool,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Draw images from MODEL and put them on the sheet OUT.png.

    A VQ-VAE draws its codes from --prior, or without it from the uniform prior that it was trained under; baselines
    draw from theirs. The same seed gives the same images.
    """
    if labels and every_label:
        raise click.UsageError("--label and --every-label say two things; give one of them")
    from audiovq.data.image.output import check_png, sheet, square_columns, write_png
    from audiovq.image import load_image_model
    from audiovq.prior import load_prior

    set_threads(threads)
    check_png(out, force=force)
    loaded = load_image_model(model, device)
    decoder = _first_stage(loaded, model, first_stage, device)
    prior = None if prior_dir is None else load_prior(prior_dir, device)
    rows: list[str | None] = list(labels)
    if every_label:
        rows = [] if prior is None else list(prior.spec.labels)
    if (every_label and not rows) or (labels and prior is None):
        raise ConfigError("--label and --every-label need a --prior that was fitted with --by-label")
    count = num or (8 if rows else 64)
    options: dict[str, Any] = {"seed": seed, "temperature": temperature, "top_k": top_k, "top_p": top_p}
    images = []
    for label in rows or [None]:
        images += _draw(loaded, decoder, count, prior, label, options if prior is not None else {"seed": seed})
    write_png(out, sheet(images, count if rows else square_columns(count)), force=force)
    click.echo(f"{out}: {len(images)} images" + (f", a row each of {', '.join(map(str, rows))}" if rows else ""))


def _first_stage(loaded: ImageModel, name: str, first_stage: str | None, device: str) -> ImageModel | None:
    """What decodes a second stage's images, which are codes."""
    from audiovq.image import load_image_model
    from audiovq.image.config import CodesConfig

    assert loaded.config is not None
    if not isinstance(loaded.config.input, CodesConfig):
        if first_stage is not None:
            raise BadModelError(f"{name}: draws images, not codes; leave --first-stage out")
        return None
    if first_stage is None:
        raise BadModelError(f"{name}: a second stage, which draws codes; name the model of those with --first-stage")
    return load_image_model(first_stage, device)


def _draw(
    loaded: ImageModel,
    decoder: ImageModel | None,
    count: int,
    prior: Prior | None,
    label: str | None,
    options: dict[str, Any],
) -> list[Any]:
    """uint8 images `[C, H, W]`."""
    import torch

    from audiovq.evaluate.image.samples import draw_images
    from audiovq.image import ImageVQVAE

    with step_bar("sample", "place") as progress:
        images = draw_images(
            loaded, count, prior=prior, label=label, on_position=lambda done: progress(done, 0), **options
        )
    if decoder is not None:
        if not isinstance(decoder, ImageVQVAE):
            raise BadModelError("--first-stage: has no codes; name the VQ-VAE whose codes the second stage models")
        images = decoder.decode(images, torch.Generator().manual_seed(options["seed"]))
    return list(images.byte().cpu().numpy())
