"""`audiovq models`: the bundled models, and what a model says about itself."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List the bundled models: rate, levels, bitrates, size on disk, parameters, fingerprint."""
    from audiovq.pretrained import bundled_models

    found = [describe_model(name) for name in bundled_models()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("no model is bundled with this audiovq; name a model folder or a hub id instead", err=True)
    for facts in found:
        bitrates = ", ".join(f"{rate / 1000:g}" for rate in facts["bitrates_bps"])
        click.echo(
            f"{facts['name']}: {facts['sample_rate']} Hz, {facts['num_quantizers']} levels ({bitrates} kbit/s),"
            f" {facts['num_bytes'] / 1e6:.1f} MB, {facts['num_parameters'] / 1e6:.2f} M parameters,"
            f" {facts['fingerprint'][:16]}"
        )


def describe_model(name: str) -> dict[str, Any]:
    """What there is to know of a model before using it, JSON-able."""
    from audiovq.codec import Codec
    from audiovq.pretrained import resolve_model

    codec = Codec.from_pretrained(name, "cpu")
    folder = resolve_model(name)
    return {
        "name": name,
        "folder": str(folder),
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "frame_rate": codec.frame_rate,
        "num_quantizers": codec.num_quantizers,
        "codebook_sizes": list(codec.model.codebook_sizes),
        "bitrates_bps": codec.bitrates,
        "decoders": codec.decoders,
        "speakers": list(codec.model.speakers),
        "num_parameters": codec.model.num_parameters(),
        "num_bytes": sum(f.stat().st_size for f in folder.iterdir() if f.suffix in (".json", ".safetensors")),
        "fingerprint": codec.fingerprint.hex(),
    }
