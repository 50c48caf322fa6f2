"""Codes that nobody spoke, as a recording: what a prior drew, ready for `Codec.decode` or a `.codes` file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.bitstream import Header
from audiovq.codec.codec import Codec
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
    header = Header(
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
