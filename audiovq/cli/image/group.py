"""The `audiovq image` group: its commands are listed here, and each has a file of its own."""

from __future__ import annotations

import click

from audiovq.cli.image.codes import decode, encode
from audiovq.cli.image.evaluate import evaluate
from audiovq.cli.image.pack import pack
from audiovq.cli.image.reconstruct import reconstruct
from audiovq.cli.image.report import report
from audiovq.cli.image.sample import sample


@click.group()
def image() -> None:
    """Codes of images: encode and decode them, compare them with other formats; measure models of them, draw
    from these; pack images for training."""


for command in (encode, decode, reconstruct, report, evaluate, sample, pack):
    image.add_command(command)
