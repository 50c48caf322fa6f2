"""`VectorQuantizer` computes what `audiovq.quantize.plain` writes down from the paper: values, gradients, codebook."""

from __future__ import annotations

import pytest
import torch
from small import quantizer
from torch import Tensor

from audiovq.quantize import plain

D, K, BETA, GAMMA, STEPS = 6, 16, 0.4, 0.9, 6
SHAPES = {
    "rows": ((50, D), -1),
    "one row": ((1, D), -1),
    "sound": ((4, D, 13), 1),
    "channels last": ((3, 11, D), -1),
    "image": ((2, D, 5, 7), 1),
}


def mask_of(kind: str, shape: torch.Size) -> Tensor | None:
    if kind == "none":
        return None
    mask = torch.rand(shape) < 0.6 if kind == "some" else torch.zeros(shape, dtype=torch.bool)
    mask.view(-1)[0] = True
    return mask


@pytest.mark.parametrize("masked", ["none", "some", "all but one"])
@pytest.mark.parametrize("update", ["ema", "loss"])
@pytest.mark.parametrize("shape", SHAPES)
def test_steps_of_training_are_the_papers(shape: str, update: str, masked: str) -> None:
    size, channel_dim = SHAPES[shape]
    vq = quantizer(torch.randn(K, D), channel_dim=channel_dim, beta=BETA, decay=GAMMA, update=update)
    e = vq.codebook.detach().clone().requires_grad_(update == "loss")
    n, m = torch.ones(K), e.detach().clone()
    for step in range(STEPS):
        z = (torch.randn(size) + 0.3 * step).requires_grad_()
        mask = mask_of(masked, z.movedim(channel_dim, -1).shape[:-1])
        keep = slice(None) if mask is None else mask  # to the paper, what is masked isn't there
        z_e = z.detach().movedim(channel_dim, -1)[keep].reshape(-1, D).requires_grad_()

        out = vq(z, mask)
        z_q, k, codebook_loss, commitment = plain.quantize(z_e, e, BETA)
        rows = out.z_q.movedim(channel_dim, -1)
        assert torch.equal(out.codes[keep].flatten(), k)
        torch.testing.assert_close(rows[keep].reshape(-1, D), z_q)
        expected = {"commitment": commitment} | ({"codebook": codebook_loss} if update == "loss" else {})
        torch.testing.assert_close(out.losses, expected)

        reconstruction = torch.randn_like(rows)  # stands for the gradient of eq. 3, first term
        (rows * reconstruction).sum().add(out.loss).backward()
        loss = sum(expected.values())
        (z_q * reconstruction[keep].reshape(-1, D)).sum().add(loss).backward()
        grad = z.grad.movedim(channel_dim, -1)
        torch.testing.assert_close(grad[keep].reshape(-1, D), z_e.grad)
        assert mask is None or not grad[~mask].any()

        if update == "ema":
            plain.update(z_e.detach(), k, e, n, m, GAMMA)
            torch.testing.assert_close(vq.ema_counts, n)
            torch.testing.assert_close(vq.ema_sums, m)
        else:
            torch.testing.assert_close(vq.codebook.grad, e.grad)
            with torch.no_grad():
                for codebook in (vq.codebook, e):
                    codebook -= 0.5 * codebook.grad
                    codebook.grad = None
        torch.testing.assert_close(vq.codebook.detach(), e.detach())


def test_a_code_that_receives_nothing_is_not_touched() -> None:
    """By A.1 it stays up to rounding, until its count and sum have no digits left to divide."""
    codebook = torch.randn(4, D) + 10 * torch.arange(4).unsqueeze(1)
    vq, e = quantizer(codebook, decay=GAMMA), codebook.clone()
    n, m, z_e, k = torch.ones(4), e.clone(), torch.zeros(3, D), torch.zeros(3, dtype=torch.int64)
    for _ in range(1000):
        vq(z_e)
        plain.update(z_e, k, e, n, m, GAMMA)
    assert not torch.allclose(e[1:], codebook[1:])
    assert torch.equal(vq.codebook[1:], codebook[1:])
