"""The `.codes` container: integer codes of a recording or an image, on disk or in a pipe (docs/codes-format.md).

It knows integers and headers, not networks. `CodesWriter` and `CodesReader` work packet by packet. `write_codes` and
`read_codes` take one call.
"""

from audiovq.bitstream.coder import Coding, PacketCoder
from audiovq.bitstream.describe import describe
from audiovq.bitstream.header import Header, Media
from audiovq.bitstream.media import (
    AudioHeader,
    ImageHeader,
    as_audio,
    as_image,
    packet_frames,
    parse_header,
    second_of_frames,
)
from audiovq.bitstream.reader import CodesReader, DamagedPacket, read_codes
from audiovq.bitstream.writer import CodesWriter, write_codes

__all__ = [
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
    "describe",
    "packet_frames",
    "parse_header",
    "read_codes",
    "second_of_frames",
    "write_codes",
]
