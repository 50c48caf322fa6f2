"""`audiovq image report`: sizes and scores of a model's codes beside PNG, JPEG and WebP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiovq.cli.image.codes import MODEL
from audiovq.cli.image.inputs import ImageInput, entries, refuse_pipes
from audiovq.cli.shared.batch import exit_if_failed
from audiovq.cli.shared.options import THREADS, Output, set_threads
from audiovq.cli.shared.progress import TreeBar
from audiovq.cli.shared.report import error_line
from audiovq.errors import AudioVQError, BadDataError

if TYPE_CHECKING:
    from audiovq.codec import ImageCodec
    from audiovq.evaluate.image.report import ImageScores


@click.command()
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@click.option("--model", required=True, help=MODEL)
@click.option("--limit", type=click.IntRange(min=1), help="No more than so many images of each IN, spread evenly.")
@click.option("--json", "json_path", metavar="FILE", type=Output(),
              help="Write everything as JSON too.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of a PixelCNN decoder.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=THREADS, help="CPU threads; torch's choice if not given.")
@click.option("--force", "-f", is_flag=True, help="Overwrite an existing FILE.")
@click.option("--quiet", "-q", is_flag=True, help="No rows of single images, and no progress bar.")
@click.pass_context
def report(
    ctx: click.Context,
    sources: tuple[str, ...],
    model: str,
    limit: int | None,
    json_path: Path | None,
    seed: int,
    device: str,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Compare a model's codes of images IN with PNG, JPEG and WebP, in a Markdown table.

    IN are PNG, JPEG or WebP files, directories, packs or arrays. Bytes are those of whole files, headers included. PNG
    is lossless; JPEG and WebP have the quality whose file comes nearest to the codes' bytes, or is the smallest there
    is. Bytes of all images are sums, PSNR and SSIM means over images.
    """
    refuse_pipes(*sources)
    from audiovq.codec import ImageCodec
    from audiovq.data.files import atomic_output
    from audiovq.evaluate.image.formats import has_ssim
    from audiovq.evaluate.image.report import report_table, report_tree
    from audiovq.metrics.table import to_json

    set_threads(threads)
    if not has_ssim():
        click.echo("audiovq: no SSIM, which needs torchmetrics: pip install 'audiovq[eval]'", err=True)
    codec = ImageCodec.from_pretrained(model, device)
    found = [entry for source in sources for entry in entries(source, codec.channels, limit)]
    debug = ctx.find_root().params["debug"]
    if json_path is None:
        reports = _reports(codec, found, seed, quiet, debug)
    else:
        with atomic_output(json_path, force=force) as temporary:  # refused before the work, not after it
            reports = _reports(codec, found, seed, quiet, debug)
            tree = {"model": codec.name, "fingerprint": codec.fingerprint.hex(), **report_tree(reports)}
            temporary.write_text(to_json(tree), encoding="utf-8")
    click.echo(report_table(reports, each=not quiet))
    exit_if_failed(len(found) - len(reports), len(found))


def _reports(codec: ImageCodec, found: list[ImageInput], seed: int, quiet: bool, debug: bool) -> list[ImageScores]:
    """Of those that can be read; the others are named on stderr."""
    reports = []
    with TreeBar(len(found), quiet) as bar:
        for entry in found:
            try:
                reports.append(_report(codec, entry, seed))
            except (AudioVQError, OSError) as error:
                if debug:
                    raise
                bar.write(error_line(error))
            bar.file_done()
    if not reports:
        raise BadDataError(f"none of {len(found)} images can be read")
    return reports


def _report(codec: ImageCodec, entry: ImageInput, seed: int) -> ImageScores:
    from audiovq.codec.image.files import reconstruct
    from audiovq.evaluate.image.formats import as_png, nearest, score
    from audiovq.evaluate.image.report import ImageScores

    original = entry.read()
    decoded, num_bytes = reconstruct(codec, original, seed=seed)
    ours = score("audiovq", original, decoded, num_bytes)
    others = [as_png(original), nearest("JPEG", original, num_bytes), nearest("WebP", original, num_bytes)]
    return ImageScores(entry.name, original.shape[1], original.shape[2], [ours, *others])
