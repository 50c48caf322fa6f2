"""Counts the images of a corpus and stops if they are not as many as it has: a part of one looks like any other.

python recipes/count_images.py SOURCE --expected N [--format F --split S --labels FILE] [--allow-partial true]
"""

from __future__ import annotations

import argparse
import sys

from audiovq.data.image.sources import FORMATS, open_source
from audiovq.errors import AudioVQError, BadDataError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source")
    parser.add_argument("--expected", type=int, required=True, help="how many the whole corpus has")
    parser.add_argument("--format", default="auto", choices=FORMATS)
    parser.add_argument("--split", default="train", choices=["train", "test"])
    parser.add_argument("--labels", help="a file name and its class on each line")
    parser.add_argument("--allow-partial", default="false", choices=["true", "false"])
    options = parser.parse_args()
    try:
        source = open_source(options.source, options.format, split=options.split, labels=options.labels)
        found = len(source.names)
        print(f"{options.source}: {found:,} images; the corpus has {options.expected:,}")
        if found != options.expected and options.allow_partial == "false":
            raise BadDataError(f"{options.source}: is no whole corpus; --allow-partial true goes on all the same")
    except AudioVQError as error:
        sys.exit(f"{sys.argv[0]}: error: {error}")


if __name__ == "__main__":
    main()
