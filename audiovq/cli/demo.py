"""`audiovq demo`: encode and decode a short recording that comes with the package."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import click

from audiovq.cli.shared.options import THREADS, set_threads


@click.command()
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="audiovq-demo", show_default=True)
@click.option("--model", default="speech-16k", show_default=True, help="A bundled name, a model folder or a hub id.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=THREADS, help="CPU threads; torch's choice if not given.")
def demo(out: Path, model: str, device: str, threads: int | None) -> None:
    """Encode the packaged sample, decode it, and print sizes, bitrate and speeds.

    Its three files in the folder --out are written anew every time.
    """
    from audiovq.codec import Codec, decode_file, encode_file
    from audiovq.data.audio import read_audio, write_audio

    set_threads(threads)
    codec = Codec.from_pretrained(model, device)
    out.mkdir(parents=True, exist_ok=True)
    original, codes, decoded = out / "sample.wav", out / "sample.codes", out / "decoded.wav"
    with as_file(files("audiovq") / "assets" / "sample.flac") as sample:
        waveform, rate = read_audio(sample)
    write_audio(original, waveform, rate, force=True)
    speaker = codec.model.speakers[0] if codec.model.speakers else None
    encoding = encode_file(codec, original, codes, force=True, speaker=speaker)
    decoding = decode_file(codec, codes, decoded, force=True)

    size = original.stat().st_size
    fingerprint = codec.fingerprint.hex()[:16]
    click.echo(f"model    {model}: {codec.sample_rate} Hz, {codec.frame_rate:g} frames/s, fingerprint {fingerprint}")
    click.echo(f"sample   {original}: {encoding.seconds:.2f} s, {rate} Hz, {size} bytes")
    click.echo(
        f"codes    {codes}: {encoding.num_bytes} bytes, 1/{size / encoding.num_bytes:.0f} of the sample,"
        f" {encoding.bits_per_second / 1000:.2f} kbit/s; encoded at {encoding.times_real_time:.1f} x real time"
    )
    speed = f"decoded at {decoding.times_real_time:.1f} x real time"
    click.echo(f"decoded  {decoded}: {decoding.num_bytes} bytes; {speed}")
