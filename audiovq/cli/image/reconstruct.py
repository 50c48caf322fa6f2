"""`audiovq image reconstruct`: encode and decode in one go, and a sheet of originals beside reconstructions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiovq.cli.image.codes import MODEL
from audiovq.cli.image.inputs import ImageInput, entries, refuse_pipes
from audiovq.cli.shared.batch import exit_if_failed, process_jobs
from audiovq.cli.shared.options import set_threads, work_options
from audiovq.cli.shared.progress import Progress
from audiovq.data.files import refuse_input
from audiovq.errors import OutputError

if TYPE_CHECKING:
    from audiovq.codec import ImageReport
    from audiovq.codec.image.codec import Pixels

SHEET = 64  # images where only a sheet is asked for, unless --limit says otherwise


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="[OUT]", required=False)
@click.option("--model", required=True, help=MODEL)
@click.option(
    "--grid",
    metavar="FILE.png",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"A sheet of originals, each with its reconstruction on the right; without OUT of {SHEET} at most.",
)
@click.option("--limit", type=click.IntRange(min=1), help="No more than so many images, spread evenly.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of a PixelCNN decoder.")
@work_options
@click.pass_context
def reconstruct(
    ctx: click.Context,
    source: str,
    target: str | None,
    model: str,
    grid: Path | None,
    limit: int | None,
    seed: int,
    device: str,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Show what the codes keep: encode images IN and decode them to OUT (.png).

    IN is a PNG, JPEG or WebP file, a directory (its tree is mirrored into the directory OUT), a pack or an array. OUT
    may be left out where --grid is given.
    """
    refuse_pipes(source, target or "")
    if target is None and grid is None:
        raise click.UsageError("nothing to write: name OUT, or --grid FILE.png")
    from audiovq.codec import ImageCodec, ImageReport
    from audiovq.codec.image.files import reconstruct as there_and_back
    from audiovq.data.image.output import check_png, sheet, square_columns, write_png

    set_threads(threads)
    if grid is not None:
        check_png(grid, force=force)
    codec = ImageCodec.from_pretrained(model, device)
    if target is None and limit is None:
        limit = SHEET
    jobs = _jobs(entries(source, codec.channels, limit), source, target)
    if force:
        for entry, output in jobs:
            refuse_input(source if entry.name == source else Path(source, entry.name), output)
    shown: list[Pixels] = []

    def work(entry: ImageInput, output: Path | str, progress: Progress) -> ImageReport:
        began = time.perf_counter()
        original = entry.read()
        decoded, num_bytes = there_and_back(codec, original, seed=seed)
        if isinstance(output, Path):
            write_png(output, decoded, force=force)
        if grid is not None:
            shown.extend((original, decoded))
        return ImageReport(original.shape[1], original.shape[2], num_bytes, time.perf_counter() - began)

    debug = ctx.find_root().params["debug"]
    failed = process_jobs(jobs, work, total=len(jobs), jobs=1, quiet=quiet, debug=debug)
    if grid is not None and shown:
        write_png(grid, sheet(shown, square_columns(len(shown), group=2)), force=force)
    exit_if_failed(failed, len(jobs))


def _jobs(found: list[ImageInput], source: str, target: str | None) -> list[tuple[ImageInput, Path | str]]:
    """Each image with its place; a sheet's only have none."""
    if target is None:
        return [(entry, "sheet") for entry in found]
    path = Path(target)
    if [entry.name for entry in found] == [source]:  # a single file
        place = path / Path(source).with_suffix(".png").name if path.is_dir() else path
        return [(found[0], place)]
    if path.exists() and not path.is_dir():
        raise OutputError(f"{target}: is a file; name a directory to hold what {source} becomes")
    origin: dict[Path, ImageInput] = {}
    for entry in found:
        place = (path / entry.name).with_suffix(".png")
        if ".." in place.relative_to(path).parts:
            raise OutputError(f"{entry}: this name leads out of {target}; rename it in the pack")
        if place in origin:
            raise OutputError(f"{place}: both {origin[place]} and {entry} would become it; rename one of them")
        origin[place] = entry
    return [(entry, place) for place, entry in origin.items()]
