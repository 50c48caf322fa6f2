"""Pitfalls of gradients: each shown in its naive form, and absent from ours.

P14  straight through every level     test_the_gradient_of_a_residual_sum_is_exactly_one,
                                      test_the_commitment_of_every_level_reaches_the_input
P15  x + (q - x).detach() is not q    test_forward_is_the_code_itself
P16  the rotation trick               test_rotation_gives_silence_its_code, test_rotation_changes_the_gradient_only,
                                      test_the_gradient_of_rotation_is_the_one_of_the_paper,
                                      test_a_residual_sum_rotates_once,
                                      test_rotation_is_straight_through_where_there_is_no_angle,
                                      test_silence_has_a_gradient_of_ordinary_size
P17  losses on the wrong side         test_beta_weighs_the_commitment, test_each_term_moves_its_own_side,
                                      test_cosine_losses_are_between_normalised_vectors
"""

from __future__ import annotations

import naive
import naive_levels
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from audiovq.quantize import ResidualVQ, VectorQuantizer, straight_through

DIM, K, Q = 8, 32, 4


def quantizer(codebook: Tensor, **options: object) -> VectorQuantizer:
    settings: dict = {"channel_dim": -1, "kmeans_init": False, **options}
    vq = VectorQuantizer(codebook.shape[1], codebook.shape[0], **settings).eval()
    vq.codebook.data.copy_(codebook)
    return vq


def residual(codebooks: list[Tensor], **options: object) -> ResidualVQ:
    return ResidualVQ([quantizer(codebook) for codebook in codebooks], channel_dim=-1, **options)


@pytest.fixture
def codebooks() -> list[Tensor]:
    return [torch.randn(K, DIM) / 2**level for level in range(Q)]


@pytest.fixture
def x() -> Tensor:
    return torch.randn(40, DIM, requires_grad=True)


# P14


def test_the_gradient_of_a_residual_sum_is_exactly_one(codebooks: list[Tensor], x: Tensor) -> None:
    """P14: a straight-through gradient for each of the Q levels adds up to Q."""
    incoming = torch.randn(40, DIM)
    (grad,) = torch.autograd.grad(naive_levels.Residual(codebooks)(x).z_q, x, incoming)
    torch.testing.assert_close(grad, Q * incoming)
    (grad,) = torch.autograd.grad(residual(codebooks)(x).z_q, x, incoming)
    assert torch.equal(grad, incoming)


def test_the_commitment_of_every_level_reaches_the_input(codebooks: list[Tensor], x: Tensor) -> None:
    """P14: where residuals are not detached, levels after the first have a gradient of 0."""
    textbook = naive_levels.Residual(codebooks, detach=False)
    (grad,) = torch.autograd.grad(textbook(x).loss, x)
    (first_alone,) = torch.autograd.grad(naive_levels.Residual(codebooks[:1], detach=False)(x).loss, x)
    torch.testing.assert_close(grad, first_alone)

    rvq = residual(codebooks)
    out = rvq(x)
    (grad,) = torch.autograd.grad(out.loss, x)
    # beta |x - sg[e_1 + ... + e_l]|^2, summed over levels l.
    expected, total, loss = torch.zeros_like(x), torch.zeros_like(x), 0.0
    for level, codebook in enumerate(codebooks):
        total = total + codebook[out.codes[:, level]]
        expected += 0.25 * 2 * (x - total).detach() / x.numel()
        loss += 0.25 * (x - total).square().mean().item()
    torch.testing.assert_close(grad, expected)
    assert out.loss.item() == pytest.approx(loss, rel=1e-5)


# P15


def test_forward_is_the_code_itself(codebooks: list[Tensor], x: Tensor) -> None:
    """P15: a third of the naive form's elements differ from what their codes decode to."""
    vq = quantizer(codebooks[0])
    out = vq(x)
    decoded = vq.decode(out.codes)
    assert (naive.EMA(codebooks[0]).eval()(x).z_q != decoded).double().mean() > 0.1
    assert torch.equal(out.z_q, decoded)

    result = straight_through(x, decoded)
    assert torch.equal(result, decoded)
    incoming = torch.randn(40, DIM)
    result.backward(incoming)
    assert torch.equal(x.grad, incoming)


