"""Gives a header to bare codes, drawn by a prior or read from an archive, so that they decode to sound or an image."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream.archive import check_archived, read_codes_archive
from audiovq.codec.codec import Codec
from audiovq.codec.image.codec import EncodedImage, ImageCodec
from audiovq.codec.source import EncodedAudio
from audiovq.data.kaldi.archives import Specifier
from audiovq.data.kaldi.streams import is_stream
from audiovq.errors import BadCodesError


def recording_of(
    codec: Codec, codes: NDArray[Any], *, fingerprint: bytes | None = None, speaker: str | None = None
) -> EncodedAudio:
    """One channel of whole frames at the codec's own rate.

    Args:
        codec: that decodes it.
        codes: `[Q, F]`, any number of the codec's first levels.
        fingerprint: 6 bytes, of the codec whose codes they are like; by default this one. `Codec.decode` checks it.
        speaker: whose voice the header names.
    """
    header = codec.header(codes.shape[1] * codec.hop_length, len(codes), speaker=speaker)
    if fingerprint is not None:
        header = replace(header, fingerprint=fingerprint)
    return EncodedAudio(header, np.ascontiguousarray(codes, np.int64)[None])


def image_of(codec: ImageCodec, codes: NDArray[Any], *, fingerprint: bytes | None = None) -> EncodedImage:
    """An image that fills the grid.

    Args:
        codec: that decodes it.
        codes: `[Q, H', W']`, any number of the codec's first levels.
        fingerprint: as for `recording_of`.
    """
    levels, height, width = codes.shape
    header = codec.header(height * codec.stride, width * codec.stride, levels)
    if fingerprint is not None:
        header = replace(header, fingerprint=fingerprint)
    return EncodedImage(header, np.ascontiguousarray(codes, np.int64))


def recordings_of(specifier: Specifier, codec: Codec | None = None) -> Iterator[tuple[str, EncodedAudio]]:
    """Utterances of an archive of codes, with what `read_codes_archive` raises.

    codec: takes archives that have no JSON file, with a warning, for codes of this one; None refuses them.
    """
    warned: set[str] = set()
    for name, ark, place, header, codes in read_codes_archive(specifier):
        if header is not None:
            yield name, EncodedAudio(header, codes)
            continue
        if codec is None:
            raise BadCodesError(
                f"{ark}.json: missing; it says which model made the codes and how long the sounds are. Put it beside"
                " the archive, or give --model to decode whole frames"
            )
        if ark not in warned:
            warned.add(ark)
            beside = "there is nothing" if is_stream(ark) else f"there is no {ark}.json"
            what = f"{beside} that says how long the sounds are"
            warnings.warn(f"{ark}: {what}; they get whole frames, at the model's rate", stacklevel=2)
        recording = recording_of(codec, codes[0])
        check_archived(recording.codes, recording.header, place)
        yield name, recording
