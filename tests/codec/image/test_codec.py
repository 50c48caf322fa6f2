"""Images through a tiny codec: sizes kept, strips equal to the whole, files that are damaged or another model's."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiovq.bitstream import AudioHeader, CodesReader, read_codes, write_codes
from audiovq.codec import Codec, EncodedImage, FrameSource, ImageCodec, encode_image, open_codec
from audiovq.codec.image import codec as image_codec_module
from audiovq.codec.image import strips as strips_module
from audiovq.codec.image.files import reconstruct
from audiovq.data.image.output import write_png
from audiovq.errors import BadCodesError, BadDataError, BadModelError, ModelMismatchError, OutputError
from audiovq.image import ImageModelConfig, ImageVQVAE, build_image_model

CONFIG = {
    "kind": "image",
    "height": 16,
    "width": 16,
    "latent_dim": 6,
    "encoder": {"channels": 8, "residual_channels": 8},
    "latent": {"kind": "fsq", "levels": [8, 5, 5], "num_quantizers": 2},
    "decoder": {"kind": "conv", "channels": 8, "residual_channels": 8},
}


def make_codec(**changes: object) -> ImageCodec:
    """A tiny model with random weights, such that its codes change with the image and with context."""
    torch.manual_seed(0)
    model = build_image_model(ImageModelConfig.model_validate(CONFIG | changes))
    assert isinstance(model, ImageVQVAE)
    with torch.no_grad():
        model.encoder.out.weight.mul_(30)
        model.decoder.upsampler.convs[-1].weight.mul_(30)
    return ImageCodec(model, "tiny", bytes(range(32)))


@pytest.fixture(scope="module")
def codec() -> ImageCodec:
    return make_codec()


def image(height: int, width: int, seed: int = 0, channels: int = 3) -> np.ndarray:
    """Waves in noise, uint8 `[C, H, W]`."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(0.3 * (y + c) + 0.2 * (c + seed) * x) for c in range(channels)])
    return np.clip(128 + 90 * waves + 20 * rng.standard_normal(waves.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 12), (13, 18), (1, 1), (5, 40)])
