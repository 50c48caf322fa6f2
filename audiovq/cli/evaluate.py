"""`audiovq evaluate`: what a codec sounds like and costs, and what a WaveNet decoder says of a pack."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from audiovq.cli.options import Bitrate, set_threads

if TYPE_CHECKING:
    from audiovq.codec import Codec
    from audiovq.evaluate.roundtrip import RoundTrip

F = TypeVar("F", bound=Callable[..., Any])
OUTPUT = click.Path(dir_okay=False, path_type=Path)


@click.group()
def evaluate() -> None:
    """Score models: decoded speech against the originals, and likelihoods."""


@evaluate.command()
@click.option("--data", "data_dir", type=click.Path(path_type=Path), required=True, help="A Kaldi data directory.")
@click.option("--model", default="speech-16k", show_default=True, help="A bundled name, a model folder or a hub id.")
@click.option("--bitrate", type=Bitrate(), help="At most so many bits/s: 1000, 1k, 1.5k.")
@click.option("--num-quantizers", type=click.IntRange(min=1), help="Levels of codes, instead of a bitrate.")
@click.option("--decoder", help="One of the model's decoders; `audiovq inspect MODEL` lists them.")
@click.option("--group", type=click.Path(path_type=Path), help="File of <utterance> <group> lines, to score by group.")
@click.option("--json", "json_path", type=OUTPUT, help="Write everything as JSON.")
@click.option("--tsv", "tsv_path", type=OUTPUT, help="Write the scores of every file.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; torch's choice if not given.")
def codec(
    data_dir: Path,
    model: str,
    bitrate: float | None,
    num_quantizers: int | None,
    decoder: str | None,
    group: Path | None,
    json_path: Path | None,
    tsv_path: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Encode the utterances of a data directory to .codes and back, and score what comes out.

    Prints PESQ, STOI, ESTOI and mel distance with 95 % confidence intervals, kbit/s of whole files, and real-time
    factors. An existing --json or --tsv file is replaced.
    """
    if bitrate is not None and num_quantizers is not None:
        raise click.UsageError("--bitrate and --num-quantizers say the same thing twice; give one of them")
    from audiovq.codec import Codec
    from audiovq.data.files import atomic_output
    from audiovq.data.kaldi import DataDir
    from audiovq.evaluate import table
    from audiovq.evaluate.roundtrip import rates, round_trip
    from audiovq.evaluate.scores import read_groups, summarize

    set_threads(threads)
    utterances = DataDir.read(data_dir).utterances
    groups = read_groups(group, [u.id for u in utterances]) if group else None
    coder = Codec.from_pretrained(model, device)
    options = {"bitrate": bitrate, "num_quantizers": num_quantizers}
    with _progress("evaluate", "utt") as progress:
        trips = round_trip(
            utterances, coder.sample_rate, *_calls(coder, options, decoder), groups=groups, progress=progress
        )
    scores = [trip.score for trip in trips]
    summaries, totals = summarize(scores), rates(trips)
    click.echo(_codec_report(coder, trips, totals))
    if json_path is not None:
        tree = {
            "model": coder.name,
            "fingerprint": coder.fingerprint.hex(),
            "data": str(data_dir),
            "options": {**options, "decoder": decoder},
            "totals": totals,
            "summary": {g: {m: asdict(s) for m, s in by_metric.items()} for g, by_metric in summaries.items()},
            "files": [asdict(score) for score in scores],
        }
        with atomic_output(json_path, force=True) as temporary:
            temporary.write_text(table.to_json(tree), encoding="utf-8")
    if tsv_path is not None:
        with atomic_output(tsv_path, force=True) as temporary:
            temporary.write_text(table.to_tsv(scores), encoding="utf-8")


