"""Equations 1 to 3 of arXiv 1711.00937 and their gradients, term by term."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from audiovq.quantize import VectorQuantizer

N, D, K, BETA = 40, 6, 16, 0.4


@pytest.fixture
def quantizer() -> VectorQuantizer:
    vq = VectorQuantizer(D, K, channel_dim=-1, beta=BETA, update="loss", kmeans_init=False, restart_threshold=0)
    vq.codebook.data.normal_()
    return vq


@pytest.fixture
def z_e() -> Tensor:
    return torch.randn(N, D, requires_grad=True)


def test_equations_1_and_2_z_q_is_the_nearest_code(quantizer: VectorQuantizer, z_e: Tensor) -> None:
    out = quantizer(z_e)
    assert torch.equal(out.codes, (z_e[:, None] - quantizer.codebook).square().sum(dim=2).argmin(dim=1))
    assert torch.equal(out.z_q, quantizer.codebook[out.codes])


def test_equation_3_has_these_two_terms(quantizer: VectorQuantizer, z_e: Tensor) -> None:
    out = quantizer(z_e)
    distance = (z_e - quantizer.codebook[out.codes]).square().mean()
    assert set(out.losses) == {"codebook", "commitment"}
    torch.testing.assert_close(out.losses["codebook"], distance)
    torch.testing.assert_close(out.losses["commitment"], BETA * distance)
    torch.testing.assert_close(out.loss, out.losses["codebook"] + out.losses["commitment"])


def test_the_reconstruction_reaches_the_encoder_unchanged_and_no_code(quantizer: VectorQuantizer, z_e: Tensor) -> None:
    gradient = torch.randn(N, D)
    quantizer(z_e).z_q.backward(gradient)
    assert torch.equal(z_e.grad, gradient)
    assert quantizer.codebook.grad is None


def test_the_codebook_trains_behind_a_frozen_encoder(quantizer: VectorQuantizer) -> None:
    out = quantizer(torch.randn(N, D))
    out.loss.backward()
    assert quantizer.codebook.grad.abs().sum() > 0
    assert not out.z_q.requires_grad


def test_moving_averages_leave_the_commitment_alone(z_e: Tensor) -> None:
    vq = VectorQuantizer(D, K, channel_dim=-1, beta=BETA)
    out = vq(z_e)
    assert set(out.losses) == {"commitment"}
    assert not list(vq.parameters())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("update", ["ema", "loss"])
def test_nothing_is_tracked_where_gradients_are_off(z_e: Tensor, update: str, training: bool) -> None:
    vq = VectorQuantizer(D, K, channel_dim=-1, update=update, kmeans_init=False).train(training)
    for mode in (torch.no_grad, torch.inference_mode):  # Lightning validates in the latter
        with mode():
            out = vq(z_e)
        assert not any(value.requires_grad for value in (out.z_q, out.loss, *out.losses.values()))


def test_gradients_reach_both_projections(z_e: Tensor) -> None:
    vq = VectorQuantizer(D, K, codebook_dim=3, channel_dim=-1)
    vq(z_e).z_q.square().sum().backward()
    for weight in (vq.project_in.weight, vq.project_out.weight, z_e):
        assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_masked_positions_have_no_part_in_losses_and_gradients(update: str) -> None:
    vq = VectorQuantizer(D, K, update=update, kmeans_init=False).eval()
    z = torch.randn(2, D, 5)
    mask = torch.tensor([[True] * 5, [True, True, False, False, False]])
    z[1, :, 2:] = float("nan")
    z.requires_grad_()
    out = vq(z, mask)
    valid = z.movedim(1, -1)[mask].detach().requires_grad_()
    alone = vq(valid)
    torch.testing.assert_close(out.loss, alone.loss)
    (out.loss + out.z_q.sum()).backward()
    (alone.loss + alone.z_q.sum()).backward()
    torch.testing.assert_close(z.grad.movedim(1, -1)[mask], valid.grad)
    assert (z.grad.movedim(1, -1)[~mask] == 0).all()


def test_a_batch_of_padding_has_no_loss() -> None:
    vq = VectorQuantizer(D, K, kmeans_init=False)
    codebook = vq.codebook.clone()
    out = vq(torch.randn(2, D, 5), torch.zeros(2, 5, dtype=torch.bool))
    assert out.loss == 0
    assert (out.codes == -1).all()
    assert torch.equal(vq.codebook, codebook)
