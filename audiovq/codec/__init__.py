"""The codec: a model and the `.codes` container joined, from sound or images to bytes and back."""

from audiovq.codec.codec import Codec
from audiovq.codec.files import FileReport, decode_file, encode_file
from audiovq.codec.image.codec import EncodedImage, ImageCodec
from audiovq.codec.image.files import ImageReport, decode_image, encode_image
from audiovq.codec.open import open_codec
from audiovq.codec.source import EncodedAudio, FrameSource

__all__ = [
    "Codec",
    "EncodedAudio",
    "EncodedImage",
    "FileReport",
    "FrameSource",
    "ImageCodec",
    "ImageReport",
    "decode_file",
    "decode_image",
    "encode_file",
    "encode_image",
    "open_codec",
]
