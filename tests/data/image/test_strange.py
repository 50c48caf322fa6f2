"""Images, arrays and packs from others: of whatever form, the errors are ours."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from audiovq.data.image.files import read_image
from audiovq.data.image.open import open_images
from audiovq.data.image.pack import NamedImage, write_pack
from audiovq.data.image.sources import open_source
from audiovq.errors import AudioVQError

VALUES = (
    -1,
    0,
    1,
    3,
    2**40,
    0.5,
    "",
    "x",
    None,
    True,
    [],
    {},
    [0],
    ["a"],
    [3, 8],
    [3, 8, 8, 8],
    [[3, 8, 8]],
    [-3, 8, 8],
)


def only_ours(call: Callable[[], object], what: object) -> None:
    try:
        call()
    except AudioVQError:
        pass
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")


def read_all(path: Path) -> None:
    source = open_source(path)
    for number in range(min(3, len(source.names))):
        source.read(number)
    open_images(path)


def pack(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    images = [NamedImage(f"{i}.png", "ab"[i % 2], draw.integers(0, 256, (3, 8, 8), np.uint8), False) for i in range(4)]
    write_pack(folder, images, source="here")
    return folder


def test_every_value_of_a_pack_may_be_wrong(tmp_path):
    folder = pack(tmp_path / "p")
    meta = json.loads((folder / "meta.json").read_text())
    for key in meta:
        for value in (*VALUES, "removed"):
            wrong = copy.deepcopy(meta)
            wrong[key] = value
            if value == "removed":
                del wrong[key]
            (folder / "meta.json").write_text(json.dumps(wrong))
            only_ours(lambda: read_all(folder), (key, value))


@pytest.mark.parametrize("name", ["meta.json", "index.tsv", "images.npy"])
def test_every_file_of_a_pack_may_be_damaged_or_missing(tmp_path, name):
    folder = pack(tmp_path / "p")
    good = (folder / name).read_bytes()
    draw = random.Random(1)
    contents = [
        b"",
        b"\0" * 50,
        b"[" * 10**5,
        b"\xff" * 9,
        good + b"x",
        b"version https://git-lfs.github.com/spec/v1\n",
    ]
    for _ in range(150):
        data = bytearray(good)
        data[draw.randrange(min(160, len(data)))] = draw.randrange(256)
        contents.append(bytes(data[: draw.choice((len(data), draw.randrange(len(data))))]))
    for content in contents:
        (folder / name).write_bytes(content)
        only_ours(lambda: read_all(folder), content[:200])
    (folder / name).unlink()
    only_ours(lambda: read_all(folder), "missing")
    (folder / name).mkdir()
    only_ours(lambda: read_all(folder), "a folder")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_an_array_may_be_of_any_form_or_damaged(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    images = np.zeros((3, 8, 8, 3), np.uint8)
    arrays = [
        images,
        images[..., 0],
        images.astype(float),
        images[:0],
        np.zeros(0),
        np.array("x"),
        np.zeros((3, 0, 8, 3), "u1"),
    ]
    for array in arrays:
        for labels in (None, np.zeros(3), np.zeros(2, int), np.array(["a", "b", "c"]), np.zeros((3, 3), int)):
            if suffix == ".npy":
                np.save(path, array)
            else:
                np.savez_compressed(
                    path, **({"images": array} if labels is None else {"images": array, "labels": labels})
                )
            only_ours(lambda: read_all(path), (array.dtype, array.shape))
    np.save(path, images) if suffix == ".npy" else np.savez_compressed(path, images=images)
    good, draw = path.read_bytes(), random.Random(2)
    for _ in range(250):
        data = bytearray(good)
        for _ in range(draw.randint(0, 2)):
            data[draw.randrange(min(300, len(data)))] = draw.randrange(256)
        path.write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
        only_ours(lambda: read_all(path), bytes(data[:200]))
    objects = io.BytesIO()
    np.save(objects, np.array([{}], object), allow_pickle=True)
    path.write_bytes(objects.getvalue())
    only_ours(lambda: read_all(path), "objects")


def test_an_archive_may_be_any_zip_file(tmp_path):
    for name, content in (("images.npy", b""), ("images.npy", b"\x93NUMPY"), ("images", b"text"), ("../x.npy", b"")):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
            file.writestr(name, content)
        only_ours(lambda: read_all(tmp_path / "x.npz"), name)
    with zipfile.ZipFile(tmp_path / "x.npz", "w"):
        pass
    only_ours(lambda: read_all(tmp_path / "x.npz"), "nothing")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_image_may_be_damaged_anywhere(tmp_path, kind):
    memory = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)).save(memory, format=kind)
    good, draw = memory.getvalue(), random.Random(3)
    for _ in range(200):
        data = bytearray(good)
        for _ in range(draw.randint(0, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        (tmp_path / "x.png").write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
        only_ours(lambda: read_image(tmp_path / "x.png"), kind)


def test_places_that_are_no_images(tmp_path):
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "none", tmp_path / "empty", Path("/dev/null"), tmp_path / ("x" * 300), tmp_path / "x.npy"):
        only_ours(lambda place=place: read_all(place), place)
