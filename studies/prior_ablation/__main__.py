"""Fits every prior to the same codes, with controls, and writes a table, JSON and a figure."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from audiovq.cli.prior.codes import KINDS, given_spec
from audiovq.cli.shared.options import set_threads
from audiovq.cli.shared.report import error_line
from audiovq.errors import AudioVQError, BadDataError

FILES = ("ablation.md", "ablation.json", "ablation.png")


@click.command()
@click.argument("sets", metavar="NAME=TRAIN[,TEST]...", nargs=-1, required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the results.")
@click.option("--kinds", default="uniform,unigram,bigram,trigram,wavenet,transformer", show_default=True,
              help="Which priors, separated by commas.")  # fmt: skip
@click.option("--control", type=click.Choice(["wavenet", "pixelcnn", "transformer", "none"]), default="wavenet",
              show_default=True, help="The network that is also trained on codes from simple priors.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many, of the networks.")
@click.option(
    "--reconstruction",
    multiple=True,
    metavar="NAME=BITS",
    help="Bits/s of the sound, or bits/dim of the images, given a set's codes.",
)
@click.option("--features", multiple=True, metavar="NAME=LABELS:DATA",
              help="Decode samples and compare features of a classifier of DATA: text:DIR or speaker:DIR (a data"
                   " directory), or class:IMAGES.")  # fmt: skip
@click.option(
    "--codec",
    multiple=True,
    metavar="NAME=MODEL",
    help="Whose codes they are, which arrays don't say, and what decodes them; the one in the codes if not given.",
)
@click.option("--config", type=click.Path(dir_okay=False), help="YAML with keys data, train for all networks.")
@click.option("-o", "--override", "overrides", multiple=True, metavar="[KIND:]KEY=VALUE",
              help="E.g. -o train.max_steps=500 -o wavenet:prior.channels=64.")  # fmt: skip
@click.option("--num-quantizers", type=click.IntRange(min=1), help="Only the first levels.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
def ablate(
    sets: tuple[str, ...],
    out: Path,
    kinds: str,
    control: str,
    seeds: int,
    reconstruction: tuple[str, ...],
    features: tuple[str, ...],
    codec: tuple[str, ...],
    config: str | None,
    overrides: tuple[str, ...],
    num_quantizers: int | None,
    device: str,
    threads: int | None,
) -> None:
    """Fit every prior on each set of codes and compare them on codes that none has seen.

    A set is a name, codes to fit on, and codes to test on; without the latter every tenth item is tested on. Another
    tenth chooses the networks' best step. Samples of every prior are compared with codes of the encoder, and with
    --features their sound or images. Networks that are in --out already are not trained again. Existing results
    there are replaced.
    """
    from audiovq.data.files import atomic_output
    from audiovq.metrics.table import to_json
    from studies.prior_ablation.ablation import Results, figure, table, tree
    from studies.prior_ablation.ablation import ablate as run

    set_threads(threads)
    chosen = [kind.strip() for kind in kinds.split(",")]
    if unknown := set(chosen) - set(KINDS):
        raise click.UsageError(f"--kinds: {', '.join(sorted(unknown))}; choose from {', '.join(KINDS)}")
    known = {
        option: dict(_pair(text, f"--{option}") for text in texts)
        for option, texts in (("reconstruction", reconstruction), ("features", features), ("codec", codec))
    }
    results = Results()
    out.mkdir(parents=True, exist_ok=True)
    for text in sets:
        name, paths = _pair(text, "a set")
        given = {option: pairs.get(name) for option, pairs in known.items()}
        code_set = _read_set(name, paths.split(","), num_quantizers, **given)
        if code_set.judge is not None:
            click.echo(f"{name}: {code_set.judge.description}", err=True)
        found = run(
            code_set,
            chosen,
            None if control == "none" else control,
            range(seeds),
            _Fit(out / "runs" / name, config, overrides, device),
            _coder(),
            on_row=lambda row: click.echo(
                f"{row.code_set}, {row.prior}, seed {row.seed}: {row.bits_per_code:.4f} bits/code", err=True
            ),
        )
        results.add(found)
    for file, write in zip(
        FILES,
        (
            lambda path: path.write_text(table(results) + "\n", encoding="utf-8"),
            lambda path: path.write_text(to_json(tree(results)), encoding="utf-8"),
            lambda path: figure(results).savefig(path, dpi=150),
        ),
        strict=True,
    ):
        with atomic_output(out / file, force=True) as temporary:
            write(temporary)
    click.echo(table(results))


class _Fit:
    """Trains the networks of one set, each in a folder of its own; controls are told apart by their number."""

    def __init__(self, folder: Path, config: str | None, overrides: Sequence[str], device: str) -> None:
        from audiovq.train.prior.config import load_prior_config
        from audiovq.train.prior.run import train_prior  # slow: not within the seconds of the first network

        self.load_config, self.train = load_prior_config, train_prior
        self.folder, self.config, self.overrides, self.device = folder, config, overrides, device
        self.count = 0

    def __call__(self, kind: str, spec: Any, train: Any, valid: Any, seed: int) -> Any:
        own = [text.removeprefix(f"{kind}:") for text in self.overrides if _is_for(text, kind)]
        experiment = self.load_config(kind, self.config, [*own, f"train.seed={seed}"])
        self.count += 1
        folder = self.folder / f"{self.count:02d}-{kind}-seed{seed}"
        return _timed(
            folder / "cpu_seconds", lambda: self.train(experiment, spec, train, valid, folder, device=self.device)
        )


def _timed(path: Path, make: Callable[[], Any]) -> tuple[Any, float]:
    """What `make` gives, and the CPU seconds it took when `path` was not there yet, which then holds them."""
    from audiovq.data.files import atomic_output

    began = time.process_time()
    made = make()
    if not path.exists():
        with atomic_output(path) as temporary:
            temporary.write_text(f"{time.process_time() - began:.3f}\n", encoding="utf-8")
    return made, float(path.read_text(encoding="utf-8"))


def _is_for(text: str, kind: str) -> bool:
    first = text.partition("=")[0]
    return ":" not in first or first.startswith(f"{kind}:")


def _read_set(
    name: str,
    paths: Sequence[str],
    num_quantizers: int | None,
    *,
    reconstruction: str | None,
    features: str | None,
    codec: str | None,
) -> Any:
    from audiovq.modelfolder import bundled_models
    from audiovq.prior.collection import read_collection
    from studies.prior_ablation.ablation import CodeSet

    if len(paths) > 2:
        raise click.UsageError(f"{name}: give codes to fit on and codes to test on, TRAIN,TEST, and nothing more")
    collection = read_collection(paths[:1], spec=_array_spec(paths, codec), num_quantizers=num_quantizers)
    items, spec = collection.items, collection.spec
    if len(paths) == 2:
        test = read_collection(paths[1:], spec=spec, num_quantizers=num_quantizers).items
    else:
        test, items = items[9::10], [item for i, item in enumerate(items) if i % 10 != 9]
    valid, train = items[4::10], [item for i, item in enumerate(items) if i % 10 != 4]
    if not (train and valid and test):
        raise BadDataError(f"{paths[0]}: too few items to fit on, to choose by and to test on; give 10 or more")
    try:
        bits = None if reconstruction is None else float(reconstruction)
    except ValueError:
        raise click.UsageError(f"--reconstruction {name}={reconstruction}: give a number") from None
    codec = codec or (spec.model if spec.model in bundled_models() else None)  # no folder that a file names
    judge = None if features is None else _judge(name, features, codec)
    dims = _dims(codec, items[0].codes.shape[1:]) if spec.layout == "grid" else None
    return CodeSet(name, spec, train, valid, test, bits, judge, dims)


def _array_spec(paths: Sequence[str], codec: str | None) -> Any:
    """What the codec says of arrays and archives, which don't say it themselves; of other codes they do."""
    arrays = any(Path(path).suffix == ".npy" or path.startswith(("scp:", "ark:")) for path in paths)
    return given_spec(codec, None, None, "sequence") if arrays else None


