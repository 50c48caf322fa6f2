"""Coders in a model folder: written, read, and damaged or strange files refused by a typed error."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from audiovq.bitstream.coder import Coding
from audiovq.errors import BadModelError, OutputError
from audiovq.modelfolder import bundled_models, read_model
from audiovq.prior.coder import coder_file, load_coder, load_coders, read_metadata, save_coder
from audiovq.prior.coder.files import FORMAT, MAX_BYTES

from .small import SIZES, codes_of, learned, tables


def test_coders_come_back_from_a_folder(tmp_path):
    assert load_coders(tmp_path) == {}
    for coder in (tables(), learned()):
        save_coder(coder, coder_file(tmp_path, coder.coding), {"model": "tiny"})
    found = load_coders(tmp_path)
    assert set(found) == {Coding.TABLES, Coding.LEARNED}
    for coder in (tables(), learned()):
        other = found[coder.coding]
        assert other.codebook_sizes == SIZES
        assert other.fingerprint == coder.fingerprint
        assert other.encode(codes_of(1, 3, 9)) == coder.encode(codes_of(1, 3, 9))
    assert read_metadata(coder_file(tmp_path, Coding.TABLES))["model"] == "tiny"


def test_a_coder_is_not_overwritten(tmp_path):
    save_coder(tables(), tmp_path / "c", {})
    with pytest.raises(OutputError):
        save_coder(tables(), tmp_path / "c", {})


def test_fingerprints_depend_on_every_integer(coder):
    name = sorted(coder.tensors)[0]
    other = {key: values.copy() for key, values in coder.tensors.items()}
    other[name].flat[0] += 1
    assert type(coder)(other).fingerprint != coder.fingerprint


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_or_are_other_coders(tmp_path, coder, count):
    file = tmp_path / "c"
    save_coder(coder, file, {})
    data = file.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(count):
        changed = bytearray(data)
        changed[int(rng.integers(0, min(len(data), 900)))] ^= int(rng.integers(1, 256))
        file.write_bytes(bytes(changed[: len(data) - int(rng.integers(0, 2))]))
        with contextlib.suppress(BadModelError):
            load_coder(file)


@pytest.mark.parametrize(
    "make", ["missing", "empty", "large", "folder", "pipe", "no metadata", "other kind", "huge header"]
)
def test_strange_files_are_refused(tmp_path, make):
    file = tmp_path / "c"
    tensors = {"0.bias": np.zeros(3, np.int32)}
    if make == "empty":
        file.write_bytes(b"")
    elif make == "large":
        with file.open("wb") as stream:
            stream.truncate(MAX_BYTES + 1)
    elif make == "folder":
        file.mkdir()
    elif make == "pipe":
        os.mkfifo(file)
    elif make == "no metadata":
        save_file(tensors, file)
    elif make == "other kind":
        save_file(tensors, file, {"format": FORMAT, "kind": "tables"})
    elif make == "huge header":
        file.write_bytes((2**62).to_bytes(8, "little") + b"{}")
    with pytest.raises(BadModelError):
        load_coder(file)


@pytest.mark.parametrize("name", sorted(learned().tensors))
@pytest.mark.parametrize("change", ["missing", "type", "shape", "rank"])
def test_tensors_of_no_network_are_refused(name, change):
    tensors = dict(learned().tensors)
    value = tensors.pop(name)
    if (name, change) == ("1.input", "missing"):  # then it is a network whose GRU sees one level
        assert type(learned())(tensors).codebook_sizes == SIZES
        return
    if change == "type":
        tensors[name] = value.astype(np.int16)
    elif change == "shape":
        tensors[name] = np.concatenate([value, value])
    elif change == "rank":
        tensors[name] = value[None]
    with pytest.raises(ValueError, match=r"."):
        type(learned())(tensors)


def test_tables_that_would_ask_for_more_memory_than_their_size_are_refused():
    wide = {f"0.{part}": np.zeros((2**17 + (part == "context"), 0), np.int8) for part in ("context", "output")}
    with pytest.raises(ValueError, match="codebooks"):
        type(tables())(wide | {"0.bias": np.zeros(2**17, np.int32)})


def test_a_model_with_coders_is_read_as_before(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(bundled_models()["speech-16k"], folder)
    for coder in (tables(), learned()):
        save_coder(coder, coder_file(folder, coder.coding), {}, force=True)
    assert read_model(folder).codes_fingerprint == read_model("speech-16k").codes_fingerprint


VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "coders.json").read_text())


@pytest.mark.parametrize("kind", sorted(VECTORS["coders"]))
def test_the_bundled_coders_give_the_bytes_that_were_stored(kind):
    coder = load_coders(bundled_models()[VECTORS["model"]])[Coding[kind.upper()]]
    stored = VECTORS["coders"][kind]
    assert coder.fingerprint.hex() == stored["fingerprint"]
    codes = np.array(VECTORS["codes"])
    for levels, data in stored["bytes"].items():
        part = codes[:, : int(levels)]
        assert coder.encode(part).hex() == data
        assert (coder.decode(bytes.fromhex(data), *part.shape) == part).all()


def test_the_bundled_coders_are_small():
    folder = bundled_models()[VECTORS["model"]]
    assert sum(coder_file(folder, coding).stat().st_size for coding in load_coders(folder)) < 500_000