def test_a_image_of_any_size_comes_back_in_its_size(codec, height, width):
    encoded = codec.encode(image(height, width))
    assert encoded.codes.shape == (2, -(-height // 4), -(-width // 4))
    assert encoded.header.codebook_sizes == (200, 200)
    decoded = codec.decode(encoded)
    assert (decoded.shape, decoded.dtype) == ((3, height, width), np.uint8)
    data = codec.compress(image(height, width))
    np.testing.assert_array_equal(codec.decompress(data), decoded)
    np.testing.assert_array_equal(read_codes(io.BytesIO(data))[1].reshape(encoded.codes.shape), encoded.codes)


def test_codes_and_pixels_are_the_models_own(codec):
    x = torch.from_numpy(image(16, 16)[None])
    encoded = codec.encode(x[0])
    np.testing.assert_array_equal(encoded.codes, codec.model.encode(x)[0].numpy())
    assert len(np.unique(encoded.codes)) > 5
    np.testing.assert_array_equal(codec.decode(encoded), codec.model.reconstruct(x)[0].numpy())


def test_missing_rows_and_columns_repeat_the_last(codec):
    small = image(14, 15)
    full = np.pad(small, ((0, 0), (0, 2), (0, 1)), mode="edge")
    np.testing.assert_array_equal(codec.encode(small).codes, codec.encode(full).codes)
    np.testing.assert_array_equal(codec.decode(codec.encode(small)), codec.decode(codec.encode(full))[:, :14, :15])


@pytest.mark.parametrize("at_once", [2, 0.5])
def test_many_images_are_encoded_in_batches_as_one_by_one(monkeypatch, codec, at_once):
    monkeypatch.setattr(image_codec_module, "STRIP_PIXELS", int(at_once * 14 * 15))
    images = np.stack([image(14, 15, seed) for seed in range(5)])
    done = []
    codes = codec.encode_many(images, lambda *state: done.append(state))
    assert (codes.shape, codes.dtype) == ((5, 2, 4, 4), np.uint8)
    assert (codes != np.stack([codec.encode(one).codes for one in images])).mean() < 0.02
    with pytest.raises(BadDataError, match=r"shape \[0, 3, 14, 15\]; give one or more"):
        codec.encode_many(images[:0])
    assert done == ([(2, 5), (4, 5), (5, 5)] if at_once == 2 else [(n, 5) for n in range(1, 6)])


@pytest.mark.parametrize("downsample", [0, 1, 2, 3])
@pytest.mark.parametrize("rows", [1, 3])
def test_strips_equal_the_whole(monkeypatch, downsample, rows):
    encoder = {"channels": 8, "residual_channels": 8, "downsample": downsample, "residual_blocks": 1}
    codec = make_codec(encoder=encoder, decoder=CONFIG["decoder"] | {"residual_blocks": 1})
    stride = 2**downsample
    pixels = image(17 * stride, 5 * stride)
    whole = codec.encode(pixels)
    decoded = codec.decode(whole).astype(int)
    monkeypatch.setattr(strips_module, "STRIP_PIXELS", rows * 5 * stride * stride)
    assert (codec.encode(pixels).codes != whole.codes).mean() < 0.01  # the last bits of floating point differ
    in_strips = codec.decode(whole).astype(int)
    assert np.abs(in_strips - decoded).max() <= 1
    assert (in_strips != decoded).mean() < 0.01


@pytest.mark.parametrize("which", ["encoder", "decoder"])
def test_strips_need_all_of_their_context(monkeypatch, codec, which):
    """The test above would see a context that is too short."""
    pixels = image(68, 20)
    whole = codec.encode(pixels)
    decoded = codec.decode(whole).astype(int)
    part = codec.model.encoder if which == "encoder" else codec.model.decoder.upsampler
    monkeypatch.setattr(type(part), "context", property(lambda self: 1))
    monkeypatch.setattr(strips_module, "STRIP_PIXELS", 20 * 4)
    if which == "encoder":
        assert (codec.encode(pixels).codes != whole.codes).mean() > 0.05
    else:
        assert (codec.decode(whole) != decoded).mean() > 0.05


def test_a_pixelcnn_decoder_draws_by_its_seed():
    decoder = {"kind": "pixelcnn", "channels": 8, "depth": 1, "kernel_size": 3, "condition_channels": 4}
    codec = make_codec(decoder=decoder)
    encoded = codec.encode(image(7, 5))
    first = codec.decode(encoded, seed=1)
    assert first.shape == (3, 7, 5)
    np.testing.assert_array_equal(codec.decode(encoded, seed=1), first)
    assert (codec.decode(encoded, seed=2) != first).any()


def test_a_grey_model_takes_one_channel(tmp_path):
    codec = make_codec(input={"kind": "pixels", "channels": 1})
    assert codec.decode(codec.encode(image(6, 6, channels=1))).shape == (1, 6, 6)
    with pytest.raises(BadDataError, match=r"shape \[3, 6, 6\]; tiny takes \[1, H, W\]"):
        codec.encode(image(6, 6))
    write_png(tmp_path / "a.png", image(6, 6))
    report = encode_image(codec, tmp_path / "a.png", tmp_path / "a.codes")
    assert (report.height, report.width) == (6, 6)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 8)), "float64; give uint8"),
        (np.zeros((8, 8, 3), np.uint8), r"shape \[8, 8, 3\]"),
        (np.zeros((3, 0, 8), np.uint8), r"shape \[3, 0, 8\]"),
        (np.zeros((1, 3, 8, 8), np.uint8), r"shape \[1, 3, 8, 8\]"),
    ],
)
def test_what_is_no_image_is_refused(codec, array, message):
    with pytest.raises(BadDataError, match=message):
        codec.encode(array)


def test_another_models_codes_are_refused_unless_allowed(codec):
    encoded = codec.encode(image(8, 8))
    other = ImageCodec(codec.model, "other", bytes(32))
    with pytest.raises(ModelMismatchError, match="made by model tiny 000102030405,"):
        other.decode(encoded)
    np.testing.assert_array_equal(other.decode(encoded, allow_mismatch=True), codec.decode(encoded))
    for changes in ({"encoder": CONFIG["encoder"] | {"downsample": 1}}, {"latent": {"kind": "fsq", "levels": [8, 5]}}):
        with pytest.raises(ModelMismatchError, match="stride, codebook sizes"):
            make_codec(**changes).decode(encoded, allow_mismatch=True)


def test_the_first_levels_of_a_residual_quantizer_can_be_decoded(codec):
    codes = codec.encode(image(8, 8)).codes
    first = EncodedImage(codec.header(8, 8, levels=1), codes[:1])
    assert codec.decode(first).shape == (3, 8, 8)
    with pytest.raises(BadCodesError, match=r"codes of shape \[2, 2, 2\]; the header says \[1, 2, 2\]"):
        codec.decode(replace(first, codes=codes))


