"""How a codebook learns: moving averages (appendix A.1), the start by k-means, and the restart of dead codes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from audiovq.quantize import VectorQuantizer

GAMMA = 0.9


def small(**options: object) -> VectorQuantizer:
    settings: dict = {"channel_dim": -1, "decay": GAMMA, "kmeans_init": False, "restart_threshold": 0, **options}
    vq = VectorQuantizer(2, 3, **settings)
    set_codebook(vq, torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]))
    return vq


def set_codebook(vq: VectorQuantizer, codebook: Tensor) -> None:
    vq.codebook.data.copy_(codebook)
    if vq.update == "ema":
        vq.ema_sums.copy_(codebook)


def clusters(k: int = 8, each: int = 20, dim: int = 4, spread: float = 0.01) -> tuple[Tensor, Tensor]:
    """k well separated clusters: rows [k * each, dim] and centres [k, dim]."""
    centres = torch.randn(k, dim) * 10
    return (centres.repeat_interleave(each, dim=0) + spread * torch.randn(k * each, dim)), centres


def test_two_updates_by_hand() -> None:
    vq = small()
    vq(torch.tensor([[1.0, 1.0], [3.0, 1.0], [9.0, 1.0]]))
    # Codes 0, 0, 1. N starts at 1, m at the codebook: N = 0.9 + 0.1 n, m = 0.9 m + 0.1 sum z, e = m / N.
    expected = torch.tensor([[0.4 / 1.1, 0.2 / 1.1], [(9 + 0.9) / 1.0, 0.1 / 1.0], [0.0, 10.0]])
    torch.testing.assert_close(vq.codebook, expected)
    torch.testing.assert_close(vq.ema_counts, torch.tensor([1.1, 1.0, 0.9]))

    vq(torch.tensor([[0.0, 2.0]]))
    expected[0] = torch.tensor([0.9 * 0.4, 0.9 * 0.2 + 0.1 * 2]) / (0.9 * 1.1 + 0.1)
    torch.testing.assert_close(vq.codebook, expected)
    torch.testing.assert_close(vq.ema_counts, torch.tensor([0.9 * 1.1 + 0.1, 0.9, 0.81]))


# Start by k-means.


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_kmeans_finds_the_clusters_of_the_first_batch(update: str) -> None:
    z, centres = clusters()
    vq = VectorQuantizer(4, 64, channel_dim=-1, update=update)
    out = vq(z)
    assert (z - out.z_q).square().mean() < 1e-4
    assert torch.cdist(centres, vq.codebook).min(dim=1).values.max() < 0.02


def test_fewer_vectors_than_codes_are_enough_to_start() -> None:
    vq = VectorQuantizer(4, 32, channel_dim=-1)
    z = torch.randn(5, 4)
    torch.testing.assert_close(vq(z).z_q, z)


def test_only_valid_vectors_start_a_codebook() -> None:
    z = torch.randn(50, 4)
    z[25:] += 1000
    vq = VectorQuantizer(4, 8, channel_dim=-1)
    vq(z, torch.arange(50) < 25)
    assert vq.codebook.abs().max() < 10
    with pytest.raises(ValueError, match="no valid, finite vector"):
        VectorQuantizer(4, 8, channel_dim=-1)(z, torch.zeros(50, dtype=torch.bool))


# Restart.


def test_a_code_in_rare_use_is_not_restarted() -> None:
    vq = small(restart_threshold=0.05)
    z = torch.cat([torch.randn(90, 2), torch.tensor([[10.0, 0.0]] * 5), torch.tensor([[0.0, 10.0]] * 5)])
    assert all(vq(z).stats["restarted"] == 0 for _ in range(100))


def test_restart_is_repeatable_from_the_default_generator() -> None:
    def run() -> Tensor:
        torch.manual_seed(3)
        vq = VectorQuantizer(4, 32, channel_dim=-1, decay=0.5, restart_threshold=0.2)
        for step in range(10):
            vq(torch.randn(40, 4) + step)
        return vq.codebook

    assert torch.equal(run(), run())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codebook_size": 0}, "at least 1"),
        ({"update": "adam"}, '"ema" or "loss"'),
        ({"decay": 1.0}, "between 0 and 1"),
        ({"restart_threshold": 1.5}, "share of uniform use"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorQuantizer(**{"dim": 4, "codebook_size": 8, **options})
