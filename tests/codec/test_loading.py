"""A model is loaded by reading each of its files once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from audiovq import modelfolder
from audiovq.cli.models import describe_model
from audiovq.codec import Codec, ImageCodec, open_codec

from .conftest import FAST, make_codec
from .image.test_codec import make_codec as make_image_codec


@pytest.fixture
def reads(monkeypatch) -> Counter[str]:
    """How often each file of a model folder was read, by name."""
    counts: Counter[str] = Counter()
    load_file, read_config, read_text = modelfolder.load_file, modelfolder.read_config, Path.read_text

    def counted_load(path, *args, **options):
        counts[Path(path).name] += 1
        return load_file(path, *args, **options)

    def counted_config(folder):
        counts[modelfolder.CONFIG] += 1
        return read_config(folder)

    def counted_read(path, *args, **options):
        counts[path.name] += 1
        return read_text(path, *args, **options)

    monkeypatch.setattr(modelfolder, "load_file", counted_load)
    monkeypatch.setattr(modelfolder, "read_config", counted_config)
    monkeypatch.setattr(Path, "read_text", counted_read)
    return counts


@pytest.mark.parametrize("load", [Codec.from_pretrained, open_codec, describe_model])
def test_a_model_of_sound_is_read_once(reads, tmp_path, load):
    make_codec(FAST).model.save_pretrained(tmp_path)
    load(str(tmp_path))
    assert reads == {"config.json": 1, "model.safetensors": 1}


@pytest.mark.parametrize("load", [ImageCodec.from_pretrained, open_codec, describe_model])
def test_a_model_of_images_is_read_once(reads, tmp_path, load):
    make_image_codec().model.save_pretrained(tmp_path)
    load(str(tmp_path))
    assert reads == {"config.json": 1, "model.safetensors": 1}


def test_what_was_read_gives_the_fingerprints_of_the_codec(tmp_path):
    make_codec(FAST).model.save_pretrained(tmp_path)
    stored = modelfolder.read_model(tmp_path)
    assert Codec.from_pretrained(tmp_path, "cpu").fingerprint == stored.codes_fingerprint != stored.fingerprint
