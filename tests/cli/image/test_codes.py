"""`audiovq image encode|decode|reconstruct|report` on files, folders and packs: what they write, say and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from audiovq.bitstream import read_codes
from audiovq.data.image.files import read_image
from audiovq.data.image.open import NamedImage, write_pack
from audiovq.data.image.output import write_png
from audiovq.image import ImageModelConfig, build_image_model
from audiovq.prior import CodeSpec
from audiovq.prior.collection import read_collection

CONFIG = {
    "kind": "image",
    "height": 16,
    "width": 16,
    "latent_dim": 6,
    "encoder": {"channels": 8, "residual_channels": 8},
    "latent": {"kind": "fsq", "levels": [8, 5, 5], "num_quantizers": 2},
    "decoder": {"kind": "conv", "channels": 8, "residual_channels": 8},
}


def save(folder: Path, seed: int) -> str:
    torch.manual_seed(seed)
    model = build_image_model(ImageModelConfig.model_validate(CONFIG))
    with torch.no_grad():
        model.encoder.out.weight.mul_(30)
    model.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, bundled: dict[str, Path]) -> str:
    """Folder of a model of 16 x 16 images: 4 x 4 x 2 codes of 8 bits."""
    bundled["images"] = tmp_path_factory.mktemp("models") / "images"
    return save(bundled["images"], 0)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save(tmp_path_factory.mktemp("models") / "others", 1)


def pixels(height: int = 16, width: int = 16, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(0.3 * (y + c) + 0.2 * (c + seed) * x) for c in range(3)])
    return np.clip(128 + 90 * waves + 20 * rng.standard_normal(waves.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """cat/a.png, cat/b.jpg, dog/c.webp; 16 x 16, 20 x 13 and 8 x 8."""
    for i, (name, size) in enumerate({"cat/a.png": (16, 16), "cat/b.jpg": (20, 13), "dog/c.webp": (8, 8)}.items()):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(*size, seed=i).transpose(1, 2, 0)).save(path)
    return tmp_path / "in"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Five images of two classes."""
    names = ["cat/0.png", "cat/1.png", "dog/2.png", "dog/3.png", "dog/4.png"]
    write_pack(
        tmp_path / "pack",
        [NamedImage(name, name[:3], pixels(seed=i), lossy=False) for i, name in enumerate(names)],
        source="drawn",
    )
    return tmp_path / "pack"


def test_there_and_back(run, model, tmp_path):
    write_png(tmp_path / "in.png", pixels(13, 18))
    done = run("image", "encode", tmp_path / "in.png", tmp_path / "a.codes", "--model", model)
    assert done.exit_code == 0, done.stderr
    size = (tmp_path / "a.codes").stat().st_size
    line = f"in.png -> {tmp_path / 'a.codes'}: 18 x 13 pixels, {size} bytes, {8 * size / 234:.3f} bits/pixel, "
    assert line in done.stderr
    assert (done.stderr.count("\n"), done.stdout) == (1, "")
    decoded = run("image", "decode", tmp_path / "a.codes", tmp_path / "b.png", "-q")  # finds the model by itself
    assert (decoded.exit_code, decoded.stdout, decoded.stderr) == (0, "", "")
    assert read_image(tmp_path / "b.png").shape == (3, 13, 18)
    assert run("image", "reconstruct", tmp_path / "in.png", tmp_path / "c.png", "--model", model).exit_code == 0
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), read_image(tmp_path / "c.png"))


def test_inspect_and_verify_read_in_channelss(run, model, tmp_path):
    write_png(tmp_path / "in.png", pixels(13, 18))
    run("image", "encode", tmp_path / "in.png", tmp_path / "a.codes", "--model", model)
    facts = json.loads(run("inspect", tmp_path / "a.codes", "--json").stdout)
    size = (tmp_path / "a.codes").stat().st_size
    assert (facts["media"], facts["height"], facts["width"], facts["stride"]) == ("image", 13, 18, 4)
    assert (facts["grid_height"], facts["grid_width"], facts["model"]) == (4, 5, "images")
    assert facts["bits_per_pixel"] == 8 * size / 234
    assert run("verify", tmp_path / "a.codes").stdout == f"{tmp_path / 'a.codes'}: ok, 13 x 18 pixels\n"
    data = bytearray((tmp_path / "a.codes").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a.codes").write_bytes(data)
    damaged = run("verify", tmp_path / "a.codes")
    assert (damaged.exit_code, "packet 0, rows 0 to 3" in damaged.stderr) == (1, True)
    refused = run("image", "decode", tmp_path / "a.codes", tmp_path / "b.png")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "b.png").exists()
    concealed = run("image", "decode", tmp_path / "a.codes", tmp_path / "b.png", "--conceal")
    assert concealed.exit_code == 0
    assert f"warning: {tmp_path / 'a.codes'}: damaged in rows 0 to 3; grey" in concealed.stderr
    assert (read_image(tmp_path / "b.png") == 128).all()


