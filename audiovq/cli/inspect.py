"""`audiovq inspect` shows what a `.codes` file or a model holds; `audiovq verify` checks whether the file is intact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from audiovq.bitstream import AudioHeader, CodesReader, Header, PacketCoder
from audiovq.cli.shared.batch import input_file
from audiovq.errors import BadCodesError
from audiovq.prior.coder import coder_at_hand


@click.command()
@click.argument("what", metavar="FILE.codes|MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(what: str, as_json: bool) -> None:
    """Show what a .codes file (its header; - is standard input) or a model (bundled name or folder) holds."""
    facts = _describe(what)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    width = max(map(len, facts))
    for key, value in facts.items():
        click.echo(f"{key:<{width}}  {_text(value)}")


@click.command()
@click.argument("file", metavar="FILE.codes")
def verify(file: str) -> None:
    """Check every packet of a .codes file; - is standard input. Exit 1 if it is not as it was written.

    Entropy-coded files by a model that is not bundled have their checksums checked, and not their codes.
    """
    with CodesReader(input_file(file), _coder, on_damage="conceal") as reader:
        damaged = reader.verify()
        for packet in damaged:
            click.echo(f"{file}: packet {packet.index}, {packet.place}: {packet.reason}", err=True)
        if damaged:
            raise BadCodesError(f"{file}: {len(damaged)} damaged packets; fetch it again, or decode it with --conceal")
        size = reader.header.length
        if isinstance(reader.header, AudioHeader):
            size = f"{(reader.num_samples or 0) / reader.header.sample_rate:.2f} s"
        if reader.header.coder is not None and _coder(reader.header) is None:
            size += f" by its checksums; its coder {reader.header.coder.hex()} is not at hand"
    click.echo(f"{file}: ok, {size}")


def _coder(header: Header) -> PacketCoder | None:
    """The coder of a file, None if the model at hand has another one."""
    coder = coder_at_hand(header)
    return coder if coder is not None and coder.fingerprint == header.coder else None


def _describe(what: str) -> dict[str, Any]:
    from audiovq.cli.models import describe_model

    if what == "-" or (Path(what).exists() and not Path(what).is_dir()):
        with CodesReader(input_file(what)) as reader:
            return reader.describe()
    if what.endswith(".codes"):
        raise BadCodesError(f"{what}: no such file; check the path")
    return describe_model(what)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