def test_a_damaged_packet_costs_its_own_rows_if_concealed(codec, tmp_path):
    pixels = image(64, 160)  # a row of 40 places, 80 bytes; packets of two rows
    data = bytearray(codec.compress(pixels))
    whole = codec.decompress(bytes(data))
    with CodesReader(io.BytesIO(data)) as reader:
        assert reader.header.frames_per_packet == 80
        second = len(reader.header.to_bytes()) + 165
    data[second + 20] ^= 1
    path = tmp_path / "a.codes"
    path.write_bytes(data)
    with pytest.raises(BadCodesError, match=r"a\.codes: packet 1 of 8, rows 2 to 3, is damaged"):
        codec.decode(path)
    with pytest.warns(UserWarning, match=r"a\.codes: damaged in rows 2 to 3; grey stands there"):
        part = codec.decode(path, conceal=True)
    assert (part[:, 8:16] == 128).all()
    reach = 4 * codec.model.decoder.upsampler.context
    np.testing.assert_array_equal(part[:, 16 + reach :], whole[:, 16 + reach :])
    path.write_bytes(data[:-1])
    with pytest.raises(BadCodesError, match="truncated"):
        codec.decode(path, conceal=True)


def test_a_file_finds_a_bundled_model_by_the_name_of_its_folder(codec, tmp_path, monkeypatch):
    codec.model.save_pretrained(tmp_path / "m")
    loaded = ImageCodec.from_pretrained(tmp_path / "m", device="cpu")
    encoded = loaded.encode(image(8, 8))
    with pytest.raises(BadModelError, match="--model"):
        ImageCodec.for_header(encoded.header, device="cpu")
    monkeypatch.setattr("audiovq.modelfolder.bundled_models", lambda: {"m": tmp_path / "m"})
    again = ImageCodec.for_header(encoded.header, device="cpu")
    np.testing.assert_array_equal(again.decode(encoded), loaded.decode(encoded))
    assert isinstance(open_codec(tmp_path / "m", "cpu"), ImageCodec)
    with pytest.raises(BadModelError, match="--model"):
        ImageCodec.for_header(replace(encoded.header, model="nobody/nothing"))
    with pytest.raises(BadModelError, match="model of images"):
        Codec.from_pretrained(tmp_path / "m", "cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": {"kind": "gaussian"}}, "is a GaussianVAE, which has no codes"),
        ({"input": {"kind": "codes", "channels": 2, "values": 256}}, "models grids of codes"),
    ],
)
def test_models_that_code_no_images_are_refused(tmp_path, changes, message):
    build_image_model(ImageModelConfig.model_validate(CONFIG | changes)).save_pretrained(tmp_path / "m")
    with pytest.raises(BadModelError, match=message):
        ImageCodec.from_pretrained(tmp_path / "m", "cpu")


def test_sound_and_images_are_told_apart(codec, tmp_path):
    header = AudioHeader(model="tiny", fingerprint=bytes(6), sample_rate=8, channels=1, num_samples=0,
                         model_sample_rate=8, hop_length=1, frames_per_packet=1, codebook_sizes=(8,))  # fmt: skip
    write_codes(tmp_path / "a.codes", header, np.zeros((1, 1, 0), int))
    with pytest.raises(BadCodesError, match=r"a\.codes: holds the codes of sound.*`audiovq decode`"):
        codec.decode(tmp_path / "a.codes")
    data = codec.compress(image(4, 4))
    (tmp_path / "b.codes").write_bytes(data)
    with pytest.raises(BadCodesError, match=r"b\.codes: holds the codes of an image.*`audiovq image decode`"):
        FrameSource(tmp_path / "b.codes")


def test_files_are_whole_and_not_overwritten(codec, tmp_path):
    write_png(tmp_path / "a.png", image(9, 9))
    report = encode_image(codec, tmp_path / "a.png", tmp_path / "a.codes")
    data = (tmp_path / "a.codes").read_bytes()
    assert data == codec.compress(image(9, 9))
    assert report.bits_per_pixel == len(data) * 8 / 81
    with pytest.raises(OutputError, match="--force"):
        encode_image(codec, tmp_path / "a.png", tmp_path / "a.codes")
    pixels, num_bytes = reconstruct(codec, image(9, 9))
    np.testing.assert_array_equal(pixels, codec.decompress(data))
    assert num_bytes == len(data)


@pytest.mark.parametrize("size", [(3, 700), (37, 150), (64, 61)])
def test_strips_of_rows_and_columns_are_the_whole(size, monkeypatch):
    codec = make_codec()
    image = np.random.default_rng(0).integers(0, 256, (3, *size), np.uint8)
    whole = codec.encode(image)
    pixels = codec.decode(whole)
    monkeypatch.setattr("audiovq.codec.image.strips.STRIP_WIDTH", 40)
    monkeypatch.setattr("audiovq.codec.image.strips.STRIP_PIXELS", 800)
    np.testing.assert_array_equal(codec.encode(image).codes, whole.codes)
    assert np.abs(codec.decode(whole).astype(int) - pixels).max() <= 1
