"""Counts the bits of an Ogg or AMR file that are codes, and those that are container."""

from __future__ import annotations

from audiovq.errors import BadAudioError

# Bits of a frame by its type, the last comfort noise: RFC 4867 (sections 3 and 5.3), 3GPP TS 26.101 and 26.201
AMR_BITS = {
    b"#!AMR\n": (95, 103, 118, 134, 148, 159, 204, 244, 39),
    b"#!AMR-WB\n": (132, 177, 253, 285, 317, 365, 397, 461, 477, 40),
}


def ogg_payload_bits(data: bytes, *, headers: int = 2) -> int:
    """Bits of all packets of a single Ogg stream (RFC 3533) but the first `headers`, which say what follows.

    BadAudioError if the pages don't follow each other to the end of `data`.
    """
    lengths = [0]  # of the packets; a segment shorter than 255 ends one
    position = 0
    while position < len(data):
        segments = (
            data[position + 26] if data[position : position + 4] == b"OggS" and position + 27 <= len(data) else -1
        )
        table = data[position + 27 : position + 27 + max(segments, 0)]
        if segments < 0 or position + 27 + segments + sum(table) > len(data):
            raise BadAudioError(f"Ogg stream: no complete page at byte {position}; the encoder failed")
        for size in table:
            lengths[-1] += size
            if size < 255:
                lengths.append(0)
        position += 27 + segments + sum(table)
    return 8 * sum(lengths[headers:])


def amr_payload_bits(data: bytes) -> int:
    """Bits of the speech frames of an AMR or AMR-WB file; BadAudioError for another file, or one that is cut off."""
    magic = next((magic for magic in AMR_BITS if data.startswith(magic)), None)
    if magic is None:
        raise BadAudioError("not an AMR file: the encoder failed")
    bits, total, position = AMR_BITS[magic], 0, len(magic)
    while position < len(data):
        kind = data[position] >> 3 & 15
        size = bits[kind] if kind < len(bits) else 0  # 14, 15: nothing was sent
        total += size
        position += 1 + -(-size // 8)
    if position > len(data):
        raise BadAudioError("AMR file: its last frame is cut off; the encoder failed")
    return total
