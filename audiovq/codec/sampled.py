"""Codes that nobody spoke or saw, as a recording or a picture: what a prior drew, ready to decode or for a file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream import AudioHeader
from audiovq.codec.codec import Codec
from audiovq.codec.image.codec import EncodedImage, ImageCodec
from audiovq.codec.source import EncodedAudio


def recording_of(
    codec: Codec, codes: NDArray[Any], *, fingerprint: bytes | None = None, speaker: str | None = None
) -> EncodedAudio:
    """One channel of whole frames at the codec's own rate.

    Args:
        codec: that decodes it.
        codes: `[Q, F]`, any number of the codec's first levels.
        fingerprint: 8 bytes, of the codec whose codes they are like; by default this one. `Codec.decode` checks it.
        speaker: whose voice the header names.
    """
    header = AudioHeader(
        model=codec.name,
        fingerprint=codec.fingerprint[:8] if fingerprint is None else fingerprint,
        sample_rate=codec.sample_rate,
        channels=1,
        num_samples=codes.shape[1] * codec.hop_length,
        model_sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        frames_per_packet=max(1, round(codec.frame_rate)),
        codebook_sizes=tuple(codec.model.codebook_sizes[: len(codes)]),
        speaker=speaker,
    )
    return EncodedAudio(header, np.ascontiguousarray(codes, np.int64)[None])


def picture_of(codec: ImageCodec, codes: NDArray[Any], *, fingerprint: bytes | None = None) -> EncodedImage:
    """A picture that fills the grid.

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
