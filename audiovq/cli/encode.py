"""`audiovq encode`: audio to `.codes` files or Kaldi's archives."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

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
from audiovq.data.audio_reader import name_of
from audiovq.data.live import LiveSound, raw_sound, wav_sound
from audiovq.data.walk import AUDIO_SUFFIXES
from audiovq.errors import BadAudioError

if TYPE_CHECKING:
    from audiovq.codec import EncodedAudio, FileReport


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--model", default="speech-16k", show_default=True, help="A bundled name, a model folder or a hub id.")
@encode_options
@click.option("--speaker", help="Name of the model's speaker who is heard: the voice in which decode speaks.")
@click.option("--raw", type=click.IntRange(1, 768_000), metavar="RATE", help="IN is bare 16-bit samples (S16_LE).")
@click.option("--channels", type=click.IntRange(1, 255), default=1, show_default=True, help="Of --raw.")
@click.option("--packet-seconds", type=float, help="Length of a packet, at most 5; 0.1 to standard output.")
@click.option(
    "--coding",
    type=click.Choice(["packed", "tables", "learned"]),
    help="How codes are written; tables, if the model has them.",
)
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
    raw: int | None,
    channels: int,
    packet_seconds: float | None,
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
    directory OUT), or - for standard input. OUT may be - for standard output. Wav or --raw samples that come out of a
    pipe are encoded as they arrive.

    As in Kaldi, IN may be scp:wav.scp (files, commands ending in |, or places in archives) or ark:wav.ark, and OUT
    ark:codes.ark, ark,scp:codes.ark,codes.scp, ark:-, 'ark:| COMMAND' or a directory for a file of each utterance.
    """
    refuse_both_rates(encoding)
    entries, archive = specifier(source), specifier(target)
    if entries is None and (archive or segments or utt2spk):
        what = f"{target} needs ids" if archive else "--segments and --utt2spk need ids"
        raise click.UsageError(f"{what}, which a plain file has not; read from scp:FILE or ark:FILE")
    if raw and encoding["normalize"]:
        raise click.UsageError("--normalize has to know the whole, which --raw is encoded before; drop one of them")
    if raw and (entries is not None or os.path.isdir(source)):
        raise click.UsageError("--raw is for one file or standard input")
    from audiovq.codec import Codec, encode_file
    from audiovq.codec.files import encode_live
    from audiovq.codec.streams import PACKET_SECONDS

    set_threads(threads)
    codec = Codec.from_pretrained(model, device)
    codec.check(packet_seconds=packet_seconds, **encoding)  # what is wrong fails once, not for each file

    def work(source: File, target: File, progress: Progress) -> FileReport:
        how: dict[str, Any] = {"force": force, "allow_short": allow_short}
        with ExitStack() as stack:
            sound = _arriving(source, raw, channels, stack) if raw or not encoding["normalize"] else source
            if isinstance(sound, LiveSound):
                packets = packet_seconds or (None if isinstance(target, Path) else PACKET_SECONDS)
                options = {name: value for name, value in encoding.items() if name != "normalize"}
                return encode_live(codec, sound, target, packet_seconds=packets, **how, **options)
            how |= {"packet_seconds": packet_seconds, "progress": in_samples(progress, codec.hop_length)}
            return encode_file(codec, sound, target, **how, **encoding)

    def count(files: int | None) -> int:
        return jobs_for(files, jobs=jobs, threads=threads, device=codec.device.type, one_core=False)

    debug = ctx.find_root().params["debug"]
    if entries is not None:
        speakers = read_map(utt2spk)

        def encode_entry(utterance: str, sound: Samples, progress: Progress) -> EncodedAudio:
            in_frames = in_samples(progress, codec.hop_length)
            voice = {"speaker": speakers.get(utterance, encoding["speaker"])}
            return codec.encode(
                *sound, name=utterance, packet_seconds=packet_seconds, progress=in_frames, **(encoding | voice)
            )

        shown: dict[str, Any] = {
            "jobs": count,
            "force": force,
            "skip_existing": skip_existing,
            "quiet": quiet,
            "debug": debug,
        }
        encode_entries(entries, target, encode_entry, codec.write, segments=segments, allow_short=allow_short, **shown)
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


def _arriving(source: File, raw: int | None, channels: int, stack: ExitStack) -> File | LiveSound:
    """Sound that is bare samples, or wav out of a pipe; anything else as a file."""
    name = name_of(source)
    if raw:
        file = stack.enter_context(_opened(source)) if isinstance(source, Path) else source
        return raw_sound(file, raw, channels, name)
    if isinstance(source, Path) or source.seekable():
        return source
    return wav_sound(source, name)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise BadAudioError(f"{path}: can't be opened ({error.strerror}); check the path") from None
