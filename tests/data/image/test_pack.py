"""Packs of images: what comes back, how images are made smaller, and what is never written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from audiovq.data.image.open import duplicates, open_images, pack_images
from audiovq.data.image.pack import ImagePack, NamedImage, write_pack
from audiovq.data.image.resize import resize
from audiovq.errors import BadDataError, OutputError


def image(name: str, label: str | None = None, seed: int = 0, side: int = 4, lossy: bool = False) -> NamedImage:
    data = np.random.default_rng(seed).integers(0, 256, (3, side, side), dtype=np.uint8)
    return NamedImage(name, label, data, lossy)


def test_pack_gives_back_what_was_written(tmp_path):
    made = [image(f"{n}.png", "cat" if n % 3 else "dog", n, lossy=n == 7) for n in range(12)]
    write_pack(tmp_path / "out", iter(made), source="here")
    opened = open_images(tmp_path / "out")
    assert np.array_equal(opened.images, np.stack([p.pixels for p in made]))
    assert isinstance(opened.images.base, np.memmap)
    assert opened.names == [p.name for p in made]
    assert opened.labels == [p.label for p in made]
    assert (opened.classes, opened.lossy, opened.source, len(opened)) == (["cat", "dog"], True, "here", 12)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert np.load(tmp_path / "out" / "images.npy").shape == (12, 3, 4, 4)  # a plain array to everyone else
    assert json.loads((tmp_path / "out" / "meta.json").read_text())["count"] == 12


def test_pack_without_classes(tmp_path):
    pack = write_pack(tmp_path / "out", [image("a"), image("b")], source="x")
    assert (pack.labels, pack.classes, pack.lossy) == (None, [], False)


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        ([], "no image is left to pack"),
        ([image("a"), image("b", side=5)], r"b: is 5 x 5 x 3, those before are 4 x 4 x 3; .*--size"),
        ([image("a"), image("a", seed=1)], "a: two images have this name"),
        ([image("a", "cat"), image("b")], "1 of 2 have no class"),
        ([image("a\tb")], "tab or a line break"),
    ],
)
def test_bad_images_leave_nothing(tmp_path, images, complaint):
    with pytest.raises(BadDataError, match=complaint):
        write_pack(tmp_path / "out", images, source="x")
    assert list(tmp_path.iterdir()) == []


def test_only_packs_are_replaced_and_only_when_asked(tmp_path):
    out = tmp_path / "out"
    write_pack(out, [image("a")], source="x")
    with pytest.raises(OutputError, match="use --force"):
        write_pack(out, [image("b")], source="x")
    assert ImagePack.open(out).names == ["a"]
    with pytest.raises(BadDataError):
        write_pack(out, [], source="x", force=True)
    assert ImagePack.open(out).names == ["a"]
    assert write_pack(out, [image("b")], source="x", force=True).names == ["b"]
    (out / "holiday.txt").write_text("keep me")
    with pytest.raises(OutputError, match="no image pack"):
        write_pack(out, [image("c")], source="x", force=True)


def test_damaged_packs_are_refused(tmp_path):
    write_pack(tmp_path / "a", [image("a"), image("b", seed=1)], source="x")
    with pytest.raises(BadDataError, match="no image pack"):
        ImagePack.open(tmp_path)
    index = tmp_path / "a" / "index.tsv"
    whole = index.read_text()
    index.write_text(whole.splitlines()[0] + "\n")
    with pytest.raises(BadDataError, match=r"images\.npy holds uint8 \(2, 3, 4, 4\)"):
        ImagePack.open(tmp_path / "a")
    index.write_text(whole)
    array = tmp_path / "a" / "images.npy"
    array.write_bytes(array.read_bytes()[:-1])
    with pytest.raises(BadDataError, match="the pack is damaged"):
        ImagePack.open(tmp_path / "a")
    meta = tmp_path / "a" / "meta.json"
    meta.write_text(meta.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(BadDataError, match="of version 2, this audiovq reads 1"):
        ImagePack.open(tmp_path / "a")


def test_box_is_the_mean_of_blocks_of_the_centre():
    data = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    square = data[0:8, 2:10]  # 8 = 2 x 4; (9 - 8) // 2 = 0 rows and (13 - 8) // 2 = 2 columns cut off before
    means = square.reshape(4, 2, 4, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    made = resize(Image.fromarray(data), 4, "box")
    assert np.abs(made.astype(float) - means).max() <= 0.5


@pytest.mark.parametrize("how", ["box", "bicubic"])
def test_resize_keeps_what_fits_and_flat_areas(how):
    data = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    assert np.array_equal(resize(Image.fromarray(data), 6, how), data.transpose(2, 0, 1))
    assert np.array_equal(resize(Image.fromarray(np.full((20, 13, 3), 77, np.uint8)), 4, how), np.full((3, 4, 4), 77))
    assert resize(Image.fromarray(data), 7, how) is None


def test_bicubic_does_not_alias():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    assert np.abs(resize(Image.fromarray(stripes), 16).astype(int) - 100).max() < 12


def test_packing_leaves_small_ones_out_and_is_the_same_in_threads(tmp_path):
    source = tmp_path / "in"
    for n in range(40):
        side = 6 if n in (3, 20) else 8 + n % 5
        (source / f"c{n % 2}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image("", seed=n, side=side).pixels.transpose(1, 2, 0)).save(source / f"c{n % 2}" / f"{n}.png")
    one, small = pack_images(source, tmp_path / "one", size=8)
    assert small == ["c0/20.png", "c1/3.png"]
    assert (len(one), one.shape, one.classes) == (38, (3, 8, 8), ["c0", "c1"])
    four, _ = pack_images(source, tmp_path / "four", size=8, nj=4)
    assert four.names == one.names
    assert np.array_equal(four.images, one.images)
    limited, _ = pack_images(source, tmp_path / "some", size=8, limit=10)
    assert len(limited.classes) == 2
    assert "8 x 8 by bicubic" in limited.source
    rest, _ = pack_images(source, tmp_path / "rest", size=8, limit=10, exclude=True)
    assert not set(rest.names) & set(limited.names)
    assert sorted(rest.names + limited.names) == one.names


def test_packs_can_be_packed_smaller(tmp_path):
    large = write_pack(tmp_path / "large", [image("a", "x", side=8, lossy=True), image("b", "y", 1, 8)], source="x")
    small, _ = pack_images(tmp_path / "large", tmp_path / "small", size=4, how="box", allow_lossy=True)
    means = large.images.reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5))
    assert np.abs(small.images - means).max() <= 0.5
    assert (small.names, small.labels, small.lossy) == (["a", "b"], ["x", "y"], True)


def test_lossy_files_need_permission(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(image("").pixels.transpose(1, 2, 0)).save(tmp_path / "in" / "a.jpg")
    with pytest.raises(BadDataError, match=r"a\.jpg is in a lossy format, .*--allow-lossy"):
        pack_images(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert pack_images(tmp_path / "in", tmp_path / "out", allow_lossy=True)[0].lossy


def test_duplicates_are_found_across_packs(tmp_path):
    test = write_pack(tmp_path / "test", [image("t0", seed=1), image("t1", seed=2)], source="x")
    train = write_pack(tmp_path / "train", [image("a", seed=2), image("b", seed=3), image("c", seed=2)], source="x")
    assert duplicates(train, test) == [("a", "t1"), ("c", "t1")]
    larger = write_pack(tmp_path / "larger", [image("a", side=5)], source="x")
    with pytest.raises(BadDataError, match="can't be the same"):
        duplicates(train, larger)


def test_pixels_that_rot_are_refused_where_they_are_read(tmp_path):
    """A flipped bit on disk would otherwise be trained on."""
    folder = tmp_path / "a"
    write_pack(folder, [image(name, seed=seed) for seed, name in enumerate("abcd")], source="x")
    content = bytearray((folder / "images.npy").read_bytes())
    content[-5] ^= 1  # in the last image
    (folder / "images.npy").write_bytes(content)
    for read in (
        lambda images: images[3],
        lambda images: images[-1],
        lambda images: images[2:],
        lambda images: images[[0, 3]],
        lambda images: images[:, :1],
        lambda images: list(images),
        lambda images: images[...],
    ):
        with pytest.raises(BadDataError, match=r"images\.npy: the pixels of image d are damaged .*pack it again"):
            read(ImagePack.open(folder).images)
    images = ImagePack.open(folder).images
    assert np.array_equal(images[:3], np.stack([image(name, seed=seed).pixels for seed, name in enumerate("abc")]))
    assert type(images[0]) is np.ndarray or isinstance(images[0], np.memmap)
    with pytest.raises(BadDataError, match="image d"):
        list(ImagePack.open(folder).named_images())
