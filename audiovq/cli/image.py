"""`audiovq image`: what its commands are; each has a file of its own."""

from __future__ import annotations

import click

from audiovq.cli.image_codes import decode, encode
from audiovq.cli.image_evaluate import evaluate
from audiovq.cli.image_pack import pack
from audiovq.cli.image_reconstruct import reconstruct
from audiovq.cli.image_report import report
from audiovq.cli.image_sample import sample


@click.group()
def image() -> None:
    """Codes of pictures: encode and decode them, compare them with other formats; measure models of them, draw
    from these; pack pictures for training."""


for command in (encode, decode, reconstruct, report, evaluate, sample, pack):
    image.add_command(command)
