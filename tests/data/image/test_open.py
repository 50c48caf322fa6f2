"""Images from files, arrays and CIFAR-10's own: what is read, in which order, of which class, and what is refused."""

from __future__ import annotations

import hashlib
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audiovq.data.image.files import open_rgb, read_image
from audiovq.data.image.open import open_images
from audiovq.errors import BadDataError


def pixels(seed: int, height: int = 8, width: int = 8) -> np.ndarray:
    """uint8 `[H, W, 3]`."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(path: Path, array: np.ndarray, **options: object) -> np.ndarray:
    """The image as written, uint8 `[C, H, W]`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return np.moveaxis(array, -1, 0)


@pytest.mark.parametrize(
    ("name", "options", "lossy"),
    [
        ("a.png", {}, False),
        ("a.jpg", {"quality": 95}, True),
        ("a.webp", {"lossless": True}, False),
        ("a.webp", {"quality": 90}, True),
        ("a.webp", {"lossless": True, "exif": b"Exif\0\0II*\0\0\0\0\0"}, False),  # has chunks before the pixels
        ("a.webp", {"quality": 90, "exif": b"Exif\0\0II*\0\0\0\0\0"}, True),
    ],
)
def test_lossy_is_told_from_the_format(tmp_path, name, options, lossy):
    written = save(tmp_path / name, pixels(0), **options)
    assert open_rgb(tmp_path / name)[1] is lossy
    assert np.array_equal(read_image(tmp_path / name), written) is not lossy
    assert open_images(tmp_path).lossy is lossy


def test_jpeg_named_png_is_lossy(tmp_path):
    Image.fromarray(pixels(0)).save(tmp_path / "a.png", format="JPEG")
    assert open_images(tmp_path).lossy


def test_every_mode_becomes_rgb(tmp_path):
    grey = pixels(0)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.stack([grey] * 3))
    Image.fromarray(pixels(1)).convert("P").save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png").shape == (3, 8, 8)
    opaque = np.concatenate([pixels(2), np.full((8, 8, 1), 9, np.uint8)], axis=-1)
    Image.fromarray(opaque).save(tmp_path / "alpha.png")
    assert np.array_equal(read_image(tmp_path / "alpha.png"), np.moveaxis(pixels(2), -1, 0))
    Image.fromarray(pixels(3)).convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert read_image(tmp_path / "cmyk.jpg").shape == (3, 8, 8)


