"""`audiovq prior sample`: draw new codes from a prior, and decode them to sound or images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audiovq.cli.prior.codes import FOLDER, OUTPUT, read_like
from audiovq.cli.prior.output import codec_for, write_codes_of, write_sheet, write_sounds
from audiovq.cli.shared.options import THREADS, set_threads
from audiovq.cli.shared.progress import step_bar
from audiovq.errors import ConfigError

if TYPE_CHECKING:
    from audiovq.codec import Codec, ImageCodec
    from audiovq.prior import CodeSpec, Prior


@click.command()
@click.argument("prior_dir", metavar="DIR", type=FOLDER)
@click.option("--decode", "decoded", type=OUTPUT, help="Decode to this audio file, or grids to this .png, at once.")
@click.option("--codes", "target", type=OUTPUT, help="Write the codes to this .codes or .npy file.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Length in all; 5 if not given.")
@click.option("--frames", type=click.IntRange(min=1), help="Length in all in frames, instead.")
@click.option("--size", metavar="HxW", help="Of a grid; that of the codec's images if not given.")
@click.option("--continue", "begin", metavar="CODES", help="Go on from these codes.")
@click.option("--keep", type=click.FloatRange(min=0), help="Of --continue, only the first so many seconds.")
@click.option(
    "--num",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many; files are numbered. Images make one sheet.",
)
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
@click.option("--threads", type=THREADS, help="CPU threads.")
@click.option("--force", "-f", is_flag=True, help="Overwrite existing files.")
def sample(
    prior_dir: Path,
    decoded: Path | None,
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
    from audiovq.codec import Codec, ImageCodec
    from audiovq.data.image.output import check_png
    from audiovq.prior import load_prior
    from audiovq.prior import sample as draw
    from audiovq.prior.base import positions
    from audiovq.prior.sampling import uniform_streams

    if decoded is None and target is None:
        raise click.UsageError("nothing to write: give --decode OUT.wav or OUT.png, --codes OUT.codes, or both")
    set_threads(threads)
    loaded = load_prior(prior_dir, device)
    spec = loaded.spec
    needs_codec = decoded is not None or (target is not None and target.suffix != ".npy")
    needs_size = spec.layout == "grid" and size is None and (codec or spec.model) is not None
    coder = codec_for(spec, codec) if needs_codec or needs_size else None
    space = _space(spec, seconds, frames, size, coder)
    if decoded is not None and spec.layout == "grid":
        check_png(decoded, force=force)
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
    if speaker is None and isinstance(coder, Codec) and label in coder.model.speakers:
        speaker = label
    if decoded is not None and isinstance(coder, ImageCodec):
        write_sheet(codes, spec, coder, decoded, seed=seed, allow_mismatch=allow_mismatch, force=force)
    elif decoded is not None and isinstance(coder, Codec):
        decoding: dict[str, Any] = {"decoder": decoder, "seed": seed, "allow_mismatch": allow_mismatch}
        write_sounds(codes, spec, coder, decoded, speaker=speaker, force=force, **decoding)
    if target is not None:
        write_codes_of(codes, spec, coder, target, speaker=speaker, force=force)


def _space(
    spec: CodeSpec, seconds: float | None, frames: int | None, size: str | None, coder: Codec | ImageCodec | None
) -> tuple[int, ...]:
    """Shape of what is drawn."""
    from audiovq.codec import ImageCodec

    if spec.layout == "grid":
        if size is None and isinstance(coder, ImageCodec):
            return coder.model.codes_shape[1:]
        if size is None:
            raise click.UsageError("this prior draws grids, and knows no codec: give --size HxW, as 32x32")
        try:
            height, width = map(int, size.lower().split("x"))
        except ValueError:
            height = width = 0
        if min(height, width) < 1:
            raise click.UsageError(f"--size {size}: give HxW, as 32x32")
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
