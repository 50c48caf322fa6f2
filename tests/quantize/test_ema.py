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


def test_output_and_losses_come_from_the_codebook_before_the_update() -> None:
    vq = small()
    before = vq.codebook.clone()
    z = torch.tensor([[1.0, 1.0], [9.0, 1.0]])
    out = vq(z)
    assert not torch.equal(vq.codebook, before)
    assert torch.equal(out.z_q, before[out.codes])
    torch.testing.assert_close(out.loss, 0.25 * (z - before[out.codes]).square().mean())


def test_an_unused_code_stays_where_it_was_to_the_last_bit() -> None:
    vq = small()
    unused = vq.codebook[1:].clone()
    for _ in range(1100):  # 0.9 ** 1100 is 0 in float32: nothing of its counts is left
        vq(torch.tensor([[1.0, 1.0]]))
    assert torch.equal(vq.codebook[1:], unused)
    vq(torch.tensor([[9.0, 2.0]]))
    torch.testing.assert_close(vq.codebook[1], torch.tensor([9.0, 2.0]))  # and it still learns


def test_nothing_is_updated_in_eval_mode() -> None:
    vq = small(restart_threshold=0.5).eval()
    before = {name: value.clone() for name, value in vq.state_dict().items()}
    vq(torch.randn(50, 2) + 5)
    assert all(torch.equal(value, before[name]) for name, value in vq.state_dict().items())


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_nothing_is_updated_while_updates_are_held(update: str) -> None:
    vq = small(update=update, restart_threshold=0.5)
    z = torch.tensor([[1.0, 1.0]])
    before = {name: value.clone() for name, value in vq.state_dict().items()}
    with vq.hold_updates(), vq.hold_updates():
        vq(z)
    assert all(torch.equal(value, before[name]) for name, value in vq.state_dict().items())
    vq(z)
    assert not torch.equal(vq.ema_counts, before["ema_counts"])


def test_a_row_of_nan_does_not_change_what_the_codebook_learns() -> None:
    z = torch.randn(40, 2) * 5
    with_nan = torch.cat([z, torch.tensor([[float("nan"), 1.0], [float("inf"), 0.0]])])
    clean, dirty = small(), small()
    expected, out = clean(z), dirty(with_nan)
    assert torch.equal(dirty.codebook, clean.codebook)
    assert torch.equal(out.z_q[:40], expected.z_q)


def test_a_row_of_nan_is_never_a_start_or_a_restart() -> None:
    z = torch.randn(60, 2)
    z[::2] = float("nan")
    vq = VectorQuantizer(2, 16, channel_dim=-1, restart_threshold=0.5)
    for _ in range(10):
        vq(z + torch.randn(1, 2) * 10)
    assert vq.codebook.isfinite().all()


# Start by k-means.


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_kmeans_finds_the_clusters_of_the_first_batch(update: str) -> None:
    z, centres = clusters()
    vq = VectorQuantizer(4, 64, channel_dim=-1, update=update)
    out = vq(z)
    assert (z - out.z_q).square().mean() < 1e-4
    assert torch.cdist(centres, vq.codebook).min(dim=1).values.max() < 0.02


def test_the_batch_that_initialised_the_codebook_does_not_move_it() -> None:
    z, _ = clusters()
    vq = VectorQuantizer(4, 8, channel_dim=-1, restart_threshold=0)
    out = vq(z)
    first = vq.codebook.clone()
    assert torch.equal(out.z_q, first[out.codes])
    vq(z)
    torch.testing.assert_close(vq.codebook, first, rtol=0, atol=1e-5)
    torch.testing.assert_close(vq.ema_sums, first * vq.ema_counts.unsqueeze(1))


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


def test_eval_before_the_first_training_batch_is_an_error_and_changes_nothing() -> None:
    vq = VectorQuantizer(4, 8).eval()
    before = vq.codebook.clone()
    for call in (vq, vq.encode):
        with pytest.raises(RuntimeError, match="train for a step or load a checkpoint"):
            call(torch.randn(2, 4, 5))
    assert torch.equal(vq.codebook, before)
    assert not vq.ready


def test_a_loaded_codebook_is_used_and_never_initialised_again() -> None:
    trained = VectorQuantizer(4, 8)
    trained(torch.randn(2, 4, 50))
    loaded = VectorQuantizer(4, 8)
    loaded.load_state_dict(trained.state_dict())
    z = torch.randn(2, 4, 50) + 100
    assert torch.equal(loaded.eval().encode(z), trained.eval().encode(z))
    loaded.train()
    with loaded.hold_updates():
        loaded(z)
    assert torch.equal(loaded.codebook, trained.codebook)


def test_loading_an_untrained_state_waits_for_data_again() -> None:
    vq = VectorQuantizer(4, 8)
    untrained = {name: value.clone() for name, value in vq.state_dict().items()}
    vq(torch.randn(2, 4, 50))
    vq.load_state_dict(untrained)
    assert not vq.ready


# Restart.


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_restart_revives_a_dead_code_and_it_survives(update: str) -> None:
    z, _ = clusters()
    vq = VectorQuantizer(4, 8, channel_dim=-1, update=update, kmeans_init=False, restart_threshold=0.1)
    far = torch.full((8, 4), 1000.0)
    far[0] = z.mean(dim=0)
    set_codebook(vq, far)  # code 0 takes everything
    for _ in range(60):
        restarted = int(vq(z).stats["restarted"])
        if restarted:
            break
    assert restarted == 7
    samples = vq.codebook.data.clone()
    assert all((z == sample).all(dim=1).any() for sample in samples[1:])  # each is a vector of the batch
    out = vq(z)
    assert out.stats["restarted"] == 0
    if update == "ema":  # the average did not pull them back to where they were
        torch.testing.assert_close(vq.codebook, samples, rtol=0, atol=2.0)
    for _ in range(200):
        out = vq(z)
    assert out.stats["usage"] > 0.5
    assert vq.codebook.abs().max() < 100


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


def test_data_that_jump_away_do_not_collapse_the_codebook() -> None:
    vq = VectorQuantizer(4, 64, channel_dim=-1, decay=0.9)
    vq(torch.randn(512, 4))
    assert vq(torch.randn(512, 4) + 30).stats["usage"] < 0.1
    for _ in range(100):
        out = vq(torch.randn(512, 4) + 30)
    assert out.stats["usage"] > 0.9


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
