"""Trains the small codec of conf/quantizers once with each quantizer, at one bitrate and budget, and prints a table.

    python local/compare_quantizers.py [NAME ...]    # after stages 0 and 1, in the recipe's folder, after . ./path.sh

NAME is a file of conf/quantizers, by default each. A finished run is not repeated, an interrupted one goes on.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
CONF = HERE / "conf" / "quantizers"
METRICS = {"pesq": ("PESQ-WB", 2), "stoi": ("STOI", 3), "estoi": ("ESTOI", 3), "mel_db": ("mel dB", 2)}


def main() -> None:
    """Train and score what is not there yet; print the table of what was asked for."""
    known = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "base")
    parser = argparse.ArgumentParser(description="Quantizers at equal bits and equal training.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--corpora", type=Path, default=Path("dump/16k"), help="packs (dump/16k)")
    parser.add_argument("--data", type=Path, default=Path("data/eval"), help="what is scored (data/eval)")
    parser.add_argument("--exp", type=Path, default=Path("exp/quantizers"), help="where runs go (exp/quantizers)")
    parser.add_argument("--threads", default="1", help="CPU threads (1)")
    options = parser.parse_args()
    for name in options.names:
        if name not in known:
            parser.error(f"no conf/quantizers/{name}.yaml; there are {', '.join(known)}")
    rows = []
    for name in options.names or known:
        folder = options.exp / name
        train(name, folder, options.corpora, options.threads)
        scores = score(folder, options.data, options.threads)
        rows.append(row(name, scores, last_values(folder)))
    header = ["quantizer", "kbit/s", "usage", "perplexity", *(title for title, _ in METRICS.values())]
    print("\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *rows]))


def train(name: str, folder: Path, corpora: Path, threads: str) -> None:
    """A run of the base with the change of that name; does nothing if it is finished."""
    run(
        "train",
        CONF / "base.yaml",
        CONF / f"{name}.yaml",
        "--exp",
        folder,
        "--threads",
        threads,
        "-o",
        f"data.root={corpora}",
    )


def score(folder: Path, data: Path, threads: str) -> dict[str, float]:
    """Mean scores of the last averaged model at its full bitrate, and that bitrate."""
    model, out = folder / "models" / "latest", folder / "scores.json"
    if not out.exists() or out.stat().st_mtime < (model / "config.json").stat().st_mtime:
        run("evaluate", "codec", "--model", model, "--data", data, "--threads", threads, "--json", out)
    (codec,) = json.loads(out.read_text(encoding="utf-8"))["codecs"]
    means = {name: codec["summary"]["all"][name]["mean"] for name in METRICS}
    return means | {"kbps": codec["totals"]["payload_kbps"]}


def last_values(folder: Path) -> dict[str, float]:
    """The last logged value of every column of the run's CSV logs."""
    values: dict[str, float] = {}
    for path in sorted(folder.glob("csv/version_*/metrics.csv")):
        with path.open(encoding="utf-8") as file:
            for line in csv.DictReader(file):
                values |= {key: float(value) for key, value in line.items() if value}
    return values


def row(name: str, scores: dict[str, float], logged: dict[str, float]) -> list[str]:
    """A line of the table; usage and perplexity are those of the training codes, level by level."""
    levels = range(sum(key.startswith("train/usage_") for key in logged))
    usage = " ".join(f"{logged[f'train/usage_{level}']:.0%}" for level in levels)
    perplexity = " ".join(f"{logged[f'train/perplexity_{level}']:.0f}" for level in levels)
    figures = [f"{scores[key]:.{digits}f}" for key, (_, digits) in METRICS.items()]
    return [name, f"{scores['kbps']:.2f}", usage, perplexity, *figures]


def run(*arguments: object) -> None:
    """`audiovq` with these arguments; its output goes to standard error, so that only the table is printed."""
    subprocess.run([sys.executable, "-m", "audiovq", *map(str, arguments)], check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