def test_inspect_and_models_tell_what_an_image_model_is(run, model, monkeypatch):
    facts = json.loads(run("inspect", model, "--json").stdout)
    assert (facts["kind"], facts["height"], facts["width"], facts["stride"]) == ("image", 16, 16, 4)
    assert (facts["codes_shape"], facts["codebook_sizes"]) == ([2, 4, 4], [200, 200])
    assert facts["code_bits_per_pixel"] == 4 * 4 * 16 / 256
    monkeypatch.setattr("audiovq.modelfolder.bundled_models", lambda: {model: Path(model)})
    assert run("models").stdout.startswith(f"{model}: images of 16 x 16, 4 x 4 x 2 codes (1 bits/pixel), ")


def test_sound_and_images_are_told_apart(run, model, tmp_path):
    write_png(tmp_path / "in.png", pixels())
    run("image", "encode", tmp_path / "in.png", tmp_path / "a.codes", "--model", model)
    done = run("decode", tmp_path / "a.codes", tmp_path / "out.wav")
    assert done.exit_code == 1
    assert "a.codes: holds the codes of an image, not of sound; use `audiovq image decode`" in done.stderr
    assert done.stderr.count("\n") == 1
    done = run("encode", tmp_path / "in.png", tmp_path / "b.codes", "--model", model)
    assert (done.exit_code, "is a model of images" in done.stderr) == (1, True)
    done = run("image", "encode", tmp_path / "in.png", tmp_path / "b.codes", "--model", "speech-16k")
    assert (done.exit_code, "not a model of images" in done.stderr) == (1, True)


def test_a_tree_is_mirrored_and_goes_on_after_a_bad_file(run, model, tree, tmp_path):
    (tree / "cat" / "bad.png").write_bytes(b"\x89PNG not really")
    done = run("image", "encode", tree, tmp_path / "codes", "--model", model)
    assert done.exit_code == 1
    assert "bad.png: " in done.stderr
    assert "1 of 4 files failed" in done.stderr
    names = [str(p.relative_to(tmp_path / "codes")) for p in sorted((tmp_path / "codes").rglob("*.codes"))]
    assert names == ["cat/a.codes", "cat/b.codes", "dog/c.codes"]
    done = run("image", "decode", tmp_path / "codes", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert read_image(tmp_path / "out" / "cat" / "b.png").shape == (3, 20, 13)
    found = read_collection([str(tmp_path / "codes")])
    assert found.spec.layout == "grid"
    assert [(item.name, item.codes.shape) for item in found.items] == [
        ("cat/a", (2, 4, 4)), ("cat/b", (2, 5, 4)), ("dog/c", (2, 2, 2))]  # fmt: skip


def test_a_pack_becomes_an_array_that_a_prior_is_fitted_on(run, model, pack, tmp_path):
    out = tmp_path / "train.npy"
    done = run("image", "encode", pack, out, "--model", model)
    assert done.exit_code == 0, done.stderr
    assert f"{out}: uint8 [5, 2, 4, 4]" in done.stderr
    codes = np.load(out)
    write_png(tmp_path / "one.png", pixels(seed=3))
    run("image", "encode", tmp_path / "one.png", tmp_path / "one.codes", "--model", model)
    np.testing.assert_array_equal(codes[3], read_codes(tmp_path / "one.codes")[1].reshape(2, 4, 4))
    labels = tmp_path / "train.labels.txt"
    assert labels.read_text().splitlines() == [f"train#{i} {c}" for i, c in enumerate(["cat"] * 2 + ["dog"] * 3)]
    spec = CodeSpec(codebook_sizes=[200, 200], layout="grid")
    assert [item.name for item in read_collection([str(out)], spec=spec).items] == [f"train#{i}" for i in range(5)]

    small = ["-o", "train.max_steps=2", "-o", "prior.channels=8", "-o", "prior.depth=1", "-o", "prior.kernel_size=3"]
    by_class = ["--by-label", "--labels", labels]
    fit = ["prior", "fit", out, "--kind", "pixelcnn", "--out", tmp_path / "prior", "--codec", model, "--device", "cpu"]
    fitted = run(*fit, *by_class, *small)
    assert fitted.exit_code == 0, fitted.stderr
    facts = json.loads((tmp_path / "prior" / "config.json").read_text())["codes"]
    assert (facts["layout"], facts["labels"], facts["model"]) == ("grid", ["cat", "dog"], "images")

    drawn = run("prior", "sample", tmp_path / "prior", "--decode", tmp_path / "dogs.png", "--label", "dog", "--num", 4,
                "--codes", tmp_path / "d.npy")  # fmt: skip
    assert drawn.exit_code == 0, drawn.stderr
    assert read_image(tmp_path / "dogs.png").shape == (3, 34, 34)  # four of 16 x 16, two pixels between
    assert sorted(p.name for p in tmp_path.glob("d-*.npy")) == [f"d-00{i}.npy" for i in range(4)]
    (again,) = read_collection([str(tmp_path / "d-002.npy")], spec=spec).items
    assert again.codes.shape == (2, 4, 4)
    single = run("prior", "sample", tmp_path / "prior", "--decode", tmp_path / "dog.png", "--label", "dog",
                 "--codes", tmp_path / "dog.codes")  # fmt: skip
    assert single.exit_code == 0, single.stderr
    np.testing.assert_array_equal(read_image(tmp_path / "dog.png"), read_image(tmp_path / "dogs.png")[:, :16, :16])
    assert run("image", "decode", tmp_path / "dog.codes", tmp_path / "again.png").exit_code == 0
    np.testing.assert_array_equal(read_image(tmp_path / "dog.png"), read_image(tmp_path / "again.png"))
    wide = run("prior", "sample", tmp_path / "prior", "--decode", tmp_path / "w.png", "--label", "cat", "--size", "2x6")
    assert wide.exit_code == 0, wide.stderr
    assert read_image(tmp_path / "w.png").shape == (3, 8, 24)


def test_sampling_says_what_it_misses(run, model, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 2, 4, 4), np.uint8))
    done = run("prior", "fit", tmp_path / "x.npy", "--kind", "unigram", "--out", tmp_path / "p", "--layout", "grid",
               "--codebook-sizes", "200,200")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    done = run("prior", "sample", tmp_path / "p", "--codes", tmp_path / "y.npy")
    assert (done.exit_code, "give --size HxW" in done.stderr) == (2, True)
    done = run("prior", "sample", tmp_path / "p", "--codes", tmp_path / "y.npy", "--size", "4")
    assert (done.exit_code, "--size 4: give HxW" in done.stderr) == (2, True)
    done = run("prior", "sample", tmp_path / "p", "--decode", tmp_path / "y.png")
    assert (done.exit_code, "--codec" in done.stderr) == (1, True)
    done = run("prior", "sample", tmp_path / "p", "--decode", tmp_path / "y.wav", "--codec", model)
    assert (done.exit_code, "name it .png" in done.stderr) == (1, True)
    done = run("prior", "sample", tmp_path / "p", "--decode", tmp_path / "y.png", "--codec", "speech-16k")
    assert (done.exit_code, "speech-16k" in done.stderr) == (1, True)
    assert not list(tmp_path.glob("y*"))


