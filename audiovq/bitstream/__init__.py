"""The `.codes` container: integer codes of a recording on disk or in a pipe, specified in docs/codes-format.md.

It knows integers and headers, no networks. `CodesWriter` and `CodesReader` work packet by packet, `write_codes` and
`read_codes` in one call.
"""

from audiovq.bitstream.describe import describe
from audiovq.bitstream.header import Coding, Header, Media
from audiovq.bitstream.reader import CodesReader, DamagedPacket, read_codes
from audiovq.bitstream.writer import CodesWriter, write_codes

__all__ = [
    "CodesReader",
    "CodesWriter",
    "Coding",
    "DamagedPacket",
    "Header",
    "Media",
    "describe",
    "read_codes",
    "write_codes",
]
