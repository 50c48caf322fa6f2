"""`audiovq image encode` and `decode`: images to `.codes` files or an array of codes, and back."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.image.inputs import holds_many, refuse_pipes
from audiovq.cli.shared.batch import File, process
from audiovq.cli.shared.options import set_threads, skip_option, work_options
from audiovq.cli.shared.progress import Progress, step_bar
from audiovq.errors import OutputError

if TYPE_CHECKING:
    from audiovq.bitstream import ImageHeader
    from audiovq.codec import ImageCodec, ImageReport

MODEL = "A model folder, a bundled name or a hub id."


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--model", required=True, help=MODEL)
@skip_option
@work_options
@click.pass_context
def encode(
    ctx: click.Context,
    source: str,
    target: str,
    model: str,
    device: str,
    threads: int | None,
    force: bool,
    skip_existing: bool,
    quiet: bool,
) -> None:
    """Encode images IN to codes OUT.

    IN is a PNG, JPEG or WebP file of any size, or a directory, whose tree is mirrored into the directory OUT as .codes
    files.

    With OUT.npy, IN is whatever `audiovq image pack` takes, its images of one size; their codes become one array of
    integers [N, Q, H, W], and their classes, if they have any, lines of <item> <class> in OUT.labels.txt: what
    `audiovq prior fit --layout grid` takes as codes and --labels.
    """
    refuse_pipes(source, target)
    from audiovq.codec import ImageCodec, encode_image
    from audiovq.data.image.files import SUFFIXES

    to_array = target.endswith(".npy")
    if holds_many(source) and not to_array:
        raise click.UsageError(f"{source}: its images become one array of codes: name OUT.npy")
    set_threads(threads)
    codec = ImageCodec.from_pretrained(model, device)
    if to_array:
        _encode_array(codec, source, Path(target), force=force, quiet=quiet)
        return

    def work(source: File, target: File, progress: Progress) -> ImageReport:
        assert isinstance(source, Path)
        assert isinstance(target, Path)
        return encode_image(codec, source, target, force=force)

    debug = ctx.find_root().params["debug"]
    how = {"quiet": quiet, "debug": debug, "skip_existing": skip_existing}
    process(source, target, work, suffixes=sorted(SUFFIXES), new_suffix=".codes", **how)


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--model", help=f"{MODEL} Instead of the model that the file names.")
@click.option("--allow-mismatch", is_flag=True, help="Decode with --model although another model made the codes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of a PixelCNN decoder.")
@click.option("--conceal", is_flag=True, help="Grey instead of an error where a packet is damaged.")
@skip_option
@work_options
@click.pass_context
def decode(
    ctx: click.Context,
    source: str,
    target: str,
    model: str | None,
    allow_mismatch: bool,
    seed: int,
    conceal: bool,
    device: str,
    threads: int | None,
    force: bool,
    skip_existing: bool,
    quiet: bool,
) -> None:
    """Decode codes IN to images OUT (.png), of the size that went in.

    IN is a .codes file, or a directory, whose tree is mirrored into the directory OUT.
    """
    refuse_pipes(source, target)
    from audiovq.bitstream import CodesReader, as_image
    from audiovq.codec import ImageCodec, decode_image

    set_threads(threads)
    options: dict[str, Any] = {"allow_mismatch": allow_mismatch, "seed": seed, "conceal": conceal}
    codecs: dict[str, ImageCodec] = {}  # the files of a tree may come from several models
    if model is not None:
        codecs["--model"] = ImageCodec.from_pretrained(model, device)

    def codec_for(header: ImageHeader) -> ImageCodec:
        name = header.model if model is None else "--model"
        if name not in codecs:
            codecs[name] = ImageCodec.for_header(header, device)
        return codecs[name]

    def work(source: File, target: File, progress: Progress) -> ImageReport:
        assert isinstance(source, Path)
        assert isinstance(target, Path)
        with CodesReader(source) as reader:
            codec = codec_for(as_image(reader.header, str(source)))
        return decode_image(codec, source, target, force=force, **options)

    debug = ctx.find_root().params["debug"]
    how = {"quiet": quiet, "debug": debug, "skip_existing": skip_existing}
    process(source, target, work, suffixes=[".codes"], new_suffix=".png", **how)


def _encode_array(codec: ImageCodec, source: str, target: Path, *, force: bool, quiet: bool) -> None:
    """All images of a source as one array of codes, and their classes beside it."""
    import numpy as np

    from audiovq.codec.image.files import in_channels
    from audiovq.data.files import atomic_output
    from audiovq.data.image.open import open_images
    from audiovq.prior.collection import array_item

    labels = target.with_suffix(".labels.txt")
    if labels.exists() and not force:
        raise OutputError(f"{labels}: exists already; use --force to overwrite it")
    with atomic_output(target, force=force, source=source) as temporary:
        opened = open_images(source)
        if opened.labels is not None and len(target.stem.split()) != 1:
            raise OutputError(f"{target}: items are named after it in {labels.name}; choose a name without spaces")
        images = opened.images
        if codec.channels == 1:
            images = np.stack([in_channels(image, 1) for image in images])
        with nullcontext() if quiet else step_bar("encode", "image") as progress:
            codes = codec.encode_many(images, progress)
        np.save(temporary, codes)
        _write_labels(labels, [array_item(target.stem, i) for i in range(len(opened))], opened.labels)
    if not quiet:
        click.echo(f"{source} -> {target}: {codes.dtype} {list(codes.shape)}", err=True)


def _write_labels(path: Path, items: list[str], labels: list[str] | None) -> None:
    from audiovq.data.files import atomic_output

    if labels is None:
        path.unlink(missing_ok=True)  # those of other images
        return
    with atomic_output(path, force=True) as temporary:
        lines = [f"{item} {label}\n" for item, label in zip(items, labels, strict=True)]
        temporary.write_text("".join(lines), encoding="utf-8")
