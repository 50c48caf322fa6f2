"""A `.codes` header as a plain dict for people and JSON. `audiovq inspect` prints it."""

from __future__ import annotations

from typing import Any

from audiovq.bitstream.coder import Coding
from audiovq.bitstream.header import VERSION, Header, Media
from audiovq.bitstream.media import AudioHeader, ImageHeader


def describe(header: Header, *, num_samples: int | None = None, num_bytes: int | None = None) -> dict[str, Any]:
    """JSON-able description; None where something is not known.

    Args:
        header: of the file.
        num_samples: the length of a stream, whose header has none.
        num_bytes: size of the whole file. `bitrate_bps` and `bits_per_pixel` are measured from it, headers and
            checksums included; `code_bitrate_bps` and `code_bits_per_pixel` count only the codes' bits, as papers do.
    """
    facts: dict[str, Any] = {
        "format_version": VERSION,
        "media": Media(header.media).name.lower(),
        "coding": Coding(header.coding).name.lower(),
        "model": header.model,
        "fingerprint": header.fingerprint.hex(),
        "codebook_sizes": list(header.codebook_sizes),
        "frames_per_packet": header.frames_per_packet,
        "header_bytes": len(header.to_bytes()),
        "num_bytes": num_bytes,
    }
    if isinstance(header, AudioHeader):
        return facts | _of_a_recording(header, num_samples, num_bytes)
    if isinstance(header, ImageHeader):
        return facts | _of_an_image(header, num_bytes)
    raise TypeError(f"{type(header).__name__}: no header that a file has")


def _of_a_recording(header: AudioHeader, num_samples: int | None, num_bytes: int | None) -> dict[str, Any]:
    num_samples = header.num_samples if num_samples is None else num_samples
    seconds = None if num_samples is None else num_samples / header.sample_rate
    frames = None if num_samples is None else header.frames_for(num_samples)
    return {
        "sample_rate": header.sample_rate,
        "channels": header.channels,
        "num_samples": num_samples,
        "seconds": seconds,
        "model_sample_rate": header.model_sample_rate,
        "hop_length": header.hop_length,
        "frame_rate": header.frame_rate,
        "num_frames": frames,
        "num_packets": _packets(header, frames),
        "gain_db": header.gain_db,
        "speaker": header.speaker,
        "global_code_bytes": None if header.global_code is None else len(header.global_code),
        "code_bitrate_bps": header.channels * sum(header.widths) * header.frame_rate,
        "bitrate_bps": 8 * num_bytes / seconds if num_bytes is not None and seconds else None,
    }


def _of_an_image(header: ImageHeader, num_bytes: int | None) -> dict[str, Any]:
    pixels = header.height * header.width
    return {
        "height": header.height,
        "width": header.width,
        "stride": header.stride,
        "grid_height": header.grid[0],
        "grid_width": header.grid[1],
        "num_frames": header.num_frames,
        "num_packets": _packets(header, header.num_frames),
        "code_bits_per_pixel": sum(header.widths) * header.num_frames / pixels,
        "bits_per_pixel": None if num_bytes is None else 8 * num_bytes / pixels,
    }


def _packets(header: Header, frames: int | None) -> int | None:
    return None if frames is None else -(-frames // header.frames_per_packet)