# P16


def rotation(x: Tensor, q: Tensor) -> Tensor:
    """|q| / |x| R of arXiv 2410.06424, section 4.2, where R turns x/|x| to q/|q|: [D], [D] -> [D, D] float64."""
    x, q = x.double(), q.double()
    e, u = F.normalize(x, dim=0), F.normalize(q, dim=0)
    r = F.normalize(e + u, dim=0)
    turn = torch.eye(len(x), dtype=torch.float64) - 2 * torch.outer(r, r) + 2 * torch.outer(u, e)
    return turn * q.norm() / x.norm()


def test_rotation_gives_silence_its_code() -> None:
    """P16: a naive product with z_e is 0 for z_e = 0, as in digital silence, whatever the code is."""
    codebook = torch.randn(K, DIM) + 1
    silence = torch.zeros(3, DIM, requires_grad=True)
    assert (naive.rotate(silence, codebook[:3]) == 0).all()

    out = quantizer(codebook, gradient="rotation")(silence)
    assert torch.equal(out.z_q, codebook[out.codes])
    out.z_q.sum().backward()
    assert silence.grad.isfinite().all()


def test_rotation_changes_the_gradient_only(codebooks: list[Tensor], x: Tensor) -> None:
    """P16: the naive product rounds; ours gives the code itself."""
    vq = quantizer(codebooks[0], gradient="rotation")
    out, plain = vq(x), quantizer(codebooks[0])(x)
    assert not torch.equal(naive.rotate(x, codebooks[0][out.codes]), plain.z_q)
    assert torch.equal(out.z_q, plain.z_q)
    assert torch.equal(out.z_q, vq.decode(vq.encode(x)))
    torch.testing.assert_close(out.loss, plain.loss)


