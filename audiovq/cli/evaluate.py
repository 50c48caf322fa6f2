"""`audiovq evaluate`: the quality and cost of a codec, and the likelihood of a pack under a WaveNet decoder."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.shared.options import THREADS, Bitrate, Output, no_pipes, set_threads
from audiovq.cli.shared.progress import step_bar

if TYPE_CHECKING:
    from audiovq.codec import Codec
    from audiovq.evaluate import comparison
    from audiovq.evaluate.roundtrip import Coder
    from audiovq.evaluate.tally import Tally
    from audiovq.metrics.speech import Metric

OUTPUT = Output()


@click.group()
def evaluate() -> None:
    """Score models: decoded speech against the originals, and likelihoods."""


@evaluate.command()
@click.option("--data", "data_dir", type=click.Path(path_type=Path), required=True, help="A Kaldi data directory.")
@click.option("--model", default="speech-16k", show_default=True, help="A bundled name, a model folder or a hub id.")
@click.option("--bitrate", type=Bitrate(), multiple=True, help="At most so many bits/s: 1000, 1k, 1.5k; repeatable.")
@click.option("--num-quantizers", type=click.IntRange(min=1), help="Levels of codes, instead of a bitrate.")
@click.option("--decoder", help="One of the model's decoders; `audiovq inspect MODEL` lists them.")
@click.option(
    "--against",
    metavar="CODEC,...",
    help="Other codecs on the same files: opus:6, codec2:3200, speex-nb:2, speex-wb:2, amr-nb:4.75, amr-wb:6.60, lpc10,"
    " mulaw, melrvq:1.0, lyra:3.2, encodec:1.5, dac:0.5, mimi:1.1, and original: the recording itself, as a row.",
)
@click.option(
    "--weights",
    multiple=True,
    metavar="CODEC=DIR",
    help="Folder of a network's weights for --against: lyra (its .tflite files), encodec, dac, mimi (of transformers).",
)
@click.option(
    "--judges",
    metavar="NAME,...",
    help="What no model here is trained on: visqol, distillmos, speaker, words, nisqa; or all that are installed.",
)
@click.option("--whisper", type=click.Path(path_type=Path), help="Folder of a Whisper model for CTranslate2 (words).")
@click.option("--nisqa", type=click.Path(path_type=Path), help="Folder of NISQA's weights, nisqa.tar.")
@click.option(
    "--baseline-train", type=click.Path(path_type=Path), help="Pack or data directory that melrvq learns from."
)
@click.option("--group", type=click.Path(path_type=Path), help="File of <utterance> <group> lines, to score by group.")
@click.option("--json", "json_path", type=OUTPUT, help="Write everything as JSON.")
@click.option("--tsv", "tsv_path", type=OUTPUT, help="Write the scores of every file.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=THREADS, help="CPU threads; torch's choice if not given.")
@no_pipes
def codec(
    data_dir: Path,
    model: str,
    bitrate: tuple[float, ...],
    num_quantizers: int | None,
    decoder: str | None,
    against: str | None,
    baseline_train: Path | None,
    weights: tuple[str, ...],
    group: Path | None,
    json_path: Path | None,
    tsv_path: Path | None,
    device: str,
    threads: int | None,
    **judging: Any,
) -> None:
    """Encode the utterances of a data directory to .codes and back, and score what comes out.

    Prints PESQ, STOI, ESTOI, SI-SDR, mel distance, and errors of pitch and voicing with 95 % confidence intervals;
    periodicity and level by band; what --judges say, whose scores are kept under ~/.cache/audiovq/judges; bitrates of
    codes and of whole files; and seconds of work per second of sound. What could not be measured is counted as failed,
    a delay is reported and removed. A codec of --against that is not installed is left out, with a word on where to get
    it. docs/evaluation.md says what the figures mean. An existing --json or --tsv file is replaced.
    """
    if bitrate and num_quantizers is not None:
        raise click.UsageError("--bitrate and --num-quantizers say the same thing twice; give one of them")
    specs = _specs(against, baseline_train)
    from audiovq.codec import Codec
    from audiovq.codec.loading import pick_device
    from audiovq.data.kaldi.datadir import DataDir
    from audiovq.evaluate import comparison
    from audiovq.evaluate.roundtrip import round_trip
    from audiovq.metrics.scores import read_groups
    from audiovq.modelfolder import read_model

    set_threads(threads)
    utterances = DataDir.read(data_dir).utterances
    groups = read_groups(group, [u.id for u in utterances]) if group else None
    stored = read_model(model)
    network = Codec.from_stored(stored, model, pick_device(device))
    rate = 16000 if network.sample_rate >= 16000 else 8000
    others, left_out = _others(specs, rate, baseline_train, _folders(weights))
    measures, absent = _measures(rate, **judging)
    coders = [_coder(network, bits, num_quantizers, decoder) for bits in bitrate or [None]] + others
    with step_bar("evaluate", "utt") as progress:
        trips = round_trip(utterances, coders, rate, groups=groups, progress=progress, **measures)
    results = [comparison.Result(c.name, c.container, t) for c, t in zip(coders, trips, strict=True)]
    facts = {"model": network.name, "sha256": stored.fingerprint.hex(), "data": str(data_dir), "scored_at_hz": rate}
    _report(results, facts, left_out + absent, json_path, tsv_path, **measures)


def _report(
    results: list[comparison.Result],
    facts: dict[str, Any],
    left_out: list[str],
    json_path: Path | None,
    tsv_path: Path | None,
    *,
    metrics: list[Metric],
    tallies: list[Tally],
) -> None:
    """Print the tables, the first results' codec and rate above them, and write the files."""
    from audiovq.evaluate import comparison
    from audiovq.metrics import table

    scores = results[0].scores
    seconds = f"{sum(score.seconds for score in scores):.1f} s"
    click.echo(f"{facts['model']} {facts['sha256'][:16]}: {len(scores)} files, {seconds}, {facts['scored_at_hz']} Hz\n")
    click.echo("\n".join([comparison.report(results, metrics, tallies), *(f"left out: {why}" for why in left_out)]))
    titles = {metric.name: metric.title for metric in metrics}
    tree = facts | {"metrics": titles, "left_out": left_out, "codecs": comparison.to_tree(results, tallies)}
    _write(json_path, table.to_json(tree))
    _write(tsv_path, comparison.to_tsv(results, metrics))


