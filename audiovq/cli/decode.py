"""`audiovq decode`: `.codes` files or Kaldi's archives to audio."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.shared.archive import decode_entries, read_map, specifier
from audiovq.cli.shared.batch import File, process
from audiovq.cli.shared.options import decode_options, decoding_threads, set_threads, skip_option, work_options
from audiovq.cli.shared.progress import Progress, in_samples
from audiovq.cli.shared.report import show_notices
from audiovq.errors import AudioVQError

if TYPE_CHECKING:
    from audiovq.bitstream import AudioHeader
    from audiovq.codec import Codec, EncodedAudio, FileReport


@click.command()
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--model", help="A bundled name, a model folder or a hub id, instead of the model that the file names.")
@click.option("--allow-mismatch", is_flag=True, help="Decode with --model although another model made the codes.")
@decode_options
@click.option("--speaker", help="Name of the voice, instead of the one that the file names.")
@click.option("--utt2spk", type=click.Path(path_type=Path), help="The voice of each utterance of an archive, instead.")
@click.option("--start", type=click.FloatRange(min=0), default=0.0, help="Begin at this second.")
@click.option("--duration", type=click.FloatRange(min=0), help="Decode so many seconds; to the end if not given.")
@click.option("--conceal", is_flag=True, help="Silence instead of an error where a packet is damaged.")
@skip_option
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
    pitch_shift: float,
    seed: int,
    speaker: str | None,
    utt2spk: Path | None,
    start: float,
    duration: float | None,
    conceal: bool,
    device: str,
    threads: int | None,
    force: bool,
    skip_existing: bool,
    quiet: bool,
) -> None:
    """Decode codes IN to audio OUT (.wav, .flac or .ogg), with the rate and number of samples that went in.

    IN is a .codes file, a directory (its tree is mirrored into the directory OUT, as .wav), or - for standard input.
    OUT may be - for standard output, as wav.

    As in Kaldi, IN may be scp:codes.scp, ark:codes.ark or ark:-; OUT is a directory then, which gets a file for each
    utterance and a wav.scp.
    """
    entries = specifier(source)
    if specifier(target) is not None:
        raise click.UsageError(f"{target}: sound is written as files, not as an archive; name a directory")
    if entries is not None and (entries.ark is None) == (entries.scp is None):
        raise click.UsageError("read from ark:FILE or from scp:FILE, not from both")
    if entries is None and utt2spk is not None:
        raise click.UsageError("--utt2spk needs ids, which a .codes file has not; read from scp:FILE or ark:FILE")
    from audiovq.bitstream import CodesReader, as_audio
    from audiovq.codec import Codec, FrameSource, decode_file
    from audiovq.codec.archive import read_codes_archive

    show_notices(not quiet)
    set_threads(threads)
    options: dict[str, Any] = {"decoder": decoder, "precision": precision, "speaker": speaker, "seed": seed}
    options |= {"pitch_shift": pitch_shift, "start": start, "duration": duration, "allow_mismatch": allow_mismatch}
    codecs: dict[str, Codec] = {}  # the files of a tree may come from several models
    lock = threading.Lock()
    if model is not None:
        codecs["--model"] = Codec.from_pretrained(model, device)

    def codec_for(header: AudioHeader) -> Codec:
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
                    return decoding_threads(threads, codec_for(as_audio(reader.header, str(path))), decoder)
            except (AudioVQError, OSError):
                continue  # told when its turn comes
        return 1

    debug = ctx.find_root().params["debug"]
    if entries is not None:
        voices = read_map(utt2spk)

        def decode_entry(utterance: str, encoded: EncodedAudio, target: Path, progress: Progress) -> FileReport:
            codec = codec_for(encoded.header)
            in_frames = in_samples(progress, codec.hop_length)
            voice = {"speaker": voices.get(utterance, speaker)}
            with FrameSource(encoded) as frames:
                return decode_file(codec, frames, target, force=force, progress=in_frames, **(options | voice))

        decode_entries(
            read_codes_archive(entries, codecs.get("--model")),
            target,
            decode_entry,
            threads=lambda encoded: decoding_threads(threads, codec_for(encoded.header), decoder),
            force=force,
            skip_existing=skip_existing,
            quiet=quiet,
            debug=debug,
        )
        return
    process(
        source,
        target,
        work,
        suffixes=(".codes",),
        new_suffix=".wav",
        quiet=quiet,
        debug=debug,
        skip_existing=skip_existing,
        files_at_once=files_at_once,
    )
