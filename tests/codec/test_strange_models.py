"""Model folders from others: whatever stands in them, the errors are ours, and memory is bounded by what they hold."""

from __future__ import annotations

import copy
import json
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.overrides import TorchFunctionMode

from audiovq.audio import AudioModelConfig, AudioVQVAE
from audiovq.codec import Codec, ImageCodec, open_codec
from audiovq.errors import AudioVQError, BadModelError
from audiovq.image import ImageModelConfig, build_image_model
from audiovq.modelfolder import CONFIG, WEIGHTS, resolve_model

FAST = {"kind": "frame", "channels": 8, "depth": 1, "fine_channels": 8, "fine_depth": 1}
WAVENET = {
    "kind": "wavenet",
    "channels": 4,
    "gate_channels": 4,
    "skip_channels": 4,
    "cycles": 1,
    "layers_per_cycle": 2,
    "condition_channels": 4,
}
SOURCE = {"kind": "source", "channels": 8, "depth": 1, "fine_channels": 8, "fine_depth": 1}
LOG_MEL = {"kind": "log-mel", "channels": 8, "depth": 1}
CONFIGS: dict[str, dict[str, Any]] = {
    "fsq": {
        "encoder": LOG_MEL,
        "quantizer": {"kind": "fsq", "levels": [8, 5, 5], "num_quantizers": 2},
        "decoders": {"fast": FAST},
    },
    "vq": {
        "encoder": {"kind": "waveform", "channels": 8, "strides": [4, 8, 10]},
        "quantizer": {
            "kind": "vq",
            "codebook_size": 16,
            "num_quantizers": 2,
            "groups": 2,
            "codebook_dim": 2,
            "kmeans_init": False,
        },
        "decoders": {"slow": WAVENET},
    },
    "voices": {
        "encoder": LOG_MEL,
        "quantizer": {"kind": "simvq", "codebook_size": 16},
        "decoders": {"fast": SOURCE},
        "speakers": ["anna", "bob"],
        "speaker_dim": 4,
        "default_num_quantizers": 1,
    },
    "image": {
        "kind": "image",
        "height": 16,
        "width": 16,
        "latent_dim": 8,
        "encoder": {"channels": 8, "residual_channels": 4, "residual_blocks": 1},
        "latent": {"kind": "vq", "codebook_size": 16, "kmeans_init": False},
        "decoder": {"kind": "conv", "channels": 8, "residual_channels": 4, "residual_blocks": 1},
    },
}
NUMBERS = (-1, 0, 1, 3, 7, 1000, 60_000, 20_000_000, 2**31, 2**63, 10**30, 0.5, 1e308, float("nan"), float("inf"))
OTHERS = (
    "",
    "a.b",
    "forward",
    "x" * 5000,
    "\ud800",
    None,
    True,
    [],
    {},
    [[]],
    [0],
    [2**40] * 3,
    {"": {}},
    {"kind": "vq"},
)
REMOVED = object()


def save(folder: Path, config: dict[str, Any]) -> Path:
    torch.manual_seed(0)
    if config.get("kind") == "image":
        build_image_model(ImageModelConfig.model_validate(config)).save_pretrained(folder)
    else:
        model = AudioModelConfig.model_validate({"sample_rate": 16000, "latent_dim": 8} | config)
        AudioVQVAE.from_config(model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=list(CONFIGS))
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "m", CONFIGS[request.param])


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    for name in (CONFIG, WEIGHTS):
        (tmp_path / "m" / name).write_bytes((folder / name).read_bytes())
    return tmp_path / "m"


def places(tree: Any) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a tree of dicts and lists."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (key,)
        if isinstance(value, dict | list):
            yield from ((key, *rest) for rest in places(value))


def changed(tree: Any, place: tuple[Any, ...], value: Any) -> Any:
    tree = copy.deepcopy(tree)
    inner = tree
    for key in place[:-1]:
        inner = inner[key]
    if value is REMOVED:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return tree


def use(folder: Path) -> None:
    """Opens a model, and if it opens, encodes and decodes a little with it."""
    codec = open_codec(folder, "cpu")
    if isinstance(codec, ImageCodec):
        codec.decompress(codec.compress(np.zeros((codec.channels, 9, 7), np.uint8)))
        return
    speaker = codec.model.speakers[0] if codec.model.speakers else None
    codec.decompress(codec.compress(np.zeros((1, 3000), np.float32), 16000, speaker=speaker))


