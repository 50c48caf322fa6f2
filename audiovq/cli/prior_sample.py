"""`audiovq prior sample`: codes that nobody spoke, and how they sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from audiovq.cli.options import set_threads
from audiovq.cli.prior_codes import FOLDER, OUTPUT, read_like
from audiovq.cli.progress import step_bar
from audiovq.errors import ConfigError

if TYPE_CHECKING:
    from audiovq.codec import Codec
    from audiovq.prior import CodeSpec, Prior


@click.command()
@click.argument("prior_dir", metavar="DIR", type=FOLDER)
@click.option("--decode", "sound", type=OUTPUT, help="Decode to this audio file at once.")
@click.option("--codes", "target", type=OUTPUT, help="Write the codes to this .codes or .npy file.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Length in all; 5 if not given.")
@click.option("--frames", type=click.IntRange(min=1), help="Length in all in frames, instead.")
@click.option("--size", metavar="HxW", help="Of a grid.")
@click.option("--continue", "begin", metavar="CODES", help="Go on from these codes.")
@click.option("--keep", type=click.FloatRange(min=0), help="Of --continue, only the first so many seconds.")
@click.option("--num", type=click.IntRange(min=1), default=1, show_default=True, help="How many; files are numbered.")
@click.option("--label", help="Speaker or class, of a prior that is conditioned on it.")
@click.option("--temperature", type=click.FloatRange(min=0), default=1.0, show_default=True)
@click.option("--top-k", type=click.IntRange(min=1), help="Draw from the k most probable codes.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
              help="Draw from the fewest codes that have this probability.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--codec", help="The codec, instead of the one that the prior names.")
@click.option("--decoder", help="One of the codec's decoders.")
@click.option("--speaker", help="Voice of a codec that has several; --label if not given.")
@click.option("--allow-mismatch", is_flag=True, help="Decode with another codec than the prior was fitted on.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--force", "-f", is_flag=True, help="Overwrite existing files.")
def sample(
    prior_dir: Path,
    sound: Path | None,
    target: Path | None,
    seconds: float | None,
    frames: int | None,
    size: str | None,
    begin: str | None,
    keep: float | None,
    num: int,
    label: str | None,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int,
    codec: str | None,
    decoder: str | None,
    speaker: str | None,
    allow_mismatch: bool,
    device: str,
    threads: int | None,
    force: bool,
) -> None:
    """Draw codes from the prior in DIR, and decode them with --decode.

    The same seed gives the same codes; sample number i does not depend on --num.
    """
    from audiovq.prior import load_prior
    from audiovq.prior import sample as draw
    from audiovq.prior.base import positions
    from audiovq.prior.sampling import uniform_streams

    if sound is None and target is None:
        raise click.UsageError("nothing to write: give --decode OUT.wav, --codes OUT.codes, or both")
    set_threads(threads)
    loaded = load_prior(prior_dir, device)
    spec = loaded.spec
    space = _space(spec, seconds, frames, size)
    if spec.layout == "grid" and (sound is not None or (target is not None and target.suffix != ".npy")):
        raise ConfigError(f"{prior_dir}: draws grids of codes; write them with --codes OUT.npy")
    needs_codec = sound is not None or (target is not None and target.suffix != ".npy")
    coder = _codec_for(spec, codec) if needs_codec else None
    prefix = None if begin is None else _prefix(loaded, begin, keep, allow_mismatch)
    with step_bar("sample", "position") as progress:
        codes = draw(
            loaded,
            uniform_streams(seed, num, positions(space), spec.num_quantizers),
            space,
            prefix=prefix,
            label=label,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            on_position=lambda done: progress(done, positions(space)),
        )
    for i, one in enumerate(codes):
        _write(one, spec, coder, _numbered(target, i, num), _numbered(sound, i, num), force=force, decoder=decoder,
               speaker=speaker or (label if coder and label in coder.model.speakers else None), seed=seed,
               allow_mismatch=allow_mismatch)  # fmt: skip


def _space(spec: CodeSpec, seconds: float | None, frames: int | None, size: str | None) -> tuple[int, ...]:
    """Shape of what is drawn."""
    if spec.layout == "grid":
        try:
            height, width = map(int, (size or "").lower().split("x"))
        except ValueError:
            height = width = 0
        if min(height, width) < 1:
            raise click.UsageError("this prior draws grids: give --size HxW, as 32x32")
        return height, width
    if frames is not None:
        return (frames,)
    if spec.frame_rate is None:
        raise click.UsageError("the prior does not know its frame rate: give --frames")
    return (max(1, round((5.0 if seconds is None else seconds) * spec.frame_rate)),)


def _prefix(loaded: Prior, source: str, keep: float | None, allow_mismatch: bool) -> Any:
    """The positions to go on from, `[Q, N]`."""
    items = read_like(loaded, (source,), None, allow_mismatch).items
    if len(items) != 1:
        raise ConfigError(f"{source}: holds {len(items)} items; give one to go on from")
    codes = items[0].codes.reshape(loaded.spec.num_quantizers, -1)
    if keep is None:
        return codes
    if loaded.spec.frame_rate is None:
        raise click.UsageError("the prior does not know its frame rate, so --keep can't count seconds")
    return codes[:, : round(keep * loaded.spec.frame_rate)]


def _codec_for(spec: CodeSpec, name: str | None) -> Codec:
    from audiovq.codec import Codec

    if name is None and spec.model is None:
        raise ConfigError("the prior does not say whose codes it draws; give --codec")
    return Codec.from_pretrained(name or str(spec.model), "cpu")


def _write(
    codes: Any,
    spec: CodeSpec,
    coder: Codec | None,
    target: Path | None,
    sound: Path | None,
    *,
    force: bool,
    decoder: str | None,
    speaker: str | None,
    seed: int,
    allow_mismatch: bool,
) -> None:
    """One sample `[Q, *space]` as codes and as sound."""
    from audiovq.data.files import atomic_output

    if target is not None and target.suffix == ".npy":
        with atomic_output(target, force=force) as temporary:
            np.save(temporary, codes[0] if spec.layout == "grid" and len(codes) == 1 else codes)
    if coder is None:
        return
    from audiovq.bitstream import write_codes
    from audiovq.codec.sampled import recording_of
    from audiovq.data.audio import write_audio

    fingerprint = None if spec.fingerprint is None else bytes.fromhex(spec.fingerprint)
    recording = recording_of(coder, codes, fingerprint=fingerprint, speaker=speaker)
    if sound is not None:
        waveform = coder.decode(recording, decoder=decoder, seed=seed, allow_mismatch=allow_mismatch)
        write_audio(sound, waveform, coder.sample_rate, force=force)
    if target is not None and target.suffix != ".npy":
        write_codes(target, recording.header, recording.codes, force=force)


def _numbered(path: Path | None, number: int, count: int) -> Path | None:
    """The path itself for a single sample, else with the number before its suffix."""
    return path if path is None or count == 1 else path.with_name(f"{path.stem}-{number:03d}{path.suffix}")