def test_damaged_files_are_named_with_a_mend(tmp_path):
    save(tmp_path / "a.jpg", pixels(0, 64, 64))
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadDataError, match=r"cut\.jpg: can't be decoded .*; fetch it again or remove it"):
        read_image(tmp_path / "cut.jpg")
    save(tmp_path / "a.png", pixels(0, 64, 64))
    whole = bytearray((tmp_path / "a.png").read_bytes())
    whole[60] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(whole)
    with pytest.raises(BadDataError, match=r"flipped\.png: can't be decoded"):
        read_image(tmp_path / "flipped.png")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(BadDataError, match=r"text\.png: is no PNG, JPEG or WebP image"):
        read_image(tmp_path / "text.png")
    Image.fromarray(np.zeros((4, 4), np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(BadDataError, match=r"deep\.png: has pixels of more than 8 bits"):
        read_image(tmp_path / "deep.png")
    with pytest.raises(BadDataError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")


def test_tree_has_classes_in_a_fixed_order(tmp_path):
    written = {
        name: save(tmp_path / name, pixels(seed))
        for seed, name in enumerate(["b/1.png", "a/images/2.png", "b/0.PNG", "a/images/10.png"])
    }
    (tmp_path / "a" / "boxes.txt").write_text("not an image")
    save(tmp_path / "b" / "._1.png", pixels(9))
    save(tmp_path / ".cache" / "1.png", pixels(9))
    opened = open_images(tmp_path)
    assert opened.names == ["a/images/10.png", "a/images/2.png", "b/0.PNG", "b/1.png"]
    assert opened.labels == ["a", "a", "b", "b"]
    assert opened.classes == ["a", "b"]
    assert opened.shape == (3, 8, 8)
    assert np.array_equal(opened.images, np.stack([written[name] for name in opened.names]))
    assert open_images(tmp_path, limit=2).names == ["a/images/10.png", "b/0.PNG"]


def test_flat_folder_takes_its_classes_from_a_file(tmp_path):
    for seed, name in enumerate(["val_0.png", "val_1.png"]):
        save(tmp_path / "images" / name, pixels(seed))
    assert open_images(tmp_path).labels is None  # one sub-folder tells no classes apart
    labels = tmp_path / "annotations.txt"
    labels.write_text("val_1.png\tn02\t0\t32\nval_0.png\tn01\t5\t6\n\n")
    assert open_images(tmp_path, labels=labels).labels == ["n01", "n02"]
    labels.write_text("val_0.png  n01  5\nimages/val_1.png n02\n")
    assert open_images(tmp_path, labels=labels).labels == ["n01", "n02"]
    labels.write_text("val_0.png\tn01\n")
    with pytest.raises(BadDataError, match=r"lack 1 of 2 images, images/val_1\.png first"):
        open_images(tmp_path, labels=labels)
    labels.write_text("val_0.png\n")
    with pytest.raises(
        BadDataError, match=r"annotations\.txt:1: malformed line 'val_0\.png'; write <file name> <class>"
    ):
        open_images(tmp_path, labels=labels)


def test_folders_that_make_no_sense(tmp_path):
    with pytest.raises(BadDataError, match="nowhere: no such folder"):
        open_images(tmp_path / "nowhere")
    with pytest.raises(BadDataError, match=r"holds no \.jpeg"):
        open_images(tmp_path)
    save(tmp_path / "a" / "0.png", pixels(0))
    save(tmp_path / "1.png", pixels(1))
    with pytest.raises(BadDataError, match=r"1\.png: lies beside folders of images"):
        open_images(tmp_path)
    save(tmp_path / "b" / "2.png", pixels(2, 8, 10))
    (tmp_path / "1.png").unlink()
    with pytest.raises(BadDataError, match=r"b/2\.png and a/0\.png differ in size"):
        open_images(tmp_path)
    assert open_images(tmp_path, size=8).images.shape == (2, 3, 8, 8)
    with pytest.raises(BadDataError, match="has a side below 9 pixels"):
        open_images(tmp_path, size=9)


@pytest.mark.parametrize("form", ["NHWC", "NCHW", "npz"])
def test_arrays_in_any_order_of_axes(tmp_path, form):
    last = np.stack([pixels(seed, 6, 8) for seed in range(3)])
    first = last.transpose(0, 3, 1, 2)
    path = tmp_path / ("x.npz" if form == "npz" else "x.npy")
    if form == "npz":
        np.savez(path, images=last, labels=np.array([2, 0, 1]))
    else:
        np.save(path, last if form == "NHWC" else first)
    opened = open_images(path)
    assert np.array_equal(opened.images, first)
    assert opened.labels == (["2", "0", "1"] if form == "npz" else None)
    assert not opened.lossy
    assert open_images(path, size=6).images.shape == (3, 3, 6, 6)


def test_grey_array_has_three_equal_channels(tmp_path):
    grey = np.stack([pixels(0)[..., :1], pixels(1)[..., :1]])
    np.save(tmp_path / "grey.npy", grey)
    opened = open_images(tmp_path / "grey.npy").images
    assert opened.shape == (2, 3, 8, 8)
    assert all(np.array_equal(opened[:, c], grey[..., 0]) for c in range(3))


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), "holds float32; save the images as uint8"),
        (np.zeros((2, 8, 8), np.uint8), "holds 3 axes"),
        (np.zeros((2, 3, 8, 3), np.uint8), "no one axis"),
        (np.zeros((2, 4, 8, 4), np.uint8), "no one axis"),
        (np.array([object()]), "can't be read as arrays"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, complaint):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(BadDataError, match=rf"x\.npy: .*{complaint}"):
        open_images(tmp_path / "x.npy")


def test_npz_with_unclear_names_or_labels(tmp_path):
    images = np.zeros((2, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "x.npz", train=images, test=images)
    with pytest.raises(BadDataError, match="name the images `images`"):
        open_images(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", train=images, labels=np.zeros(3, int))
    with pytest.raises(BadDataError, match="one number or text an image"):
        open_images(tmp_path / "x.npz")


def test_official_cifar10_through_a_stand_in_for_torchvision(tmp_path, monkeypatch):
    data = np.stack([pixels(seed, 32, 32) for seed in range(2)])

    class CIFAR10:
        classes = ("airplane", "automobile")

        def __init__(self, root: str, train: bool, download: bool):
            assert Path(root) == tmp_path
            assert not download
            if not train:
                raise RuntimeError("Dataset not found or corrupted.")
            self.data, self.targets = data, [1, 0]

    datasets = types.SimpleNamespace(CIFAR10=CIFAR10)
    monkeypatch.setitem(sys.modules, "torchvision", types.SimpleNamespace(datasets=datasets))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", datasets)
    batches = tmp_path / "cifar-10-batches-py"
    batches.mkdir()
    for path in (tmp_path, batches):
        opened = open_images(path)
        assert np.array_equal(opened.images, data.transpose(0, 3, 1, 2))
        assert (opened.labels, opened.lossy) == (["automobile", "airplane"], False)
    with pytest.raises(BadDataError, match=r"missing, cut or changed \(by MD5\); unpack cifar-10-python\.tar\.gz"):
        open_images(tmp_path, split="test")


def test_official_cifar10_through_torchvision(tmp_path, monkeypatch):
    cifar = pytest.importorskip("torchvision.datasets").CIFAR10
    data = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    batches = tmp_path / cifar.base_folder
    batches.mkdir()
    sums = {}
    for name, content in {
        "data_batch_1": {"data": data, "labels": [3, 0, 9, 1]},
        "batches.meta": {"label_names": [f"class{n}" for n in range(10)]},
    }.items():
        (batches / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((batches / name).read_bytes()).hexdigest()
    monkeypatch.setattr(cifar, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(cifar, "test_list", [])
    monkeypatch.setattr(cifar, "meta", cifar.meta | {"md5": sums["batches.meta"]})
    opened = open_images(tmp_path)
    assert np.array_equal(opened.images, data.reshape(4, 3, 32, 32))
    assert opened.labels == ["class3", "class0", "class9", "class1"]
    with (batches / "data_batch_1").open("ab") as file:
        file.write(b".")
    with pytest.raises(BadDataError, match="missing, cut or changed"):
        open_images(tmp_path)


def test_official_cifar10_without_torchvision(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(BadDataError, match=r"pip install 'audiovq\[image\]'"):
        open_images(tmp_path, "cifar10")
