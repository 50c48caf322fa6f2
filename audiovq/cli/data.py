"""`audiovq data`: check, mend, split, join and pack Kaldi data directories."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from audiovq.cli.shared.options import THREADS, no_pipes
from audiovq.cli.shared.options import allow_short as allow_short_option

if TYPE_CHECKING:
    from audiovq.data.kaldi.datadir import DataDir

_DIR = click.Path(path_type=Path)
_COUNT = click.IntRange(min=1)
_force = click.option("--force", "-f", is_flag=True, help="Replace an existing data directory.")


@click.group()
def data() -> None:
    """Check, mend, cut up, join and pack Kaldi data directories."""


@data.command()
@click.argument("data_dirs", metavar="DATA_DIR...", nargs=-1, required=True, type=_DIR)
@click.option("--audio/--no-audio", default=True, show_default=True, help="Also open recordings and run pipes.")
@click.option("--any-rate", is_flag=True, help="Recordings may have different sample rates.")
@click.option("--require-text", is_flag=True, help="Every utterance must have a transcript.")
@click.option("--no-spk-sort", is_flag=True, help="The order of utterances need not be one of speakers (Kaldi's is).")
@no_pipes
@click.pass_context
def validate(
    ctx: click.Context, data_dirs: tuple[Path, ...], audio: bool, any_rate: bool, require_text: bool, no_spk_sort: bool
) -> None:
    """Print every problem of each DATA_DIR with file and line; exit with 1 if there is any."""
    from audiovq.data.kaldi import datadir

    sound = True
    for path in data_dirs:
        problems = datadir.validate(
            path, audio=audio, one_rate=not any_rate, require_text=require_text, spk_sort=not no_spk_sort
        )
        for problem in problems:
            click.echo(problem, err=True)
        if problems:
            sound = False
        else:
            click.echo(f"{path}: sound, {_counts(datadir.DataDir.read(path))}")
    if not sound:
        ctx.exit(1)


@data.command()
@click.argument("data_dir", type=_DIR)
@click.option("--audio", is_flag=True, help="Also drop utterances whose recording can't be read.")
@click.option("--require-text", is_flag=True, help="Also drop utterances without a transcript.")
@no_pipes
def fix(data_dir: Path, audio: bool, require_text: bool) -> None:
    """Sort the files of DATA_DIR and drop the utterances that are not in every one, or not usable, by name.

    The files as they were go to DATA_DIR/.backup.
    """
    from audiovq.data.kaldi.fix import fix as fix_directory

    fixed = fix_directory(data_dir, audio=audio, require_text=require_text)
    for utterance, reason in fixed.dropped.items():
        click.echo(f"dropped {utterance}: {reason}", err=True)
    for value in fixed.values:
        click.echo(f"dropped {value}", err=True)
    kept = f"kept {len(fixed.data.utterances)} of {len(fixed.data.utterances) + len(fixed.dropped)} utterances"
    if fixed.backup is None:
        click.echo(f"{data_dir}: nothing to do, {_counts(fixed.data)}")
    else:
        click.echo(f"{data_dir}: {kept}; wrote {', '.join(fixed.rewritten)}; as they were: {fixed.backup}")


@data.command()
@click.argument("data_dir", type=_DIR)
@click.argument("out_dir", type=_DIR)
@click.option("--utt-list", type=_DIR, metavar="FILE", help="The utterances of this list (first field of each line).")
@click.option("--spk-list", type=_DIR, metavar="FILE", help="The speakers of this list.")
@click.option("--first", type=_COUNT, help="So many, from the first on.")
@click.option("--last", type=_COUNT, help="The last so many.")
@click.option("--shortest", type=_COUNT, help="The shortest so many.")
@click.option("--number", type=_COUNT, help="So many, spread evenly.")
@click.option("--speakers", type=_COUNT, help="Whole speakers until there are so many utterances.")
@click.option("--per-spk", type=_COUNT, help="So many of each speaker, spread evenly.")
@click.option("--first-per-spk", type=_COUNT, help="The first so many of each speaker.")
@click.option("--last-per-spk", type=_COUNT, help="The last so many of each speaker.")
@click.option("--exclude", is_flag=True, help="Keep what is not chosen instead.")
@click.option("--ignore-missing", is_flag=True, help="Go on if a list names what DATA_DIR does not have.")
@no_pipes
@_force
def subset(
    data_dir: Path,
    out_dir: Path,
    exclude: bool,
    ignore_missing: bool,
    force: bool,
    **choices: Path | int | None,
) -> None:
    """Write some utterances of DATA_DIR to OUT_DIR; exactly one option says which."""
    given = {name: value for name, value in choices.items() if value is not None}
    if len(given) != 1:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in choices)
        raise click.UsageError(f"give exactly one of {names}")
    from audiovq.data.kaldi import select
    from audiovq.data.kaldi.datadir import DataDir
    from audiovq.data.kaldi.output import check_replaceable, write_new
    from audiovq.errors import BadDataError

    check_replaceable(out_dir, force)
    source = DataDir.read(data_dir)
    ((name, value),) = given.items()
    if isinstance(value, Path):
        chosen = _listed(source, data_dir, value, name == "spk_list", ignore_missing)
    else:
        assert value is not None
        by_number: dict[str, Callable[[], list[str]]] = {
            "first": lambda: select.first(source, value),
            "last": lambda: select.last(source, value),
            "shortest": lambda: select.shortest(source, value),
            "number": lambda: select.spread(source, value),
            "speakers": lambda: select.enough_speakers(source, value),
            "per_spk": lambda: select.per_speaker(source, value),
            "first_per_spk": lambda: select.per_speaker(source, value, "first"),
            "last_per_spk": lambda: select.per_speaker(source, value, "last"),
        }
        chosen = by_number[name]()
        if name.endswith("per_spk"):
            _name_short_speakers(source, value)
        elif len(chosen) < value:
            click.echo(f"{data_dir}: has only {len(chosen)} of the {value} utterances asked for", err=True)
    if exclude:
        chosen = list({u.id for u in source.utterances} - set(chosen))
    if not chosen:
        raise BadDataError(f"{data_dir}: nothing would be left for {out_dir}; nothing was written")
    result = select.keep(source, chosen)
    write_new(result, out_dir, force=force)
    click.echo(f"{out_dir}: {_counts(result)}, of {len(source.utterances)} in {data_dir}")


@data.command()
@click.argument("data_dir", type=_DIR)
@click.argument("parts", metavar="N", type=_COUNT)
@click.option("--per-utt", is_flag=True, help="Split within speakers too.")
@click.option("--out", type=_DIR, help="Where 1, 2, ... go; DATA_DIR/splitN (splitNutt with --per-utt) if not given.")
@_force
def split(data_dir: Path, parts: int, per_utt: bool, out: Path | None, force: bool) -> None:
    """Split DATA_DIR into N parts of about equally many utterances, speakers kept whole: splitN/1, splitN/2, ..."""
    from audiovq.data.files import atomic_folder
    from audiovq.data.kaldi import select
    from audiovq.data.kaldi.datadir import DataDir
    from audiovq.data.kaldi.output import check_replaceable_parts
    from audiovq.errors import BadDataError

    out = out or data_dir / f"split{parts}{'utt' if per_utt else ''}"
    check_replaceable_parts(out, force)
    try:
        pieces = select.split(DataDir.read(data_dir), parts, per_utterance=per_utt)
    except BadDataError as error:
        raise BadDataError(f"{data_dir}: {error}" if str(data_dir) not in str(error) else str(error)) from None
    with atomic_folder(out) as temporary:
        for number, piece in enumerate(pieces, start=1):
            piece.write(temporary / str(number))
    sizes = [len(piece.utterances) for piece in pieces]
    click.echo(f"{out}: {parts} parts of {min(sizes)} to {max(sizes)} utterances")


@data.command()
@click.argument("out_dir", type=_DIR)
@click.argument("data_dirs", metavar="DATA_DIR...", nargs=-1, required=True, type=_DIR)
@_force
def combine(out_dir: Path, data_dirs: tuple[Path, ...], force: bool) -> None:
    """Join DATA_DIRs in OUT_DIR, which comes first, as in Kaldi. Tables that not all of them have are left out."""
    from audiovq.data.kaldi.combine import combine as combine_directories
    from audiovq.data.kaldi.datadir import DataDir
    from audiovq.data.kaldi.output import check_replaceable, write_new

    check_replaceable(out_dir, force)
    joined, left_out = combine_directories([(path, DataDir.read(path)) for path in data_dirs])
    if left_out:
        click.echo(f"left out, as not every directory has them: {', '.join(left_out)}", err=True)
    write_new(joined, out_dir, force=force)
    click.echo(f"{out_dir}: {_counts(joined)}, of {len(data_dirs)} directories")


@data.command()
@click.argument("data_dir", type=_DIR)
@click.argument("out_dir", type=_DIR)
@click.option("--sample-rate", type=_COUNT, required=True, help="Rate to resample to, in Hz.")
@click.option("--nj", type=THREADS, default=1, show_default=True, help="Parallel processes.")
@click.option(
    "--trim-db", type=click.FloatRange(min=0, min_open=True), help="Cut silence at both ends, so far under the loudest."
)
@click.option(
    "--trim-margin", type=click.FloatRange(min=0), default=0.1, show_default=True, help="Seconds of it that stay."
)
@click.option("--min-seconds", type=click.FloatRange(min=0), default=0.1, show_default=True, help="Drop shorter ones.")
@click.option("--max-seconds", type=click.FloatRange(min=0, min_open=True), help="Drop longer ones.")
@allow_short_option
@no_pipes
def pack(
    data_dir: Path,
    out_dir: Path,
    sample_rate: int,
    nj: int,
    trim_db: float | None,
    trim_margin: float,
    min_seconds: float,
    max_seconds: float | None,
    allow_short: bool,
) -> None:
    """Resample, mix down and trim the utterances of DATA_DIR into 16-bit shards in OUT_DIR.

    A second run with the same input and options does nothing and says so; one after a kill goes on where that stopped.
    """
    from audiovq.data.corpus.pack import pack as pack_directory
    from audiovq.data.corpus.pack import summary

    corpus = pack_directory(
        data_dir,
        out_dir,
        sample_rate,
        nj=nj,
        trim_db=trim_db,
        trim_margin=trim_margin,
        min_seconds=min_seconds,
        max_seconds=max_seconds,
        allow_short=allow_short,
    )
    for utterance, reason in corpus.dropped.items():
        click.echo(f"dropped {utterance}: {reason}", err=True)
    click.echo(summary(corpus))


def _counts(directory: DataDir) -> str:
    return f"{len(directory.utterances)} utterances, {len(directory.speakers)} speakers"


def _listed(source: DataDir, data_dir: Path, path: Path, speakers: bool, ignore_missing: bool) -> list[str]:
    """Utterances that a list names, itself or by their speakers."""
    from audiovq.data.kaldi import select
    from audiovq.errors import BadDataError

    ids = select.read_list(path)
    known = set(source.speakers) if speakers else {u.id for u in source.utterances}
    missing = [i for i in ids if i not in known]
    if missing:
        some = ", ".join(itertools.islice(missing, 5)) + (", ..." if len(missing) > 5 else "")
        kind = "speakers" if speakers else "utterances"
        what = f"{path}: {len(missing)} of its {len(ids)} {kind} are not in {data_dir}"
        if not ignore_missing:
            raise BadDataError(f"{what}: {some}; use --ignore-missing to go on without them")
        click.echo(f"{what}: {some}", err=True)
    return select.of_speakers(source, ids) if speakers else [i for i in ids if i in known]


def _name_short_speakers(source: DataDir, number: int) -> None:
    from collections import Counter

    short = {s: n for s, n in Counter(u.speaker for u in source.utterances).items() if n < number}
    for speaker, count in short.items():
        click.echo(f"speaker {speaker}: has only {count} of the {number} utterances asked for", err=True)
