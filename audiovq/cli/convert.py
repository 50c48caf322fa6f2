"""`audiovq convert`: speech in the voice of another speaker of the model."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.shared.batch import File, process
from audiovq.cli.shared.options import allow_short as allow_short_option
from audiovq.cli.shared.options import (
    decode_options,
    decoding_jobs,
    encode_options,
    jobs_option,
    refuse_both_rates,
    set_threads,
    skip_option,
    work_options,
)
from audiovq.cli.shared.progress import Progress, in_samples
from audiovq.cli.shared.report import show_notices
from audiovq.data.files import check_target
from audiovq.data.walk import AUDIO_SUFFIXES
from audiovq.errors import BadModelError

if TYPE_CHECKING:
    from audiovq.codec import FileReport


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--speaker", required=True, help="Name of the voice; `audiovq inspect MODEL` lists them.")
@click.option("--model", default="speech-16k", show_default=True, help="A bundled name, a model folder or a hub id.")
@encode_options
@decode_options
@allow_short_option
@skip_option
@jobs_option
@work_options
@click.pass_context
def convert(
    ctx: click.Context,
    source: str,
    target: str,
    speaker: str,
    model: str,
    bitrate: float | None,
    num_quantizers: int | None,
    normalize: bool,
    allow_short: bool,
    device: str,
    threads: int | None,
    jobs: int | None,
    force: bool,
    skip_existing: bool,
    quiet: bool,
    **decoding: Any,
) -> None:
    """Encode audio IN and decode it with another speaker's voice to OUT: a file, a directory tree, or - (a pipe)."""
    encoding: dict[str, Any] = {"bitrate": bitrate, "num_quantizers": num_quantizers, "normalize": normalize}
    refuse_both_rates(encoding)
    from audiovq.codec import Codec, decode_file, encode_file
    from audiovq.data.audio_reader import open_audio
    from audiovq.data.audio_writer import check_writable

    show_notices(not quiet)
    set_threads(threads)
    codec = Codec.from_pretrained(model, device)
    if not codec.model.speakers:
        raise BadModelError(f"{model} has no speakers to convert to; choose a model trained with a speaker table")
    codec.check(speaker=speaker, **encoding)  # what is wrong fails once, not for each file

    def work(source: File, target: File, progress: Progress) -> FileReport:
        if isinstance(target, Path):
            check_target(target, force=force)  # before the work, not after it
        if isinstance(source, Path):
            with open_audio(source, allow_short=allow_short) as sound:
                check_writable(target, sound.channels, sound.num_samples or 1, sound.rate)
        codes = io.BytesIO()
        encode_file(codec, source, codes, speaker=speaker, allow_short=allow_short, **encoding)
        codes.seek(0)
        in_frames = in_samples(progress, codec.hop_length)
        return decode_file(codec, codes, target, force=force, progress=in_frames, **decoding)

    how = {name: decoding[name] for name in ("decoder", "precision")}
    process(
        source,
        target,
        work,
        suffixes=AUDIO_SUFFIXES,
        new_suffix=".wav",
        quiet=quiet,
        debug=ctx.find_root().params["debug"],
        skip_existing=skip_existing,
        jobs=lambda sources: decoding_jobs(len(sources), codec, jobs=jobs, threads=threads, **how),
    )