def test_an_array_is_refused_where_it_does_not_fit(run, model, pack, tree, tmp_path):
    done = run("image", "encode", pack, tmp_path / "codes", "--model", model)
    assert (done.exit_code, "name OUT.npy" in done.stderr) == (2, True)
    done = run("image", "encode", tree, tmp_path / "x.npy", "--model", model)
    assert (done.exit_code, "differ in size" in done.stderr) == (1, True)
    assert run("image", "encode", pack, tmp_path / "x.npy", "--model", model).exit_code == 0
    (tmp_path / "x.npy").unlink()
    done = run("image", "encode", pack, tmp_path / "x.npy", "--model", model)
    assert (done.exit_code, "x.labels.txt: exists already" in done.stderr) == (1, True)
    assert not (tmp_path / "x.npy").exists()
    np.save(tmp_path / "plain.npy", np.stack([pixels(), pixels()]))
    assert run("image", "encode", tmp_path / "plain.npy", tmp_path / "x.npy", "--model", model, "-f").exit_code == 0
    assert not (tmp_path / "x.labels.txt").exists()  # it told classes of other images
    done = run("image", "encode", pack, tmp_path / "with space.npy", "--model", model)
    assert (done.exit_code, "without spaces" in done.stderr) == (1, True)


def test_reconstruct_writes_a_tree_and_a_sheet(run, model, tree, pack, tmp_path):
    done = run("image", "reconstruct", tree, tmp_path / "out", "--grid", tmp_path / "sheet.png", "--model", model)
    assert done.exit_code == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.png")) == ["a.png", "b.png", "c.png"]
    shown = read_image(tmp_path / "sheet.png")
    assert shown.shape == (3, 3 * 20 + 2 * 2, 2 * 16 + 2)
    np.testing.assert_array_equal(shown[:, :16, :16], read_image(tree / "cat" / "a.png"))
    np.testing.assert_array_equal(shown[:, :16, 18:34], read_image(tmp_path / "out" / "cat" / "a.png"))
    assert (shown[:, 16:22] == 255).all()
    alone = run("image", "reconstruct", pack, "--grid", tmp_path / "two.png", "--limit", 2, "--model", model, "-q")
    assert (alone.exit_code, alone.stderr) == (0, "")
    assert read_image(tmp_path / "two.png").shape == (3, 34, 34)
    np.testing.assert_array_equal(read_image(tmp_path / "two.png")[:, 18:34, :16], pixels(seed=2))


