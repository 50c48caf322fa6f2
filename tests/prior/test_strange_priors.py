"""Priors from others: whatever stands in their folder, the errors are ours."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from audiovq.errors import AudioVQError, BadModelError
from audiovq.prior import NGramPrior, load_prior, sample

from .conftest import config, markov_items, network

VALUES = (-1, 0, 1, 3, 1000, 20_000_000, 10**30, 0.5, float("nan"), "", "x", None, True, [], {}, [0], [[-1.0]], {"": 0})


@pytest.fixture(params=["uniform", "trigram", "wavenet", "transformer", "pixelcnn"])
def folder(request, tmp_path):
    if request.param in ("uniform", "trigram"):
        prior = NGramPrior.fit(config(request.param, (9,), [8]), markov_items(3, 9))
    else:
        prior = network(request.param, (3, 3) if request.param == "pixelcnn" else (9,), [8], labels=["a"])
    prior.save_pretrained(tmp_path)
    return tmp_path


def only_ours(folder, what):
    try:
        prior = load_prior(folder)
        space = (3, 3) if prior.spec.layout == "grid" else (9,)
        uniforms = np.full((1, 9, prior.spec.num_quantizers), 0.5)
        sample(prior, uniforms, space, label=prior.spec.labels[0] if prior.spec.labels else None)
    except AudioVQError:
        pass
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")


def test_every_value_of_a_configuration_may_be_wrong(folder):
    tree = json.loads((folder / "config.json").read_text())
    for part in tree:
        for key in tree[part]:
            for value in VALUES:
                wrong = copy.deepcopy(tree)
                wrong[part][key] = value
                (folder / "config.json").write_text(json.dumps(wrong))
                only_ours(folder, (part, key, value))


def test_every_tensor_may_be_wrong(folder):
    tensors = load_file(folder / "model.safetensors")
    for name in tensors:
        for other in (torch.zeros(0), torch.zeros(()), torch.zeros(3, 3), -torch.ones(4, dtype=torch.int64), None):
            wrong = {k: v for k, v in tensors.items() if k != name} | ({} if other is None else {name: other})
            save_file(wrong, folder / "model.safetensors")
            only_ours(folder, name)


def test_a_pointer_of_git_lfs_says_so(folder):
    (folder / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n")
    with pytest.raises(BadModelError, match="git lfs pull"):
        load_prior(folder)
