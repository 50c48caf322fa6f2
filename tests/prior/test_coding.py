"""Arithmetic coding with a prior: bytes as long as the score says, and the codes come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiovq.errors import BadCodesError
from audiovq.prior import CodeItem, NetworkPrior, NGramPrior, Prior, PriorConfig, sample
from audiovq.prior.coding import decode_codes, decode_items, encode_codes, encode_items
from audiovq.prior.sampling import uniform_streams

pytest.importorskip("constriction", reason="the coding extra is not installed")

NETWORKS = {
    "wavenet": {"channels": 12, "gate_channels": 12, "skip_channels": 16, "cycles": 1, "layers_per_cycle": 3},
    "transformer": {"channels": 12, "heads": 2, "depth": 2, "window": 4},
    "pixelcnn": {"channels": 12, "depth": 2, "kernel_size": 3},
}


def prior_and_codes(kind: str) -> tuple[Prior, np.ndarray]:
    space, layout = ((16, 20), "grid") if kind == "pixelcnn" else ((300,), "sequence")
    spec = {"codebook_sizes": [50, 30], "layout": layout}
    config = PriorConfig.model_validate({"codes": spec, "prior": {"kind": kind, **NETWORKS.get(kind, {})}})
    rng = np.random.default_rng(0)
    codes = np.stack([np.minimum(rng.geometric(0.2, space) - 1, size - 1) for size in (50, 30)])
    if kind not in NETWORKS:
        return NGramPrior.fit(config, [CodeItem("a", codes)]), codes
    torch.manual_seed(0)
    prior = NetworkPrior(config).eval()
    with torch.no_grad():  # far from uniform
        for layer in prior.head.logits:
            layer.weight *= 20
    return prior, sample(prior, uniform_streams(0, 1, codes[0].size, 2), space)[0]


@pytest.mark.parametrize("kind", ["uniform", "unigram", "trigram", *NETWORKS])
def test_bytes_are_within_1_percent_of_the_score_and_decode_back(kind):
    prior, codes = prior_and_codes(kind)
    data = encode_codes(prior, codes)
    bits = prior.bits(codes).sum()
    assert 0.999 * bits - 8 < 8 * len(data) < 1.01 * bits + 64  # whole words of 32 bits, and one to end with
    assert (decode_codes(prior, data, codes.shape[1:]) == codes).all()


def test_small_items_share_a_stream_and_its_end():
    prior, codes = prior_and_codes("trigram")
    items = [codes[:, i : i + 7] for i in range(0, codes.shape[1], 7)]
    data = encode_items(prior, items)
    bits = sum(prior.bits(item).sum() for item in items)
    assert 0.999 * bits - 8 < 8 * len(data) < 1.01 * bits + 64
    decoded = decode_items(prior, data, [item.shape[1:] for item in items])
    assert all((x == y).all() for x, y in zip(decoded, items, strict=True))
    assert len(data) < sum(len(encode_codes(prior, item)) for item in items)


def test_no_codes_are_no_bytes():
    prior, codes = prior_and_codes("unigram")
    assert encode_codes(prior, codes[:, :0]) == b""
    assert decode_codes(prior, b"", (0,)).shape == (2, 0)


def test_cut_off_bytes_are_refused():
    prior, codes = prior_and_codes("unigram")
    with pytest.raises(BadCodesError, match="come in fours"):
        decode_codes(prior, encode_codes(prior, codes)[:-1], (300,))
