"""The codec: a model and the `.codes` container joined, from sound to bytes and back. Stands above both of them."""

from audiovq.codec.codec import Codec
from audiovq.codec.files import FileReport, decode_file, encode_file
from audiovq.codec.source import EncodedAudio, FrameSource

__all__ = ["Codec", "EncodedAudio", "FileReport", "FrameSource", "decode_file", "encode_file"]