def _write(path: Path | None, text: str) -> None:
    """Write a file that was asked for; one that exists is replaced."""
    from audiovq.data.files import atomic_output

    if path is not None:
        with atomic_output(path, force=True) as temporary:
            temporary.write_text(text, encoding="utf-8")


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
@click.option("--threads", type=THREADS, help="CPU threads; torch's choice if not given.")
def likelihood(
    model: str, pack_dir: Path, codes: tuple[str, ...], decoder: str | None, json_path: Path | None, threads: int | None
) -> None:
    """Bits per sample of a pack under a WaveNet decoder: with each utterance's codes, another's, or none.

    ELBO adds the price of the codes under a uniform prior; where the codes are another's, it bounds nothing.
    """
    from audiovq.audio import load_model
    from audiovq.data.corpus.packed import PackedCorpus
    from audiovq.evaluate.likelihood import measure_likelihood
    from audiovq.metrics import table

    set_threads(threads)
    network, corpus = load_model(model), PackedCorpus.open(pack_dir)
    rows, tree = [], {}
    for kind in codes:
        with step_bar(f"codes {kind}", "utt") as progress:
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
    _write(json_path, table.to_json({"model": model, "pack": str(pack_dir), "codes": tree}))


def _coder(network: Codec, bitrate: float | None, num_quantizers: int | None, decoder: str | None) -> Coder:
    """The model at a bitrate as the plain callables that are compared."""
    from audiovq.codec import FrameSource
    from audiovq.evaluate.roundtrip import Coder

    name = Path(network.name).name
    if bitrate is not None:
        name += f" {bitrate / 1000:g}k"
    elif num_quantizers is not None:
        name += f" q{num_quantizers}"
    if decoder is not None:
        name += f" {decoder}"

    def encode(waveform: Any, speaker: str) -> bytes:
        known = speaker if speaker in network.model.speakers else None
        options: dict[str, Any] = {"bitrate": bitrate, "num_quantizers": num_quantizers}
        return network.compress(waveform[None], network.sample_rate, speaker=known, **options)

    def decode(data: bytes) -> Any:
        return network.decompress(data, decoder=decoder)[0][0]

    def payload_bits(data: bytes) -> int:
        header = FrameSource(io.BytesIO(data)).header
        return (header.num_frames or 0) * sum(header.widths)

    return Coder(name, network.sample_rate, encode, decode, payload_bits, ".codes")


