"""`audiovq encode`: audio to `.codes` files or Kaldi's archives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.shared.archive import Samples, encode_entries, read_map, specifier
from audiovq.cli.shared.batch import File, jobs_for, process
from audiovq.cli.shared.options import allow_short as allow_short_option
from audiovq.cli.shared.options import (
    encode_options,
    jobs_option,
    kaldi_options,
    refuse_both_rates,
    set_threads,
    skip_option,
    work_options,
)
from audiovq.cli.shared.progress import Progress, in_samples
from audiovq.data.walk import AUDIO_SUFFIXES

if TYPE_CHECKING:
    from audiovq.codec import EncodedAudio, FileReport


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--model", default="speech-16k", show_default=True, help="A bundled name, a model folder or a hub id.")
@encode_options
@click.option("--speaker", help="Name of the model's speaker who is heard: the voice in which decode speaks.")
@kaldi_options
@allow_short_option
@skip_option
@jobs_option
@work_options
@click.pass_context
def encode(
    ctx: click.Context,
    source: str,
    target: str,
    model: str,
    segments: Path | None,
    utt2spk: Path | None,
    allow_short: bool,
    device: str,
    threads: int | None,
    jobs: int | None,
    force: bool,
    skip_existing: bool,
    quiet: bool,
    **encoding: Any,
) -> None:
    """Encode audio IN to codes OUT.

    IN is a file of any rate, channel count and format that libsndfile reads, a directory (its tree is mirrored into the
    directory OUT), or - for standard input. OUT may be - for standard output.

    As in Kaldi, IN may be scp:wav.scp (files, commands ending in |, or places in archives) or ark:wav.ark, and OUT
    ark:codes.ark, ark,scp:codes.ark,codes.scp, ark:-, 'ark:| COMMAND' or a directory for a file of each utterance.
    """
    refuse_both_rates(encoding)
    entries, archive = specifier(source), specifier(target)
    if entries is None and (archive or segments or utt2spk):
        what = f"{target} needs ids" if archive else "--segments and --utt2spk need ids"
        raise click.UsageError(f"{what}, which a plain file has not; read from scp:FILE or ark:FILE")
    from audiovq.codec import Codec, encode_file

    set_threads(threads)
    codec = Codec.from_pretrained(model, device)
    codec.check(**encoding)  # what is wrong fails once, not for each file

    def work(source: File, target: File, progress: Progress) -> FileReport:
        in_frames = in_samples(progress, codec.hop_length)
        return encode_file(codec, source, target, force=force, allow_short=allow_short, progress=in_frames, **encoding)

    def count(files: int | None) -> int:
        return jobs_for(files, jobs=jobs, threads=threads, device=codec.device.type, one_core=False)

    debug = ctx.find_root().params["debug"]
    if entries is not None:
        speakers = read_map(utt2spk)

        def encode_entry(utterance: str, sound: Samples, progress: Progress) -> EncodedAudio:
            in_frames = in_samples(progress, codec.hop_length)
            voice = {"speaker": speakers.get(utterance, encoding["speaker"])}
            return codec.encode(*sound, name=utterance, progress=in_frames, **(encoding | voice))

        how: dict[str, Any] = {
            "jobs": count,
            "force": force,
            "skip_existing": skip_existing,
            "quiet": quiet,
            "debug": debug,
        }
        encode_entries(entries, target, encode_entry, segments=segments, allow_short=allow_short, **how)
        return
    process(
        source,
        target,
        work,
        suffixes=AUDIO_SUFFIXES,
        new_suffix=".codes",
        quiet=quiet,
        debug=debug,
        skip_existing=skip_existing,
        jobs=lambda sources: count(len(sources)),
    )