@evaluate.command()
@click.option("--model", required=True, help="A bundled name, a model folder or a hub id, with a WaveNet decoder.")
@click.option("--pack", "pack_dir", type=click.Path(path_type=Path), required=True, help="From `audiovq data pack`.")
@click.option(
    "--codes",
    multiple=True,
    type=click.Choice(["own", "shuffled", "none"]),
    default=("own", "shuffled"),
    show_default=True,
    help="What the decoder is given; may be repeated. `none` is for a model that was trained so.",
)
@click.option("--decoder", help="One of the model's WaveNet decoders; the first if not given.")
@click.option("--json", "json_path", type=OUTPUT, help="Write everything as JSON.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; torch's choice if not given.")
def likelihood(
    model: str, pack_dir: Path, codes: tuple[str, ...], decoder: str | None, json_path: Path | None, threads: int | None
) -> None:
    """Bits per sample of a pack under a WaveNet decoder: with each utterance's codes, another's, or none.

    ELBO adds the price of the codes under a uniform prior; where the codes are another's, it bounds nothing.
    """
    from audiovq.data.files import atomic_output
    from audiovq.data.pack import PackedCorpus
    from audiovq.evaluate import table
    from audiovq.evaluate.likelihood import measure_likelihood
    from audiovq.pretrained import load_model

    set_threads(threads)
    network, corpus = load_model(model), PackedCorpus.open(pack_dir)
    rows, tree = [], {}
    for kind in codes:
        with _progress(f"codes {kind}", "utt") as progress:
            found = measure_likelihood(network, corpus, kind, decoder=decoder, progress=progress)  # type: ignore[arg-type]
        elbo = "-" if kind == "shuffled" else f"{found.elbo_bits:.3f}"
        rows.append([kind, table.number(found.reconstruction_bits, *found.interval, 3), elbo])
        per_utterance = dict(zip(found.utterances, (found.bits / found.num_samples).tolist(), strict=True))
        tree[kind] = {
            "reconstruction_bits_per_sample": found.reconstruction_bits,
            "interval_95": found.interval,
            "elbo_bits_per_sample": None if kind == "shuffled" else found.elbo_bits,
            "utterances": per_utterance,
        }
    click.echo(f"{pack_dir}: {len(corpus)} utterances, {sum(u.num_samples for u in corpus.utterances)} samples\n")
    click.echo(table.markdown(["codes", "bits/sample", "ELBO bits/sample"], rows))
    if json_path is not None:
        with atomic_output(json_path, force=True) as temporary:
            text = table.to_json({"model": model, "pack": str(pack_dir), "codes": tree})
            temporary.write_text(text, encoding="utf-8")


def _calls(coder: Codec, options: dict[str, Any], decoder: str | None) -> tuple[Any, Any, Any]:
    """The codec as the plain callables that `round_trip` takes."""
    from audiovq.codec import FrameSource

    def encode(waveform: Any, speaker: str) -> bytes:
        return coder.compress(
            waveform, coder.sample_rate, speaker=speaker if speaker in coder.model.speakers else None, **options
        )

    def decode(data: bytes) -> Any:
        return coder.decompress(data, decoder=decoder)[0]

    def code_bits(data: bytes) -> int:
        header = FrameSource(io.BytesIO(data)).header
        return (header.num_frames or 0) * sum(header.widths)

    return encode, decode, code_bits


def _codec_report(coder: Codec, trips: list[RoundTrip], totals: dict[str, Any]) -> str:
    """Totals, the table, and what failed or is shifted."""
    from audiovq.evaluate.metrics import metrics_for
    from audiovq.evaluate.scores import summarize
    from audiovq.evaluate.table import summary_table

    scores = [trip.score for trip in trips]
    rate = 16000 if coder.sample_rate >= 16000 else 8000
    lines = [
        f"{coder.name} {coder.fingerprint.hex()[:16]}: {len(trips)} files, {totals['seconds']:.1f} s, scored at"
        f" {rate} Hz",
        f"{totals['kbps']:.3f} kbit/s of whole files, {totals['code_kbps']:.3f} of codes alone; real-time factor"
        f" {totals['encode_rtf']:.4f} to encode, {totals['decode_rtf']:.4f} to decode",
        "",
        summary_table(summarize(scores), metrics_for(rate)),
        "",
        "mean and 95 % interval over files",
    ]
    reasons = [(name, reason, s.id) for s in scores for name, reason in s.failures.items()]
    for name, reason in sorted({(name, reason) for name, reason, _ in reasons}):
        ids = [id for n, r, id in reasons if (n, r) == (name, reason)]
        more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
        lines.append(f"failed: {name} of {', '.join(ids[:3])}{more}: {reason}")
    return "\n".join(lines)


@contextmanager
def _progress(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    from tqdm import tqdm

    with tqdm(desc=what, unit=unit, leave=False, disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
