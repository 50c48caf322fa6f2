"""The outputs of `audiovq prior sample`: codes, and the sound or images they decode to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiovq.data.files import atomic_output
from audiovq.errors import ConfigError

if TYPE_CHECKING:
    from audiovq.codec import Codec, ImageCodec
    from audiovq.prior import CodeSpec
    from audiovq.prior.base import Codes


def codec_for(spec: CodeSpec, name: str | None) -> Codec | ImageCodec:
    """The codec that decodes what a prior draws: the one that is named, or the prior's own."""
    from audiovq.codec import ImageCodec, open_codec
    from audiovq.codec.loading import bundled_model

    if name is None and spec.model is None:
        raise ConfigError("the prior does not say whose codes it draws; give --codec")
    coder = open_codec(name or bundled_model(str(spec.model), "the prior was fitted on codes", "--codec"), "cpu")
    if isinstance(coder, ImageCodec) != (spec.layout == "grid"):
        kinds = ("grids, and it is a codec of sound", "sequences, and it is one of images")
        raise ConfigError(
            f"{coder.name}: this prior draws {kinds[isinstance(coder, ImageCodec)]}; give another --codec"
        )
    return coder


def write_codes_of(
    codes: Codes, spec: CodeSpec, coder: Codec | ImageCodec | None, target: Path, *, speaker: str | None, force: bool
) -> None:
    """Each sample of `[B, Q, *space]` as a .npy or .codes file."""
    from audiovq.codec import ImageCodec
    from audiovq.codec.image.codec import write_image_codes
    from audiovq.codec.sampled import image_of, recording_of

    for i, one in enumerate(codes):
        path = _numbered(target, i, len(codes))
        if target.suffix == ".npy":
            with atomic_output(path, force=force) as temporary:
                np.save(temporary, _as_array(one, spec))
        elif isinstance(coder, ImageCodec):
            write_image_codes(path, image_of(coder, one, fingerprint=_fingerprint(spec)), force=force)
        elif coder is not None:
            recording = recording_of(coder, one, fingerprint=_fingerprint(spec), speaker=speaker)
            coder.write(path, recording, force=force)


def write_sounds(
    codes: Codes, spec: CodeSpec, coder: Codec, target: Path, *, speaker: str | None, force: bool, **decoding: Any
) -> None:
    """Each sample of `[B, Q, F]` as an audio file."""
    from audiovq.codec.sampled import recording_of
    from audiovq.data.audio import write_audio

    for i, one in enumerate(codes):
        recording = recording_of(coder, one, fingerprint=_fingerprint(spec), speaker=speaker)
        waveform = coder.decode(recording, **decoding)
        write_audio(_numbered(target, i, len(codes)), waveform, coder.sample_rate, force=force)


def write_sheet(
    codes: Codes, spec: CodeSpec, coder: ImageCodec, target: Path, *, seed: int, allow_mismatch: bool, force: bool
) -> None:
    """The samples of `[B, Q, H, W]` as images on one sheet, in reading order; a single one alone."""
    from audiovq.codec.sampled import image_of
    from audiovq.data.image.output import sheet, square_columns, write_png

    images = [
        coder.decode(image_of(coder, one, fingerprint=_fingerprint(spec)), seed=seed + i, allow_mismatch=allow_mismatch)
        for i, one in enumerate(codes)
    ]
    write_png(target, sheet(images, square_columns(len(images))), force=force)


def _as_array(codes: Codes, spec: CodeSpec) -> Codes:
    """As `prior score` reads it again: `[Q, F]`, a grid `[H, W]` or with levels `[1, Q, H, W]`."""
    if spec.layout == "sequence":
        return codes
    return codes[0] if len(codes) == 1 else codes[None]


def _fingerprint(spec: CodeSpec) -> bytes | None:
    return None if spec.fingerprint is None else bytes.fromhex(spec.fingerprint)


def _numbered(path: Path, number: int, count: int) -> Path:
    """The path itself for a single sample, else with the number before its suffix."""
    return path if count == 1 else path.with_name(f"{path.stem}-{number:03d}{path.suffix}")