def _dims(codec: str | None, space: Sequence[int]) -> int | None:
    """Values C H W of an image with a grid of codes of that size; None if the codec is not known or no VQ-VAE."""
    from audiovq.codec import ImageCodec, open_codec

    opened = None if codec is None else open_codec(codec, "cpu")
    if not isinstance(opened, ImageCodec):
        return None
    return opened.channels * space[0] * space[1] * opened.stride**2


def _judge(name: str, features: str, codec: str | None) -> Any:
    from studies.prior_ablation.judges import image_judge, sound_judge

    labels, colon, data = features.partition(":")
    if not (colon and data) or labels not in ("text", "speaker", "class"):
        raise click.UsageError(f"--features {name}={features}: write text:DIR, speaker:DIR or class:IMAGES")
    if codec is None:
        raise click.UsageError(
            f"--features {name}: the codes don't say whose they are; name it with --codec {name}=MODEL"
        )
    return image_judge(codec, data) if labels == "class" else sound_judge(codec, data, labels)  # type: ignore[arg-type]


def _coder() -> Any:
    """The arithmetic coder, if it is installed."""
    import importlib.util

    if importlib.util.find_spec("constriction") is None:
        click.echo("constriction is not installed, so nothing is coded: pip install 'audiovq[coding]'", err=True)
        return None
    from audiovq.prior.coding import decode_items, encode_items

    return encode_items, decode_items


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise click.UsageError(f"{what} {text!r}: write NAME=VALUE")
    return name, value


def main() -> None:
    """The command, with every error as one line."""
    try:
        ablate()
    except (AudioVQError, OSError) as error:
        sys.exit(error_line(error))


if __name__ == "__main__":
    main()