def assert_rotated(x: Tensor, z_q: Tensor, incoming: Tensor) -> None:
    """That x received the transpose of rotation(x, z_q) applied to what came in, row by row."""
    for row, code, grad, found in zip(x.detach(), z_q.detach(), incoming, x.grad, strict=True):
        turn = rotation(row, code)
        torch.testing.assert_close(turn @ row.double(), code.double(), rtol=1e-5, atol=1e-6)  # it leads x to its code
        torch.testing.assert_close(found.double(), turn.t() @ grad.double(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_gradient_of_rotation_is_the_one_of_the_paper(codebooks: list[Tensor], x: Tensor, scale: float) -> None:
    """P16: some leave out the factor |q| / |x|, or normalise twice."""
    x = (scale * x).detach().requires_grad_()
    out = quantizer(codebooks[0] * scale, gradient="rotation")(x)
    incoming = torch.randn_like(x)
    out.z_q.backward(incoming)
    assert_rotated(x, out.z_q, incoming)
    assert not torch.allclose(x.grad, incoming, rtol=0.1)


def test_a_residual_sum_rotates_once(codebooks: list[Tensor], x: Tensor) -> None:
    """P16: as for the straight-through gradient, level by level it would add up."""
    out = residual(codebooks, gradient="rotation")(x)
    incoming = torch.randn_like(x)
    out.z_q.backward(incoming)
    assert torch.equal(out.z_q, residual(codebooks)(x).z_q)
    assert_rotated(x, out.z_q, incoming)


def test_rotation_is_straight_through_where_there_is_no_angle(codebooks: list[Tensor]) -> None:
    """P16: x is 0 or next to it, at its code, opposite of it; or the code is 0."""
    direction = torch.randn(DIM)
    for code, x, exact in (
        (direction, torch.zeros(1, DIM), True),
        (direction, 1e-30 * torch.randn(1, DIM), True),
        (direction, -2 * direction[None], True),
        (torch.zeros(DIM), torch.randn(1, DIM), True),
        (direction, direction[None].clone(), False),
    ):
        x.requires_grad_()
        incoming = torch.randn(1, DIM)
        out = quantizer(code[None], gradient="rotation")(x)
        out.z_q.backward(incoming)
        torch.testing.assert_close(x.grad, incoming, rtol=0 if exact else 1e-4, atol=0 if exact else 1e-5)


@pytest.mark.parametrize("gradient", ["straight-through", "rotation"])
@pytest.mark.parametrize("distance", ["l2", "cosine"])
def test_silence_has_a_gradient_of_ordinary_size(codebooks: list[Tensor], distance: str, gradient: str) -> None:
    """P16: what divides by the length of x sends silence a gradient of 1e12, and the encoder is lost."""
    silence = torch.zeros(4, DIM, requires_grad=True)
    F.normalize(silence, dim=1).sum().backward()
    assert silence.grad.abs().max() > 1e9

    for size in (0.0, 1e-30, 1e-12):
        quiet = (size * torch.randn(4, DIM)).requires_grad_()
        out = quantizer(codebooks[0], distance=distance, gradient=gradient)(quiet)
        (out.loss + out.z_q.sum()).backward()
        assert quiet.grad.abs().max() < 1e3


# P17


def test_beta_weighs_the_commitment(codebooks: list[Tensor], x: Tensor) -> None:
    """P17: the naive form gives the encoder's term the weight 1 and the codebook's beta."""
    codebook, beta = codebooks[0].clone().requires_grad_(), 0.1

    def norms(loss: Tensor, codes: Tensor) -> tuple[float, float]:
        of_x, of_codebook = torch.autograd.grad(loss, [x, codes])
        return of_x.norm().item(), of_codebook.norm().item()

    wrong_x, wrong_codebook = norms(naive.losses_with_beta_on_the_codebook(x, codebook, beta), codebook)
    vq = quantizer(codebooks[0], update="loss", beta=beta)
    of_x, of_codebook = norms(vq(x).loss, vq.codebook)
    assert of_x == pytest.approx(beta * wrong_x, rel=1e-5)
    assert of_codebook == pytest.approx(wrong_codebook / beta, rel=1e-5)


def test_each_term_moves_its_own_side(codebooks: list[Tensor], x: Tensor) -> None:
    """P17: computed behind the straight-through step, the naive codebook term moves the encoder instead."""
    codebook = codebooks[0].clone().requires_grad_()
    of_x, of_codebook = torch.autograd.grad(
        naive.losses_after_straight_through(x, codebook, 0.0), [x, codebook], allow_unused=True
    )
    assert of_codebook is None
    assert of_x.abs().sum() > 0

    vq = quantizer(codebooks[0], update="loss", beta=0.4)
    out = vq(x)
    z_q = vq.codebook.data[out.codes]
    out.losses["codebook"].backward(retain_graph=True)
    assert x.grad is None
    expected = torch.zeros(K, DIM).index_add_(0, out.codes, 2 * (z_q - x.detach()) / x.numel())
    torch.testing.assert_close(vq.codebook.grad, expected)
    vq.codebook.grad = None
    out.losses["commitment"].backward()
    assert vq.codebook.grad is None
    torch.testing.assert_close(x.grad, 0.4 * 2 * (x.detach() - z_q) / x.numel())


@pytest.mark.parametrize("update", ["ema", "loss"])
def test_cosine_losses_are_between_normalised_vectors(codebooks: list[Tensor], x: Tensor, update: str) -> None:
    """P17: the length of x has no part in its choice of a code, nor in the loss; the naive (masked) form adds it."""
    codebook = F.normalize(codebooks[0], dim=1)
    every = torch.ones(len(x), dtype=torch.bool)
    ratio = naive.cosine_commitment(10 * x, codebook, every) / naive.cosine_commitment(x, codebook, every)
    assert ratio > 10

    vq = quantizer(codebook, distance="cosine", update=update)
    small, large = vq(x), vq(10 * x)
    assert torch.equal(small.codes, (F.normalize(x, dim=1) @ codebook.t()).argmax(dim=1))
    assert torch.equal(small.codes, large.codes)
    for name in small.losses:
        torch.testing.assert_close(small.losses[name], large.losses[name])
