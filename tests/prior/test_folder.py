"""A prior's folder: read back as written, refused where it is not whole, and bound to the codes it was fitted on."""

from __future__ import annotations

import json

import pytest

from audiovq.cli.prior.codes import KINDS as COMMAND_KINDS
from audiovq.errors import BadModelError, ModelMismatchError
from audiovq.prior import KINDS, CodeSpec, check_same_codes, load_prior

from .conftest import CASES, network, random_codes


@pytest.mark.parametrize(("kind", "space"), CASES[:5])
def test_read_back_as_written_in_float16(kind, space, tmp_path):
    prior = network(kind, space, [7, 5], labels=["a"]).float()
    prior.load_state_dict({k: v.half().float() for k, v in prior.state_dict().items()})
    prior.save_pretrained(tmp_path)
    loaded = load_prior(tmp_path)
    codes = random_codes(space, [7, 5])
    assert loaded.config == prior.config
    assert (loaded.bits(codes, "a") == prior.bits(codes, "a")).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_folder_that_is_not_one_of_a_prior_is_refused(tmp_path):
    with pytest.raises(BadModelError, match=r"no config\.json"):
        load_prior(tmp_path)
    network("wavenet", (9,), [7]).save_pretrained(tmp_path)
    tree = json.loads((tmp_path / "config.json").read_text())
    tree["codes"]["codebook_sizes"] = [8]
    (tmp_path / "config.json").write_text(json.dumps(tree))
    with pytest.raises(BadModelError, match="disagree on"):
        load_prior(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"sample_rate": 16000}))
    with pytest.raises(BadModelError, match="holds no prior"):
        load_prior(tmp_path)


def test_codes_of_another_codec_are_refused():
    ours = CodeSpec(codebook_sizes=[8, 8], model="a", fingerprint="00" * 8)
    check_same_codes(ours, ours, "x")
    with pytest.raises(ModelMismatchError, match=r"x: codes of model b 1111.*fitted on those of a 0000"):
        check_same_codes(ours, CodeSpec(codebook_sizes=[8, 8], model="b", fingerprint="11" * 8), "x")
    check_same_codes(ours, CodeSpec(codebook_sizes=[8, 8]), "x", allow_mismatch=True)
    with pytest.raises(ModelMismatchError, match="codebook sizes"):
        check_same_codes(ours, CodeSpec(codebook_sizes=[8]), "x", allow_mismatch=True)


def test_the_command_offers_every_kind():
    assert COMMAND_KINDS == KINDS
