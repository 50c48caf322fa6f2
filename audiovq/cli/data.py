"""`audiovq data`: check Kaldi data directories and pack them for training."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def data() -> None:
    """Check Kaldi data directories and pack them for training."""


@data.command()
@click.argument("data_dirs", metavar="DATA_DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--audio/--no-audio", default=True, show_default=True, help="Also open recordings, run pipes.")
@click.pass_context
def validate(ctx: click.Context, data_dirs: tuple[Path, ...], audio: bool) -> None:
    """Print every problem of each DATA_DIR with file and line; exit with 1 if there is any."""
    from audiovq.data import kaldi

    sound = True
    for path in data_dirs:
        problems = kaldi.validate(path, audio=audio)
        for problem in problems:
            click.echo(problem, err=True)
        if problems:
            sound = False
        else:
            directory = kaldi.DataDir.read(path)
            click.echo(f"{path}: sound, {len(directory.utterances)} utterances, {len(directory.speakers)} speakers")
    if not sound:
        ctx.exit(1)


@data.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--sample-rate", type=click.IntRange(min=1), required=True, help="Rate to resample to, in Hz.")
@click.option("--nj", type=click.IntRange(min=1), default=1, show_default=True, help="Parallel processes.")
@click.option(
    "--trim-db", type=click.FloatRange(min=0, min_open=True), help="Cut silence at both ends, so far under the loudest."
)
@click.option("--min-seconds", type=click.FloatRange(min=0), default=0.1, show_default=True, help="Drop shorter ones.")
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Drop longer ones.")
def pack(
    data_dir: Path,
    out_dir: Path,
    sample_rate: int,
    nj: int,
    trim_db: float | None,
    min_seconds: float,
    max_seconds: float | None,
) -> None:
    """Resample, mix down and trim the utterances of DATA_DIR into 16-bit shards in OUT_DIR.

    A second run with the same input and options does nothing and says so.
    """
    from audiovq.data.pack import pack as pack_directory
    from audiovq.data.pack import summary

    corpus = pack_directory(
        data_dir,
        out_dir,
        sample_rate,
        nj=nj,
        trim_db=trim_db,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
    )
    for utterance, reason in corpus.dropped.items():
        click.echo(f"dropped {utterance}: {reason}", err=True)
    click.echo(summary(corpus))
