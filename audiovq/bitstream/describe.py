"""What a `.codes` header says, as a plain dict for people and JSON: `audiovq inspect` prints it."""

from __future__ import annotations

from typing import Any

from audiovq.bitstream.header import VERSION, Coding, Header, Media


def describe(header: Header, *, num_samples: int | None = None, num_bytes: int | None = None) -> dict[str, Any]:
    """JSON-able description; None where something is not known.

    Args:
        header: of the file.
        num_samples: the length of a stream, whose header has none.
        num_bytes: size of the whole file. `bitrate_bps` is measured from it, headers and checksums included;
            `code_bitrate_bps` counts only the codes' bits, as papers do.
    """
    num_samples = header.num_samples if num_samples is None else num_samples
    seconds = None if num_samples is None else num_samples / header.sample_rate
    frames = None if num_samples is None else header.frames_for(num_samples)
    bits_per_frame = header.channels * sum(header.widths)
    return {
        "format_version": VERSION,
        "media": Media(header.media).name.lower(),
        "coding": Coding(header.coding).name.lower(),
        "model": header.model,
        "fingerprint": header.fingerprint.hex(),
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "num_samples": num_samples,
        "seconds": seconds,
        "model_sample_rate": header.model_sample_rate,
        "hop_length": header.hop_length,
        "frame_rate": header.frame_rate,
        "num_frames": frames,
        "frames_per_packet": header.frames_per_packet,
        "num_packets": None if frames is None else -(-frames // header.frames_per_packet),
        "codebook_sizes": list(header.codebook_sizes),
        "gain_db": header.gain_db,
        "speaker": header.speaker,
        "global_code_bytes": None if header.global_code is None else len(header.global_code),
        "header_bytes": len(header.to_bytes()),
        "num_bytes": num_bytes,
        "code_bitrate_bps": bits_per_frame * header.frame_rate,
        "bitrate_bps": 8 * num_bytes / seconds if num_bytes is not None and seconds else None,
    }
