"""`audiovq models`: the bundled models, and the facts of one model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from audiovq.bitstream.packing import bit_width

if TYPE_CHECKING:
    from audiovq.codec import Codec, ImageCodec


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def models(as_json: bool) -> None:
    """List the bundled models: rate, levels, bitrates, size on disk, parameters, fingerprint of the codes."""
    from audiovq.modelfolder import bundled_models

    found = [describe_model(name) for name in bundled_models()]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    if not found:
        click.echo("no model is bundled with this audiovq; name a model folder or a hub id instead", err=True)
    for facts in found:
        click.echo(
            f"{facts['name']}: {_shape(facts)},"
            f" {facts['num_bytes'] / 1e6:.1f} MB, {facts['num_parameters'] / 1e6:.2f} M parameters,"
            f" {facts['fingerprint'][:16]}"
        )


def describe_model(name: str) -> dict[str, Any]:
    """What there is to know of a model before using it, JSON-able."""
    import torch

    from audiovq.codec import ImageCodec
    from audiovq.codec.open import codec_of
    from audiovq.modelfolder import read_model

    stored = read_model(name)
    codec = codec_of(stored, name, torch.device("cpu"))
    own = _of_images(codec) if isinstance(codec, ImageCodec) else _of_sound(codec)
    return {
        "name": name,
        "folder": str(stored.folder),
        **own,
        "num_parameters": codec.model.num_parameters(),
        "num_bytes": sum(f.stat().st_size for f in stored.folder.iterdir() if f.suffix in (".json", ".safetensors")),
        "fingerprint": codec.fingerprint.hex(),
        "sha256": stored.fingerprint.hex(),
    }


def _of_sound(codec: Codec) -> dict[str, Any]:
    return {
        "kind": "audio",
        "sample_rate": codec.sample_rate,
        "hop_length": codec.hop_length,
        "frame_rate": codec.frame_rate,
        "num_quantizers": codec.num_quantizers,
        "codebook_sizes": list(codec.model.codebook_sizes),
        "bitrates_bps": codec.bitrates,
        "decoders": codec.decoders,
        "speakers": list(codec.model.speakers),
        **_latency(codec),
    }


def _latency(codec: Codec) -> dict[str, float]:
    """Of a stream at the model's rate in packets of one frame; resampling comes on top (docs/streaming.md)."""
    encoder, decoder = (
        codec.encoder_stream(codec.sample_rate, packet_seconds=1 / codec.frame_rate),
        codec.decoder_stream(),
    )
    decoder.push(encoder.push(np.zeros(0, np.float32)))  # the header
    return {
        "encoder_lookahead_seconds": encoder.latency - 1 / codec.frame_rate,
        "decoder_lookahead_seconds": decoder.latency,
        "latency_seconds": encoder.latency + decoder.latency,
    }


def _of_images(codec: ImageCodec) -> dict[str, Any]:
    """Height and width are those it was trained on; it takes others too."""
    levels, height, width = codec.model.codes_shape
    stride = codec.stride
    return {
        "kind": "image",
        "height": height * stride,
        "width": width * stride,
        "channels": codec.channels,
        "stride": stride,
        "codes_shape": [levels, height, width],
        "codebook_sizes": list(codec.codebook_sizes),
        "code_bits_per_pixel": sum(map(bit_width, codec.codebook_sizes)) / stride**2,
    }


def _shape(facts: dict[str, Any]) -> str:
    """What it codes and how, in some words."""
    if facts["kind"] == "image":
        levels, height, width = facts["codes_shape"]
        size = f"images of {facts['height']} x {facts['width']}"
        return f"{size}, {height} x {width} x {levels} codes ({facts['code_bits_per_pixel']:g} bits/pixel)"
    bitrates = ", ".join(f"{rate / 1000:g}" for rate in facts["bitrates_bps"])
    return f"{facts['sample_rate']} Hz, {facts['num_quantizers']} levels ({bitrates} kbit/s)"
