"""`audiovq decode`: `.codes` to audio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.batch import File, Progress, process
from audiovq.cli.options import decode_options, set_threads, work_options

if TYPE_CHECKING:
    from audiovq.codec import Codec, FileReport


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--model", help="A bundled name, a model folder or a hub id, instead of the model that the file names.")
@click.option("--allow-mismatch", is_flag=True, help="Decode with --model although another model made the codes.")
@decode_options
@click.option("--speaker", help="Name of the voice, instead of the one that the file names.")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Begin at this second.")
@click.option("--duration", type=click.FloatRange(min=0), help="Decode so many seconds; to the end if not given.")
@click.option("--conceal", is_flag=True, help="Silence instead of an error where a packet is damaged.")
@work_options
@click.pass_context
def decode(
    ctx: click.Context,
    source: str,
    target: str,
    model: str | None,
    allow_mismatch: bool,
    decoder: str | None,
    seed: int,
    speaker: str | None,
    start: float,
    duration: float | None,
    conceal: bool,
    device: str,
    threads: int | None,
    force: bool,
    quiet: bool,
) -> None:
    """Decode codes IN to audio OUT (.wav, .flac or .ogg), with the rate and number of samples that went in.

    IN is a .codes file, a directory (its tree is mirrored into the directory OUT, as .wav), or - for standard input.
    OUT may be - for standard output, as wav.
    """
    from audiovq.codec import Codec, FrameSource, decode_file

    set_threads(threads)
    options: dict[str, Any] = {"decoder": decoder, "speaker": speaker, "seed": seed, "allow_mismatch": allow_mismatch}
    options |= {"start": start, "duration": duration}
    codecs: dict[str, Codec] = {}  # the files of a tree may come from several models
    if model is not None:
        codecs["--model"] = Codec.from_pretrained(model, device)

    def work(source: File, target: File, progress: Progress) -> FileReport:
        with FrameSource(source, conceal=conceal) as frames:
            name = frames.header.model if model is None else "--model"
            if name not in codecs:
                codecs[name] = Codec.for_header(frames.header, device)
            return decode_file(codecs[name], frames, target, force=force, progress=progress, **options)

    debug = ctx.find_root().params["debug"]
    process(source, target, work, suffixes=(".codes",), new_suffix=".wav", quiet=quiet, debug=debug)
