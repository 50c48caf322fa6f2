"""Functions that the commands of `audiovq prior` share: they read codes and labels, and the options on arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from audiovq.cli.shared.options import Output
from audiovq.data.tables import read_pairs

if TYPE_CHECKING:
    from audiovq.prior import CodeSpec, Prior
    from audiovq.prior.collection import Collection

F = TypeVar("F", bound=Callable[..., Any])
# audiovq.prior.KINDS, which is slow to import
KINDS = ("uniform", "unigram", "bigram", "trigram", "wavenet", "pixelcnn", "transformer")
FOLDER = click.Path(file_okay=False, path_type=Path)
INPUT, OUTPUT = click.Path(dir_okay=False, path_type=Path), Output()


def codes_options(command: F) -> F:
    """What arrays and archives don't say about their codes."""
    for option in (
        click.option("--labels", type=INPUT, help="Lines of <item> <label>, instead of those in the files."),
        click.option("--allow-mismatch", is_flag=True, help="Take codes of another codec, if their shape fits."),
    ):
        command = option(command)
    return command


def given_spec(codec: str | None, sizes: str | None, frame_rate: float | None, layout: str) -> CodeSpec | None:
    """What the options say about arrays; None if they say nothing."""
    from audiovq.bitstream import FINGERPRINT_BYTES
    from audiovq.prior import CodeSpec

    if codec is not None and sizes is not None:
        raise click.UsageError("--codec and --codebook-sizes say the same thing twice; give one of them")
    if codec is not None:
        from audiovq.codec import ImageCodec, open_codec
        from audiovq.codec.loading import name_for_files

        coder = open_codec(codec, "cpu")
        return CodeSpec(
            codebook_sizes=list(coder.model.codebook_sizes),
            layout="grid" if isinstance(coder, ImageCodec) else "sequence",
            frame_rate=None if isinstance(coder, ImageCodec) else coder.frame_rate,
            model=name_for_files(codec),
            fingerprint=coder.fingerprint[:FINGERPRINT_BYTES].hex(),
        )
    if sizes is None:
        return None
    try:
        numbers = [int(size) for size in sizes.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 2:
        raise click.UsageError(f"--codebook-sizes {sizes}: give numbers from 2 on, one a level, as 512 or 1024,1024")
    return CodeSpec(codebook_sizes=numbers, frame_rate=frame_rate, layout=layout)  # type: ignore[arg-type]


def read_labels(path: Path | None) -> dict[str, str] | None:
    """`<item> <label>` lines; BadDataError that names file and line."""
    return None if path is None else read_pairs(path, "<item> <label>").values


def read_like(
    loaded: Prior, codes: tuple[str, ...], labels: Mapping[str, str] | None, allow_mismatch: bool
) -> Collection:
    """Codes for a prior: as many levels as it was fitted on, of its codec."""
    from audiovq.prior.collection import read_collection

    spec = loaded.spec
    return read_collection(
        codes, spec=spec, num_quantizers=spec.num_quantizers, labels=labels, allow_mismatch=allow_mismatch
    )
