#!/usr/bin/env python3
"""One table of what `audiovq image evaluate --json` measured of several models.

    image_results.py exp/vqvae/scores_best --out exp/vqvae/results.md

Writes the Markdown file and prints it.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from audiovq.data.files import atomic_output
from audiovq.data.image.pack import read_meta
from audiovq.errors import AudioVQError, BadDataError
from audiovq.metrics.table import markdown, number

Tree = dict[str, Any]
DIGITS = 3
TERMS = ("reconstruction", "prior", "bound", "learned prior", "bound with the learned prior")
HEADERS = ("bits/dim", *TERMS, "others' latents - own, bits/image")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("scores", type=Path, help="folder of the JSON files; a file's name is its model's")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file, replaced")
    options = parser.parse_args()
    try:
        text = results(options.scores)
        with atomic_output(options.out, force=True) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except AudioVQError as error:
        sys.exit(f"{sys.argv[0]}: error: {error}")
    print(text)


def results(folder: Path) -> str:
    """The tables of all measurements in a folder: one for each set of data, the oldest measurement first."""
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    if not files:
        raise BadDataError(f"{folder}: nothing was measured yet")
    by_data: dict[str, dict[str, Tree]] = {}
    for path in files:
        tree = json.loads(path.read_text(encoding="utf-8"))
        by_data.setdefault(f"{tree['items']} items of {tree['data']}", {})[path.stem] = tree
    return "\n\n".join(f"{what}{_caution(trees)}\n\n{_table(trees)}" for what, trees in by_data.items())


def _table(trees: dict[str, Tree]) -> str:
    rows = [[name, *(_cell(tree, term) for term in TERMS), _gap(tree)] for name, tree in trees.items()]
    return markdown(HEADERS, rows)


def _cell(tree: Tree, term: str) -> str:
    return number(tree["mean"][term], *tree["interval_95"][term], DIGITS) if term in tree["mean"] else "-"


def _gap(tree: Tree) -> str:
    use = tree.get("latent_use")
    return "-" if use is None else number(use["mean_bits"]["gap"], *use["interval_95"]["gap"], 1)


def _caution(trees: dict[str, Tree]) -> str:
    meta = read_meta(Path(next(iter(trees.values()))["data"]))
    lossy = meta is not None and meta["lossy"]
    return ", from lossy files: not to be compared with figures of other images" if lossy else ""


if __name__ == "__main__":
    main()
