"""Codes of many files as items: every kind of source, names, labels, and what is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from audiovq.bitstream import AudioHeader, ImageHeader, write_codes
from audiovq.errors import AudioVQError, BadCodesError, ConfigError, ModelMismatchError
from audiovq.prior import CodeSpec
from audiovq.prior.collection import read_collection


def write(path: Path, codes: np.ndarray, fingerprint: bytes = bytes(6), speaker: str | None = None) -> Path:
    """codes: `[C, Q, F]`, two levels of 16 and 8."""
    header = AudioHeader(
        model="tiny",
        fingerprint=fingerprint,
        sample_rate=16000,
        channels=len(codes),
        num_samples=codes.shape[2] * 320,
        model_sample_rate=16000,
        hop_length=320,
        frames_per_packet=50,
        codebook_sizes=(16, 8)[: codes.shape[1]],
        speaker=speaker,
    )
    path.parent.mkdir(exist_ok=True, parents=True)
    write_codes(path, header, codes)
    return path


def codes(channels: int = 1, frames: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 8, (channels, 2, frames))


def test_files_and_folders_become_items_with_a_spec(tmp_path):
    write(tmp_path / "a" / "one.codes", codes(), speaker="anna")
    write(tmp_path / "a" / "deep" / "two.codes", codes(2))
    single = write(tmp_path / "three.codes", codes(seed=3))
    found = read_collection([str(tmp_path / "a"), str(single)])
    assert [item.name for item in found.items] == ["deep/two#0", "deep/two#1", "one", "three"]
    assert [item.label for item in found.items] == [None, None, "anna", None]
    assert (found.items[3].codes == codes(seed=3)[0]).all()
    assert found.spec == CodeSpec(codebook_sizes=[16, 8], frame_rate=50.0, model="tiny", fingerprint="00" * 6)


def test_the_first_levels_can_be_taken(tmp_path):
    path = write(tmp_path / "one.codes", codes())
    found = read_collection([str(path)], num_quantizers=1)
    assert found.spec.codebook_sizes == [16]
    assert (found.items[0].codes == codes()[0, :1]).all()
    with pytest.raises(BadCodesError, match="2 levels, 3 are wanted"):
        read_collection([str(path)], num_quantizers=3)


def test_labels_come_by_name(tmp_path):
    write(tmp_path / "one.codes", codes())
    assert read_collection([str(tmp_path)], labels={"one": "bob"}).items[0].label == "bob"
    with pytest.raises(ConfigError, match="no label is given for one"):
        read_collection([str(tmp_path)], labels={"two": "bob"})


def test_arrays_are_sequences_or_grids(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(6).reshape(2, 3))
    sequence = CodeSpec(codebook_sizes=[16, 8])
    assert read_collection([str(tmp_path / "x.npy")], spec=sequence).items[0].codes.shape == (2, 3)
    grid = CodeSpec(codebook_sizes=[16], layout="grid")
    assert read_collection([str(tmp_path / "x.npy")], spec=grid).items[0].codes.shape == (1, 2, 3)
    np.save(tmp_path / "x.npy", np.arange(12).reshape(2, 2, 3))
    assert [i.name for i in read_collection([str(tmp_path / "x.npy")], spec=grid).items] == ["x#0", "x#1"]
    with pytest.raises(ConfigError, match="give --codec, or --codebook-sizes"):
        read_collection([str(tmp_path / "x.npy")])
    np.save(tmp_path / "x.npy", np.full((2, 3), 16))
    with pytest.raises(BadCodesError, match=r"x\.npy: level 0: codes go from 16"):
        read_collection([str(tmp_path / "x.npy")], spec=grid)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_kaldi_archives_hold_frames_by_levels(tmp_path, dtype):
    kaldiio = pytest.importorskip("kaldiio", reason="the kaldi extra is not installed")
    matrices = {"utt1": codes()[0].T.astype(dtype), "utt2": codes(seed=1)[0].T.astype(dtype)}
    if dtype == np.int32:  # Kaldi knows vectors of integers only
        matrices = {name: matrix[:, 0].copy() for name, matrix in matrices.items()}
    kaldiio.save_ark(str(tmp_path / "x.ark"), matrices, scp=str(tmp_path / "x.scp"))
    spec = CodeSpec(codebook_sizes=[16, 8] if dtype == np.float32 else [16])
    for source in (f"ark:{tmp_path}/x.ark", f"scp:{tmp_path}/x.scp"):
        found = read_collection([source], spec=spec)
        assert [item.name for item in found.items] == ["utt1", "utt2"]
        assert (found.items[1].codes == codes(seed=1)[0][: len(spec.codebook_sizes)]).all()


def test_archives_of_ours_say_whose_codes_they_hold(tmp_path):
    kaldiio = pytest.importorskip("kaldiio", reason="the kaldi extra is not installed")
    kaldiio.save_ark(str(tmp_path / "x.ark"), {"utt1": codes()[0].T.astype(np.float32)}, scp=str(tmp_path / "x.scp"))
    facts = {"format": "audiovq-codes-archive", "version": 1, "model": "tiny", "fingerprint": "00" * 6}
    facts |= {"codebook_sizes": [16, 8], "model_sample_rate": 16000, "hop_length": 320}
    own = {"sample_rate": 16000, "num_samples": 20 * 320, "speaker": "anna"}
    (tmp_path / "x.ark.json").write_text(json.dumps(facts | {"utterances": {"utt1": own}}))
    for source in (f"ark:{tmp_path}/x.ark", f"scp:{tmp_path}/x.scp"):
        found = read_collection([source])
        assert found.spec == CodeSpec(codebook_sizes=[16, 8], frame_rate=50.0, model="tiny", fingerprint="00" * 6)
        assert found.items[0].label == "anna"
    other = found.spec.model_copy(update={"fingerprint": "11" * 8})
    with pytest.raises(ModelMismatchError):
        read_collection([source], spec=other)
    for change, message in [
        ({"version": 2}, r"x\.ark\.json: not version 1 of audiovq-codes-archive"),
        ({"format": "another"}, r"x\.ark\.json: not version 1 of audiovq-codes-archive"),
        ({"utterances": {}}, r"x\.ark\.json: does not know utterance utt1"),
        ({"utterances": {"utt1": own | {"num_samples": 19 * 320}}}, "20 frames of 2 levels, but its sound has 19"),
        ({"hop_length": 0}, r"x\.ark\.json: can't be understood"),
    ]:
        (tmp_path / "x.ark.json").write_text(json.dumps(facts | {"utterances": {"utt1": own}} | change))
        with pytest.raises(BadCodesError, match=message):
            read_collection([source])


def test_codes_of_two_codecs_are_refused(tmp_path):
    write(tmp_path / "a.codes", codes())
    write(tmp_path / "b.codes", codes(), fingerprint=b"\1" * 6)
    with pytest.raises(ModelMismatchError, match=r"b\.codes: codes of model tiny 0101"):
        read_collection([str(tmp_path)])
    assert len(read_collection([str(tmp_path)], allow_mismatch=True).items) == 2


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(BadCodesError, match="no codes there"):
        read_collection([str(tmp_path)])
    with pytest.raises(AudioVQError, match=r"none\.codes"):
        read_collection([str(tmp_path / "none.codes")])


def write_image(path: Path, grid: np.ndarray, stride: int = 4, fingerprint: bytes = bytes(6)) -> None:
    """grid: `[Q, H, W]`, two levels of 16 and 8."""
    levels, height, width = grid.shape
    header = ImageHeader(model="tiny", fingerprint=fingerprint, height=height * stride - 1, width=width * stride,
                         stride=stride, frames_per_packet=width, codebook_sizes=(16, 8)[:levels])  # fmt: skip
    path.parent.mkdir(exist_ok=True, parents=True)
    write_codes(path, header, grid.reshape(1, levels, -1))


def test_images_are_grids_of_any_size(tmp_path):
    write_image(tmp_path / "cat" / "one.codes", np.arange(12).reshape(2, 2, 3) % 8)
    write_image(tmp_path / "two.codes", codes(1, 20)[0].reshape(2, 4, 5))
    found = read_collection([str(tmp_path)])
    assert found.spec == CodeSpec(codebook_sizes=[16, 8], layout="grid", model="tiny", fingerprint="00" * 6)
    assert [(item.name, item.codes.shape) for item in found.items] == [("cat/one", (2, 2, 3)), ("two", (2, 4, 5))]
    assert (found.items[0].codes == np.arange(12).reshape(2, 2, 3) % 8).all()
    assert read_collection([str(tmp_path)], num_quantizers=1).items[0].codes.shape == (1, 2, 3)


def test_sound_and_images_do_not_mix(tmp_path):
    write(tmp_path / "a.codes", codes())
    write_image(tmp_path / "b.codes", np.zeros((2, 2, 2), int))
    with pytest.raises(ModelMismatchError, match=r"b\.codes: layout grid"):
        read_collection([str(tmp_path)])


def test_arrays_of_grids_may_have_levels(tmp_path):
    grids = np.random.default_rng(0).integers(0, 8, (3, 2, 4, 5)).astype(np.uint8)
    np.save(tmp_path / "x.npy", grids)
    spec = CodeSpec(codebook_sizes=[16, 8], layout="grid")
    found = read_collection([str(tmp_path / "x.npy")], spec=spec, labels={f"x#{i}": "cat" for i in range(3)})
    assert [item.name for item in found.items] == ["x#0", "x#1", "x#2"]
    assert all((item.codes == grid).all() for item, grid in zip(found.items, grids, strict=True))
    np.save(tmp_path / "x.npy", grids[None])
    with pytest.raises(BadCodesError, match=r"x\.npy: shape \[1, 3, 2, 4, 5\]"):
        read_collection([str(tmp_path / "x.npy")], spec=spec)


@pytest.mark.parametrize("array", [np.zeros(3), np.array("x"), np.array(["a"]), np.zeros((1, 2, 3, 4, 5), int)])
@pytest.mark.parametrize("layout", ["sequence", "grid"])
def test_arrays_of_other_forms_are_refused(tmp_path, array, layout):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(BadCodesError, match=r"x\.npy"):
        read_collection([str(tmp_path)], spec=CodeSpec(codebook_sizes=[8], layout=layout))


def test_damaged_arrays_and_folders_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 9), int))
    good, spec = (tmp_path / "x.npy").read_bytes(), CodeSpec(codebook_sizes=[8])
    draw = np.random.default_rng(0)
    for _ in range(150):
        data = bytearray(good)
        data[draw.integers(130)] = draw.integers(256)
        (tmp_path / "x.npy").write_bytes(data[: draw.choice([len(data), draw.integers(len(data))])])
        with contextlib.suppress(AudioVQError):
            read_collection([str(tmp_path / "x.npy")], spec=spec)
    (tmp_path / "x.npy").write_bytes(good)
    (tmp_path / ".x.3fa4c0d1e2f3.npy").touch()
    assert [item.name for item in read_collection([str(tmp_path)], spec=spec).items] == ["x"]
    (tmp_path / "gone.codes").symlink_to("/nowhere")
    with pytest.raises(BadCodesError, match=r"gone\.codes: a link that leads nowhere"):
        read_collection([str(tmp_path)], spec=spec)
