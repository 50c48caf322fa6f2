"""`audiovq decode`: `.codes` files or Kaldi's archives to audio."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.shared.archive import decode_entries, read_map, specifier
from audiovq.cli.shared.batch import File, process
from audiovq.cli.shared.options import (
    decode_options,
    decoding_jobs,
    jobs_option,
    set_threads,
    skip_option,
    work_options,
)
from audiovq.cli.shared.progress import Progress, in_samples
from audiovq.cli.shared.report import show_notices
from audiovq.errors import AudioVQError

if TYPE_CHECKING:
    from audiovq.bitstream import AudioHeader, Header, PacketCoder
    from audiovq.codec import Codec, EncodedAudio, FileReport, FrameSource
    from audiovq.codec.code_streams import SoundStream


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
@click.option("--conceal", is_flag=True, help="Bridge damaged packets by the sound before, instead of an error.")
@click.option("--raw", is_flag=True, help="Write bare 16-bit samples (S16_LE).")
@skip_option
@jobs_option
@work_options
@click.pass_context
def decode(
    ctx: click.Context,
    source: str,
    target: str,
    model: str | None,
    utt2spk: Path | None,
    conceal: bool,
    raw: bool,
    device: str,
    threads: int | None,
    jobs: int | None,
    force: bool,
    skip_existing: bool,
    quiet: bool,
    **decoding: Any,
) -> None:
    """Decode codes IN to audio OUT (.wav, .flac or .ogg), with the rate and number of samples that went in.

    IN is a .codes file, a directory (its tree is mirrored into the directory OUT, as .wav), or - for standard input.
    OUT may be - for standard output, as wav. From a pipe to a pipe, sound is written as its codes arrive.

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
    if raw and (entries is not None or os.path.isdir(source)):
        raise click.UsageError("--raw is for one file or standard input")
    show_notices(not quiet)
    set_threads(threads)
    work = _Decoding(model, device, threads, jobs, conceal, raw, force, decoding)
    shown: dict[str, Any] = {"quiet": quiet, "debug": ctx.find_root().params["debug"], "skip_existing": skip_existing}
    if entries is None:
        process(source, target, work.file, suffixes=(".codes",), new_suffix=".wav", jobs=work.jobs_of_files, **shown)
        return
    from audiovq.codec.sampled import recordings_of

    voices, recordings = read_map(utt2spk), recordings_of(entries, work.chosen)

    def decode_entry(utterance: str, encoded: EncodedAudio, target: Path, progress: Progress) -> FileReport:
        return work.recording(encoded, target, progress, voices.get(utterance))

    decode_entries(recordings, target, decode_entry, jobs=work.jobs_of_recordings, force=force, **shown)


class _Decoding:
    """What the options say: codecs, each loaded once, and how they decode a file or a recording.

    Args:
        model: its name, for all that is decoded; None: the files of a tree may come from several models.
        device, threads, jobs, conceal, raw, force: as the options.
        decoding: options of `Codec.decode`.
    """

    def __init__(
        self,
        model: str | None,
        device: str,
        threads: int | None,
        jobs: int | None,
        conceal: bool,
        raw: bool,
        force: bool,
        decoding: dict[str, Any],
    ) -> None:
        from audiovq.codec import Codec

        self.chosen = None if model is None else Codec.from_pretrained(model, device)
        self._device, self._threads, self._jobs = device, threads, jobs
        self._conceal, self._raw, self._force = conceal, raw, force
        self._decoding = decoding
        self._codecs: dict[str, Codec] = {}

    def file(self, source: File, target: File, progress: Progress) -> FileReport:
        """A `.codes` file to audio."""
        from audiovq.codec import FrameSource

        whole = not self._decoding["start"] and self._decoding["duration"] is None
        if whole and not isinstance(source, Path) and not isinstance(target, Path) and not source.seekable():
            from audiovq.codec.files import decode_live

            return decode_live(self._start, self._coder_of, source, target, raw=self._raw, conceal=self._conceal)
        with FrameSource(source, conceal=self._conceal) as frames:
            return self._decode(frames, target, progress, self._decoding)

    def _start(self, header: AudioHeader) -> SoundStream:
        options = {name: value for name, value in self._decoding.items() if name not in ("start", "duration")}
        return self._codec_for(header).sound_stream(header, **options)

    def _coder_of(self, header: Header) -> PacketCoder | None:
        from audiovq.bitstream import as_audio

        return self._codec_for(as_audio(header, "<stream>")).coder_of(header)

    def recording(self, encoded: EncodedAudio, target: Path, progress: Progress, voice: str | None) -> FileReport:
        """A recording of an archive to audio, in a voice of its own if there is one."""
        from audiovq.codec import FrameSource

        with FrameSource(encoded) as frames:
            return self._decode(frames, target, progress, self._decoding | ({"speaker": voice} if voice else {}))

    def jobs_of_files(self, sources: list[Path]) -> int:
        """As suits the first file that can be opened; in trees of several models, the others are much like it."""
        from audiovq.bitstream import CodesReader, as_audio

        for path in sources:
            try:
                with CodesReader(path) as reader:
                    return self._count(len(sources), as_audio(reader.header, str(path)))
            except (AudioVQError, OSError):
                continue  # told when its turn comes
        return 1

    def jobs_of_recordings(self, first: EncodedAudio) -> int:
        """As suits the first of an archive."""
        return self._count(None, first.header)

    def _count(self, files: int | None, header: AudioHeader) -> int:
        how = {name: self._decoding[name] for name in ("decoder", "precision")}
        return decoding_jobs(files, self._codec_for(header), jobs=self._jobs, threads=self._threads, **how)

    def _decode(self, frames: FrameSource, target: File, progress: Progress, options: dict[str, Any]) -> FileReport:
        from audiovq.codec import decode_file

        codec = self._codec_for(frames.header)
        in_frames = in_samples(progress, codec.hop_length)
        return decode_file(codec, frames, target, raw=self._raw, force=self._force, progress=in_frames, **options)

    def _codec_for(self, header: AudioHeader) -> Codec:
        from audiovq.codec import Codec

        if self.chosen is not None:
            return self.chosen
        if header.model not in self._codecs:
            self._codecs[header.model] = Codec.for_header(header, self._device)
        return self._codecs[header.model]
