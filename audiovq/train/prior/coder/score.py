"""What codes cost under an integer coder, as files have them: in packets, each from a fresh state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from audiovq.prior import CodeItem
from audiovq.prior.coder import IntegerCoder

PACKET_FRAMES = 250  # of the longest packet of a file, 5 s at 50 Hz


def score_coder(coder: IntegerCoder, items: Sequence[CodeItem]) -> NDArray[np.float64]:
    """Bits per code of each level `[Q]`, every packet from a fresh state; 0 for levels without codes."""
    bits, count = np.zeros(len(coder.codebook_sizes)), 0
    for item in items:
        for start in range(0, item.codes.shape[1], PACKET_FRAMES):
            packet = item.codes[None, :, start : start + PACKET_FRAMES]
            bits += coder.bits(packet)[0].sum(1)
            count += packet.shape[2]
    return bits / max(1, count)
