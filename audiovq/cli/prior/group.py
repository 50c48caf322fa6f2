"""The `audiovq prior` group: `fit` and `score` are here; the other commands are imported."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.prior.coder import CODERS, fit_coder, warn_if_worse
from audiovq.cli.prior.codes import FOLDER, INPUT, KINDS, OUTPUT, codes_options, given_spec, read_labels, read_like
from audiovq.cli.prior.sample import sample
from audiovq.cli.shared.options import THREADS, set_threads
from audiovq.cli.shared.progress import step_bar
from audiovq.errors import BadDataError, ConfigError

if TYPE_CHECKING:
    from audiovq.prior import CodeItem, CodeSpec, Prior, Score
    from audiovq.prior.collection import Collection

HELD_OUT_SHARE = 10  # one item in so many


@click.group()
def prior() -> None:
    """Models of codes: fit them, score codes, draw new ones.

    CODES are .codes files, folders of them, .npy arrays, or scp:FILE and ark:FILE.
    """


prior.add_command(sample)


@prior.command()
@click.argument("codes", metavar="CODES...", nargs=-1, required=True)
@click.option("--kind", type=click.Choice(KINDS), help="What to fit, or --coder.")
@click.option("--coder", type=click.Choice(CODERS), help="An integer coder for .codes files, instead of a --kind.")
@click.option("--out", type=FOLDER, required=True, help="Folder of the prior; a model folder for a coder.")
@click.option("--valid", multiple=True, metavar="CODES", help="Held-out codes; without, every tenth item of CODES.")
@click.option("--codec", help="Whose codes arrays and archives hold: a bundled name, a model folder or a hub id.")
@click.option("--codebook-sizes", metavar="K,K,...", help="Of each level of arrays and archives, instead of --codec.")
@click.option("--frame-rate", type=click.FloatRange(min=0, min_open=True), help="Hz, of arrays without --codec.")
@click.option(
    "--layout", type=click.Choice(["sequence", "grid"]), default="sequence", help="Of arrays: [Q, F] or [H, W]."
)
@click.option("--num-quantizers", type=click.IntRange(min=1), help="Only the first levels.")
@click.option("--by-label", is_flag=True, help="Condition on the speaker or class of each item.")
@click.option("--config", type=INPUT, help="YAML with keys prior, data, train over the defaults.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="E.g. -o train.max_steps=500.")
@click.option("--resume", default="auto", show_default=True, metavar="auto|none|CKPT", help="Where to go on from.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=THREADS, help="CPU threads.")
@click.option("--force", "-f", is_flag=True, help="Overwrite a prior in --out.")
@codes_options
def fit(
    codes: tuple[str, ...],
    kind: str | None,
    coder: str | None,
    out: Path,
    valid: tuple[str, ...],
    codec: str | None,
    codebook_sizes: str | None,
    frame_rate: float | None,
    layout: str,
    num_quantizers: int | None,
    by_label: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    resume: str,
    device: str,
    threads: int | None,
    force: bool,
    labels: Path | None,
    allow_mismatch: bool,
) -> None:
    """Fit a prior of a KIND to codes and leave it in --out, or a coder.

    uniform, unigram, bigram and trigram are counted; wavenet, pixelcnn (grids) and transformer are trained, and go on
    where they stopped when run again. A coder, which .codes files are made smaller with, is fitted in one go and left
    in --out as coder.tables.safetensors or coder.learned.safetensors; its -o has no prefix, as in -o steps=500.
    """
    if (kind is None) == (coder is None):
        raise click.UsageError("give either --kind or --coder")
    from audiovq.prior import COUNTED, NETWORKS, NGramPrior, PriorConfig
    from audiovq.prior.collection import read_collection

    if kind in COUNTED and (config is not None or overrides):
        raise click.UsageError(f"{kind} is counted, not trained: it takes no --config and no -o")
    set_threads(threads)
    given = given_spec(codec, codebook_sizes, frame_rate, layout)
    reading: dict[str, Any] = {"labels": read_labels(labels), "allow_mismatch": allow_mismatch}
    collection = read_collection(codes, spec=given, num_quantizers=num_quantizers, **reading)
    if valid:
        more = read_collection(valid, spec=collection.spec, num_quantizers=collection.spec.num_quantizers, **reading)
        items, held_out = collection.items, more.items
    else:
        items, held_out = _split(collection)
    spec = collection.spec
    if coder is not None:
        if by_label:
            raise click.UsageError("a coder takes no --by-label")
        fit_coder(coder, spec, items, held_out, out, config, overrides, device=device, force=force)
        return
    assert kind is not None
    if by_label:
        spec = spec.model_copy(update={"labels": _labels(items)})
    from audiovq.train.prior.run import refuse_finished, train_prior

    refuse_finished(out, goes_on=kind in NETWORKS, force=force)
    if kind in COUNTED:
        fitted: Prior = NGramPrior.fit(_as_config(PriorConfig, spec, kind), items)
        fitted.save_pretrained(out)
    else:
        from audiovq.train.prior.config import load_prior_config

        experiment = load_prior_config(kind, config, overrides)
        _as_config(PriorConfig, spec, kind)
        fitted = train_prior(experiment, spec, items, held_out, out, resume=resume, device=device)
    click.echo(f"{out}: {kind}, {fitted.num_parameters():,} parameters")
    scored = _score(fitted, held_out, "held out")
    click.echo(_line(scored))
    warn_if_worse(kind, scored.bits_per_code, spec, items, held_out)


@prior.command()
@click.argument("prior_dir", metavar="DIR", type=FOLDER)
@click.argument("codes", metavar="CODES...", nargs=-1, required=True)
@click.option("--json", "json_path", type=OUTPUT, help="Write everything as JSON; an existing file is replaced.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=THREADS, help="CPU threads.")
@click.option("--quiet", "-q", is_flag=True, help="No line for each item.")
@codes_options
def score(
    prior_dir: Path,
    codes: tuple[str, ...],
    json_path: Path | None,
    device: str,
    threads: int | None,
    quiet: bool,
    labels: Path | None,
    allow_mismatch: bool,
) -> None:
    """Bits per code and per second of CODES under the prior in DIR, item by item and in all.

    Of codes with more levels than the prior was fitted on, the first levels count. Arrays and archives, which don't say
    whose codes they are, are taken for codes of its codec.
    """
    from audiovq.data.files import atomic_output
    from audiovq.metrics.table import to_json
    from audiovq.prior import load_prior, score_items, total

    set_threads(threads)
    loaded = load_prior(prior_dir, device)
    items = read_like(loaded, codes, read_labels(labels), allow_mismatch).items
    with step_bar("score", "item") as progress:
        scores = score_items(loaded, items, progress)
    for one in [] if quiet else scores:
        click.echo(_line(one))
    everything = total(scores)
    click.echo(_line(everything))
    if json_path is not None:
        tree = {
            "prior": str(prior_dir),
            "config": loaded.config.model_dump(mode="json"),
            "num_parameters": loaded.num_parameters(),
            "all": _tree(everything),
            "items": [_tree(one) for one in scores],
        }
        with atomic_output(json_path, force=True) as temporary:
            temporary.write_text(to_json(tree), encoding="utf-8")


def _labels(items: list[CodeItem]) -> list[str]:
    for item in items:
        if item.label is None:
            raise ConfigError(f"{item.name}: no label is known; give --labels, or leave --by-label out")
    return sorted({str(item.label) for item in items})


def _split(collection: Collection) -> tuple[list[CodeItem], list[CodeItem]]:
    """Every tenth item is held out."""
    items = collection.items
    if len(items) < 2:
        raise BadDataError("only one item of codes: nothing can be held out; give other codes with --valid")
    held_out = items[HELD_OUT_SHARE - 1 :: HELD_OUT_SHARE] or items[-1:]
    names = {id(item) for item in held_out}
    return [item for item in items if id(item) not in names], held_out


def _as_config(kind_of: Any, spec: CodeSpec, kind: str) -> Any:
    from audiovq.train.config import parse_as

    return parse_as(kind_of, {"codes": spec.model_dump(), "prior": {"kind": kind}}, f"prior {kind}")


def _score(loaded: Prior, items: list[CodeItem], name: str) -> Score:
    from audiovq.prior import score_items, total

    return total(score_items(loaded, items), name)


def _line(score: Score) -> str:
    """One line about an item, or about all."""
    rate = "" if score.bits_per_second is None else f", {score.bits_per_second:.1f} bits/s"
    levels = len(score.level_bits)
    each = ", ".join(f"{bits / max(1, score.num_codes // levels):.3f}" for bits in score.level_bits)
    by_level = f" (levels: {each})" if levels > 1 else ""
    return (
        f"{score.name}: {score.bits_per_code:.4f} bits/code{by_level}{rate}, {score.saved:.1%} less than uniform,"
        f" {score.num_codes} codes"
    )


def _tree(score: Score) -> dict[str, Any]:
    return asdict(score) | {"bits_per_code": score.bits_per_code, "bits_per_second": score.bits_per_second}