def test_existing_files_are_not_touched_without_force(run, model, tmp_path):
    write_png(tmp_path / "in.png", pixels())
    before = (tmp_path / "in.png").read_bytes()
    for command in (["encode"], ["reconstruct"]):
        done = run("image", *command, tmp_path / "in.png", tmp_path / "in.png", "--model", model)
        assert done.exit_code == 1
        assert "--force" in done.stderr
    done = run("image", "reconstruct", tmp_path / "in.png", "--grid", tmp_path / "in.png", "--model", model)
    assert (done.exit_code, "--force" in done.stderr) == (1, True)
    assert (tmp_path / "in.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["in.png"]


def test_the_wrong_model_is_refused_unless_allowed(run, model, other_model, tmp_path):
    write_png(tmp_path / "in.png", pixels())
    run("image", "encode", tmp_path / "in.png", tmp_path / "a.codes", "--model", model)
    refused = run("image", "decode", tmp_path / "a.codes", tmp_path / "out.png", "--model", other_model)
    assert (refused.exit_code, "--allow-mismatch" in refused.stderr) == (1, True)
    allowed = run("image", "decode", tmp_path / "a.codes", tmp_path / "out.png", "--model", other_model,
                  "--allow-mismatch")  # fmt: skip
    assert allowed.exit_code == 0, allowed.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["encode", "-", "out.codes"], 2, "no pipes"),
        (["encode", "gone.png", "out.codes"], 1, "gone.png: no such file"),
        (["decode", "gone.codes", "out.png"], 1, "gone.codes: can't be opened"),
        (["reconstruct", "gone.png"], 2, "name OUT, or --grid"),
        (["reconstruct", "gone.png", "--grid", "sheet.jpg"], 1, "name it .png"),
        (["report", "gone.png"], 1, "none of 1 images can be read"),
    ],
)
def test_mistakes_are_one_line(run, model, tmp_path, monkeypatch, args, code, message):
    monkeypatch.chdir(tmp_path)
    done = run("image", *args, *(["--model", model] if args[0] != "decode" else []))
    assert done.exit_code == code
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_report_stands_beside_other_formats(run, model, tree, tmp_path):
    done = run("image", "report", tree, "--model", model, "--json", tmp_path / "r.json")
    assert done.exit_code == 0, done.stderr
    told = json.loads((tmp_path / "r.json").read_text())
    assert [p["name"] for p in told["images"]] == ["cat/a.png", "cat/b.jpg", "dog/c.webp"]
    run("image", "encode", tree, tmp_path / "codes", "--model", model)
    sizes = [p.stat().st_size for p in sorted((tmp_path / "codes").rglob("*.codes"))]
    ours = [p["codecs"][0] for p in told["images"]]
    assert [one["num_bytes"] for one in ours] == sizes
    assert ours[0]["bits_per_pixel"] == 8 * sizes[0] / 256
    assert ours[2]["ssim"] is None  # smaller than its window
    total = {one["codec"]: one for one in told["all"]["codecs"]}
    assert list(total) == ["audiovq", "PNG", "JPEG", "WebP"]
    assert total["audiovq"]["num_bytes"] == sum(sizes)
    assert total["audiovq"]["psnr_db"] == pytest.approx(np.mean([one["psnr_db"] for one in ours]))
    assert total["PNG"]["psnr_db"] is None
    lines = done.stdout.splitlines()
    assert len(lines) == 2 + 4 * 4
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["image", "pixels", "codec", "bytes", "bits/pixel", "PSNR, dB", "SSIM"]
    assert cells[2][:5] == ["cat/a.png", "16 x 16", "audiovq", str(sizes[0]), f"{sizes[0] / 32:.3f}"]
    assert (cells[3][2], cells[3][5], cells[3][6]) == ("PNG", "lossless", "1.0000")
    assert (cells[12][6], cells[-4][0]) == ("-", "all 3")
    brief = run("image", "report", tree, "--model", model, "-q")
    assert len(brief.stdout.splitlines()) == 2 + 4
    assert run("image", "report", tree, "--model", model, "--json", tmp_path / "r.json").exit_code == 1


def test_report_goes_on_after_a_bad_file(run, model, tree):
    (tree / "bad.png").write_bytes(b"no image")
    done = run("image", "report", tree, "--model", model)
    assert done.exit_code == 1
    assert "bad.png: is no PNG" in done.stderr
    assert "1 of 4 files failed" in done.stderr
    assert "all 3" in done.stdout
