"""Options that several commands share, with one spelling and one help text."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from audiovq.cli.shared.batch import jobs_for
from audiovq.data.files import check_target
from audiovq.data.kaldi.streams import NO_PIPES
from audiovq.errors import AudioVQError

if TYPE_CHECKING:
    from audiovq.codec import Codec

THREADS = click.IntRange(1, 1024)
F = TypeVar("F", bound=Callable[..., Any])
PRECISIONS = ("fp32", "bf16", "int8")  # those of audiovq.audio.wavenet_sampler, which is slow to import


class Output(click.Path):
    """A file to be written at the end: whether that can be is seen before the work."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        check_target(path, force=True)
        return path


class Bitrate(click.ParamType):
    """Bits per second: 1000, 1k or 1.5k."""

    name = "bitrate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().lower()
        try:
            bits = float(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
        except ValueError:
            bits = 0.0
        if not 0 < bits < float("inf"):
            self.fail(f"{value!r} is not a bitrate; write bits per second, like 1000 or 1.5k", param, ctx)
        return bits


def work_options(command: F) -> F:
    """--device, --threads, --force and --quiet."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="No report lines and no progress bars."),
        click.option("--force", "-f", is_flag=True, help="Overwrite existing files."),
        click.option(
            "--threads",
            type=THREADS,
            help="CPU threads; torch's choice if not given.",
        ),
        click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True),
    ):
        command = option(command)
    return command


def jobs_option(command: F) -> F:
    """--jobs."""
    return click.option(
        "--jobs",
        "-j",
        type=THREADS,
        help="Processes, of one thread each, among which many files are shared; as many as there are cores if not given"
        " (1 for few files, with --threads, and on a GPU).",
    )(command)


def skip_option(command: F) -> F:
    """--skip-existing."""
    return click.option("--skip-existing", is_flag=True, help="Leave out what is there already: go on after a stop.")(
        command
    )


def encode_options(command: F) -> F:
    """--bitrate, --num-quantizers and --normalize."""
    for option in (
        click.option("--normalize", is_flag=True, help="Code at -23 LUFS; decoding restores the loudness."),
        click.option("--num-quantizers", type=click.IntRange(min=1), help="Levels of codes, instead of a bitrate."),
        click.option("--bitrate", type=Bitrate(), help="At most so many bits/s per channel: 1000, 1k, 1.5k."),
    ):
        command = option(command)
    return command


def refuse_both_rates(options: dict[str, Any]) -> None:
    """Wrong usage if --bitrate and --num-quantizers are both among the options."""
    if options["bitrate"] is not None and options["num_quantizers"] is not None:
        raise click.UsageError("--bitrate and --num-quantizers say the same thing twice; give one of them")


allow_short = click.option(
    "--allow-short", is_flag=True, help="Take sound that is cut off, or shorter than it says, with a warning."
)


def _refuse_pipes(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """By the environment, which reaches every reader of a wav.scp, in other processes too."""
    if value:
        before = os.environ.get(NO_PIPES)
        os.environ[NO_PIPES] = "1"
        ctx.call_on_close(lambda: os.environ.pop(NO_PIPES) if before is None else os.environ.update({NO_PIPES: before}))


no_pipes = click.option(
    "--no-pipes",
    is_flag=True,
    expose_value=False,
    callback=_refuse_pipes,
    help=f"Refuse commands in wav.scp: for data of others. {NO_PIPES}=1 does so everywhere.",
)


def kaldi_options(command: F) -> F:
    """--segments, --utt2spk and --no-pipes."""
    path = click.Path(path_type=Path)
    for option in (
        no_pipes,
        click.option("--utt2spk", type=path, help="The speaker of each utterance of an scp file or archive."),
        click.option("--segments", type=path, help="Cuts the recordings of an scp file into utterances."),
    ):
        command = option(command)
    return command


def decode_options(command: F) -> F:
    """--decoder, --precision, --pitch-shift and --seed."""
    for option in (
        click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of noise and sampling."),
        click.option(
            "--pitch-shift", type=float, default=0.0, metavar="SEMITONES", help="Speak higher, or lower if negative."
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            help="Of a WaveNet's weights on a CPU; fp32 if not given, bf16 and int8 are faster.",
        ),
        click.option("--decoder", help="One of the model's decoders; `audiovq inspect MODEL` lists them."),
    ):
        command = option(command)
    return command


def decoding_jobs(
    files: int | None,
    codec: Codec,
    *,
    jobs: int | None,
    threads: int | None,
    decoder: str | None,
    precision: str | None,
) -> int:
    """Processes that are to decode so many files (None: not known).

    What a WaveNet needs is made here, before they start: they share it.
    """
    with contextlib.suppress(AudioVQError):  # told of each file
        codec.prepare(decoder, precision)
    one_core = codec.is_autoregressive(decoder)
    if one_core and threads is None:
        set_threads(1)
    return jobs_for(files, jobs=jobs, threads=threads, device=codec.device.type, one_core=one_core)


def set_threads(threads: int | None) -> None:
    """Apply --threads."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
