"""`audiovq decode`: `.codes` to audio."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.batch import File, process
from audiovq.cli.options import decode_options, decoding_threads, set_threads, work_options
from audiovq.cli.progress import Progress, in_samples
from audiovq.cli.report import show_notices
from audiovq.errors import AudioVQError

if TYPE_CHECKING:
    from audiovq.bitstream import Header
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
    precision: str | None,
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
    from audiovq.bitstream import CodesReader
    from audiovq.codec import Codec, FrameSource, decode_file

    show_notices(not quiet)
    set_threads(threads)
    options: dict[str, Any] = {"decoder": decoder, "precision": precision, "speaker": speaker, "seed": seed}
    options |= {"start": start, "duration": duration, "allow_mismatch": allow_mismatch}
    codecs: dict[str, Codec] = {}  # the files of a tree may come from several models
    lock = threading.Lock()
    if model is not None:
        codecs["--model"] = Codec.from_pretrained(model, device)

    def codec_for(header: Header) -> Codec:
        name = header.model if model is None else "--model"
        with lock:
            if name not in codecs:
                codecs[name] = Codec.for_header(header, device)
            return codecs[name]

    def work(source: File, target: File, progress: Progress) -> FileReport:
        with FrameSource(source, conceal=conceal) as frames:
            codec = codec_for(frames.header)
            in_frames = in_samples(progress, codec.hop_length)
            return decode_file(codec, frames, target, force=force, progress=in_frames, **options)

    def files_at_once(sources: list[Path]) -> int:
        """As suits the first file that can be opened; in trees of several models, the others are much like it."""
        for path in sources:
            try:
                with CodesReader(path) as reader:
                    return decoding_threads(threads, codec_for(reader.header), decoder)
            except (AudioVQError, OSError):
                continue  # told when its turn comes
        return 1

    process(
        source,
        target,
        work,
        suffixes=(".codes",),
        new_suffix=".wav",
        quiet=quiet,
        debug=ctx.find_root().params["debug"],
        files_at_once=files_at_once,
    )
