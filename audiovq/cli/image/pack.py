"""`audiovq image pack`: images of any source in one array, for training and evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from audiovq.cli.shared.options import THREADS

_PATH = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_SHOWN = 5


@click.command()
@click.argument("source", type=_PATH)
@click.argument("out", type=_PATH)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["auto", "folder", "array", "cifar10", "pack"]),
    default="auto",
    show_default=True,
    help="What SOURCE is.",
)
@click.option("--split", type=click.Choice(["train", "test"]), default="train", show_default=True, help="Of CIFAR-10.")
@click.option("--labels", type=_PATH, metavar="FILE", help="A file name and its class on each line.")
@click.option("--limit", type=_COUNT, help="No more than so many, spread evenly.")
@click.option("--exclude", is_flag=True, help="Pack all but those of --limit instead: the other part of a split.")
@click.option("--size", type=_COUNT, metavar="N", help="Make all N x N; smaller images are left out.")
@click.option(
    "--resize",
    "how",
    type=click.Choice(["bicubic", "box"]),
    default="bicubic",
    show_default=True,
    help="bicubic: the central square, antialiased. box: the largest central square of k N, means of k x k blocks.",
)
@click.option("--allow-lossy", is_flag=True, help="Pack JPEG and lossy WebP files too; their bits/dim are too low.")
@click.option("--against", type=_PATH, metavar="PACK", help="Count the images that PACK, of another split, has too.")
@click.option("--nj", type=THREADS, default=1, show_default=True, help="Threads that decode.")
@click.option("--force", "-f", is_flag=True, help="Replace an existing pack.")
def pack(source: Path, out: Path, against: Path | None, **options: Any) -> None:
    """Pack images in the folder OUT, as training reads them: 8-bit RGB, all of one size, with their classes.

    SOURCE: a folder of PNG, JPEG and WebP files (sub-folders are classes), an .npy or .npz array of uint8, the official
    CIFAR-10 files (the folder that holds cifar-10-batches-py), or another pack.
    """
    if options["exclude"] and options["limit"] is None:
        raise click.UsageError("--exclude needs --limit, which says how many are left out")
    from audiovq.data.image.open import ImagePack, duplicates, pack_images

    other = None if against is None else ImagePack.open(against)
    packed, too_small = pack_images(source, out, **options)
    _say_some(f"left out {len(too_small)} with a side below {options['size']} pixels", too_small)
    channels, height, width = packed.shape
    classes = f"{len(packed.classes)} classes" if packed.labels else "no classes"
    origin = "from lossy files" if packed.lossy else "lossless"
    click.echo(f"{out}: {len(packed)} images of {width} x {height} x {channels}, {classes}, {origin}")
    if other is not None:
        same = duplicates(packed, other)
        click.echo(f"{out}: {len(same)} of {len(packed)} have the same pixels as one in {against}")
        _say_some("the same", [f"{name} = {match}" for name, match in same])


def _say_some(what: str, names: list[str]) -> None:
    if names:
        more = ", ..." if len(names) > _SHOWN else ""
        click.echo(f"{what}: {', '.join(names[:_SHOWN])}{more}", err=True)