def _measures(
    rate: int, judges: str | None, whisper: Path | None, nisqa: Path | None
) -> tuple[dict[str, Any], list[str]]:
    """`metrics` with judges and `tallies`, which have tables of their own; a line for each judge that can't be had."""
    from audiovq.evaluate.quality_judges import RATE, quality_metrics
    from audiovq.evaluate.tally import bands_tally, words_tally
    from audiovq.metrics.speech import metrics_for

    names = [name.strip() for name in (judges or "").split(",") if name.strip()]
    metrics = list(metrics_for(rate))
    if rate != RATE:
        why = f"judges and bands: they hear 16000 Hz, and this model's rate is {rate}"
        return {"metrics": metrics, "tallies": []}, [why] if names else []
    tallies, asked = [bands_tally()], [name for name in names if name != "words"]
    found, left_out = quality_metrics(asked, nisqa) if asked else ([], [])
    if {"words", "all"} & set(names):
        try:
            tallies.append(words_tally(whisper))
        except (ImportError, OSError) as error:
            left_out.append(f"words: {' '.join(str(error).split())}; pip install 'audiovq[judges]'")
    return {"metrics": metrics + found, "tallies": tallies}, left_out


def _specs(against: str | None, baseline_train: Path | None) -> list[str]:
    """The codecs of --against."""
    specs = [spec.strip() for spec in (against or "").split(",") if spec.strip()]
    if any(spec.partition(":")[0] == "melrvq" for spec in specs) != (baseline_train is not None):
        raise click.UsageError("melrvq in --against and --baseline-train go together: it learns from that directory")
    return specs


def _folders(weights: tuple[str, ...]) -> dict[str, Path]:
    """CODEC=DIR options as a mapping."""
    pairs = [item.partition("=") for item in weights]
    for name, equals, folder in pairs:
        if not (name and equals and folder):
            raise click.BadParameter(f"{name}: write CODEC=DIR", param_hint="--weights")
    return {name: Path(folder) for name, _, folder in pairs}


def _others(
    specs: list[str], rate: int, baseline_train: Path | None, weights: dict[str, Path]
) -> tuple[list[Coder], list[str]]:
    """The codecs of --against in their order, and one line for each that is not installed."""
    from audiovq.evaluate.melrvq import MelRVQ, learning_sounds, levels_of
    from audiovq.evaluate.peers import MissingPeerError, make_peer

    left_out: list[str] = []
    try:
        levels = {spec: levels_of(spec) for spec in specs if spec.partition(":")[0] == "melrvq"}
        peers: dict[str, Coder] = {}
        for spec in specs:
            if spec not in levels:
                try:
                    peers[spec] = make_peer(spec, rate, weights)
                except MissingPeerError as error:
                    left_out.append(str(error))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--against") from None
    if levels and baseline_train is not None:
        baseline = MelRVQ.learn(learning_sounds(baseline_train), max(levels.values()))
        peers |= {spec: baseline.coder(count) for spec, count in levels.items()}
    return [peers[spec] for spec in specs if spec in peers], left_out
