"""The `.codes` container: integer codes of a recording or an image, on disk or in a pipe (docs/codes-format.md).

It knows integers and headers, not networks. `CodesWriter` and `CodesReader` work packet by packet. `write_codes` and
`read_codes` take one call.
"""

from audiovq.bitstream.coder import Coding, PacketCoder
from audiovq.bitstream.describe import describe
from audiovq.bitstream.header import FINGERPRINT_BYTES, Header, Media
from audiovq.bitstream.media import (
    MAX_PACKET_SECONDS,
    PACKET_SECONDS,
    AudioHeader,
    ImageHeader,
    as_audio,
    as_image,
    audio_packet_frames,
    image_packet_frames,
    parse_header,
)
from audiovq.bitstream.reader import CodesReader, DamagedPacket, read_codes
from audiovq.bitstream.writer import CodesWriter, write_codes

__all__ = [
    "FINGERPRINT_BYTES",
    "MAX_PACKET_SECONDS",
    "PACKET_SECONDS",
    "AudioHeader",
    "CodesReader",
    "CodesWriter",
    "Coding",
    "DamagedPacket",
    "Header",
    "ImageHeader",
    "Media",
    "PacketCoder",
    "as_audio",
    "as_image",
    "audio_packet_frames",
    "describe",
    "image_packet_frames",
    "parse_header",
    "read_codes",
    "write_codes",
]