class Largest(TorchFunctionMode):
    """Elements of the largest tensor that was made."""

    elements = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.elements = max(self.elements, made.numel())
        return made


def only_ours(folder: Path, what: object) -> None:
    try:
        use(folder)
    except AudioVQError:
        pass
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")


def test_every_value_of_a_configuration_may_be_wrong(copied):
    config = json.loads((copied / CONFIG).read_text())
    for place in places(config):
        for value in (*NUMBERS, *OTHERS, REMOVED):
            (copied / CONFIG).write_text(json.dumps(changed(config, place, value)))
            only_ours(copied, (place, value if value is not REMOVED else "removed"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1" * 5000,
        b'{"a": ' * 100_000,
        b"[" * 100_000,
        b"\xff\xfe{}",
        b"{}",
        b"{}" + b" " * 2**23,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 10486072\n",
    ],
)
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_files_that_hold_something_else_are_refused(copied, name, text):
    (copied / name).write_bytes(text)
    with pytest.raises(BadModelError, match="git lfs pull" if b"lfs" in text else str(copied)):
        use(copied)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "device", "loop", "dead link"])
def test_what_is_no_file_is_refused_at_once(copied, name, kind):
    path = copied / name
    path.unlink()
    match kind:
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case "dead link":
            path.symlink_to("nowhere")
    with pytest.raises(BadModelError, match=name):
        use(copied)


@pytest.mark.parametrize("count", [60, pytest.param(2500, marks=pytest.mark.slow)])
def test_any_byte_of_the_weights_may_be_wrong(copied, count):
    good = (copied / WEIGHTS).read_bytes()
    draw = random.Random(5)
    for _ in range(count):
        data = bytearray(good)
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(draw.choice((8, 400, len(data))))] = draw.randrange(256)
        (copied / WEIGHTS).write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
        only_ours(copied, "bytes")


def test_a_model_that_was_never_trained_is_refused(tmp_path):
    quantizer = {"kind": "vq", "codebook_size": 16}
    with pytest.raises(BadModelError, match="never trained"):
        use(save(tmp_path / "m", CONFIGS["fsq"] | {"quantizer": quantizer}))
    with pytest.raises(BadModelError, match="never trained"):
        use(save(tmp_path / "i", CONFIGS["image"] | {"latent": quantizer}))


def test_tensors_of_another_form_are_refused(copied):
    tensors = load_file(copied / WEIGHTS)
    for name in list(tensors)[::4]:
        for other in (None, torch.zeros(0), torch.zeros(()), tensors[name][..., None].contiguous()):
            wrong = {k: v for k, v in tensors.items() if k != name} | ({} if other is None else {name: other})
            save_file(wrong, copied / WEIGHTS)
            with pytest.raises(BadModelError, match=r"disagree|can be built|never trained|is stored as"):
                use(copied)


def test_a_header_of_weights_that_claims_much_is_refused(copied):
    (copied / WEIGHTS).write_bytes(struct.pack("<Q", 90_000_000) + b" " * 90_000_000)
    with pytest.raises(BadModelError, match="header"):
        use(copied)


@pytest.mark.parametrize("size", ["encoder.channels", "encoder.num_mels", "latent_dim"])
def test_a_small_folder_gets_no_large_model(tmp_path, size):
    folder = save(tmp_path / "m", CONFIGS["fsq"])
    config = json.loads((folder / CONFIG).read_text())
    for value in (1000, 8192, 16384):
        (folder / CONFIG).write_text(json.dumps(changed(config, tuple(size.split(".")), value)))
        with Largest() as largest, pytest.raises(BadModelError):
            Codec.from_pretrained(folder, "cpu")
        assert largest.elements < 2**23


@pytest.mark.parametrize(
    "name", ["~nobodyx", "x" * 5000, "a/" + "b" * 5000, "../x", "x/", "a\0b", "s3://x/y", "-a/b", "/no/such"]
)
def test_names_that_are_no_model_are_refused_without_asking_the_hub(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *a, **k: pytest.fail("asked the hub"))
    with pytest.raises(BadModelError):
        resolve_model(name)
