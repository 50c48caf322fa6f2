"""SimVQ (arXiv 2411.02038): the frozen basis, the map that moves all codes, and the losses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from audiovq.quantize import ResidualVQ, SimVQ, VectorQuantizer

N, D, K, BETA = 40, 6, 16, 0.4


@pytest.fixture
def quantizer() -> SimVQ:
    vq = SimVQ(D, K, channel_dim=-1, beta=BETA)
    nn.init.normal_(vq.weight)
    nn.init.normal_(vq.bias)
    return vq


def test_z_q_is_the_nearest_row_of_the_mapped_basis(quantizer: SimVQ) -> None:
    z_e = torch.randn(N, D)
    codebook = torch.stack([quantizer.weight @ row + quantizer.bias for row in quantizer.basis])
    out = quantizer(z_e)
    assert torch.equal(out.codes, (z_e[:, None] - codebook).square().sum(dim=2).argmin(dim=1))
    torch.testing.assert_close(out.z_q, codebook[out.codes].detach())


def test_it_starts_as_its_basis() -> None:
    vq = SimVQ(64, 2000)
    assert torch.equal(vq.codebook, vq.basis)
    assert vq.basis.square().sum(dim=1).mean().item() == pytest.approx(1, abs=0.02)  # N(0, 1/D)


def test_losses_are_those_of_equation_3(quantizer: SimVQ) -> None:
    z_e = torch.randn(N, D, requires_grad=True)
    out = quantizer(z_e)
    distance = (z_e - out.z_q.detach()).square().mean()
    assert set(out.losses) == {"codebook", "commitment"}
    torch.testing.assert_close(out.losses["codebook"], distance)
    torch.testing.assert_close(out.losses["commitment"], BETA * distance)
    torch.testing.assert_close(out.loss, (1 + BETA) * distance)
    out.losses["codebook"].backward(retain_graph=True)
    assert z_e.grad is None
    assert quantizer.weight.grad.abs().sum() > 0
    quantizer.zero_grad()
    out.losses["commitment"].backward()
    assert quantizer.weight.grad is None
    torch.testing.assert_close(z_e.grad, BETA * 2 * (z_e - out.z_q).detach() / (N * D))


def test_the_reconstruction_reaches_the_encoder_unchanged_and_not_the_map(quantizer: SimVQ) -> None:
    z_e, gradient = torch.randn(N, D, requires_grad=True), torch.randn(N, D)
    quantizer(z_e).z_q.backward(gradient)
    assert torch.equal(z_e.grad, gradient)
    assert quantizer.weight.grad is None


def test_one_vector_moves_every_code_but_never_the_basis(quantizer: SimVQ) -> None:
    basis, codebook = quantizer.basis.clone(), quantizer.codebook.detach()
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.1)
    quantizer(torch.randn(1, D)).loss.backward()
    optimizer.step()
    assert ((quantizer.codebook - codebook).abs().sum(dim=1) > 0).all()
    assert torch.equal(quantizer.basis, basis)
    assert {name for name, _ in quantizer.named_parameters()} == {"weight", "bias"}


def test_codes_far_from_the_data_come_into_use() -> None:
    """The paper's point: of codes that begin too far out, a plain codebook trained by its loss moves those few that
    were nearest at first; the mapped one comes as a whole."""
    data = torch.randn(2000, D) * 0.1
    mapped = SimVQ(D, 256, channel_dim=-1)
    plain = VectorQuantizer(D, 256, channel_dim=-1, update="loss", kmeans_init=False, restart_threshold=0)
    plain.codebook.data.copy_(mapped.basis)
    usage = []
    for vq in (mapped, plain):
        optimizer = torch.optim.Adam(vq.parameters(), lr=0.02)
        for _ in range(150):
            optimizer.zero_grad()
            out = vq(data)
            out.loss.backward()
            optimizer.step()
        usage.append(out.stats["usage"].item())
    assert usage[0] > 0.9
    assert usage[1] < 0.3


def test_one_vector_of_nan_leaves_the_map_alone(quantizer: SimVQ) -> None:
    z_e = torch.randn(N, D)
    z_e[3, 1] = float("nan")
    out = quantizer(z_e)
    out.losses["codebook"].backward()
    assert quantizer.weight.grad.isfinite().all()
    clean = z_e[torch.arange(N) != 3]
    expected = torch.autograd.grad(quantizer(clean).losses["codebook"], quantizer.weight)[0]
    torch.testing.assert_close(quantizer.weight.grad, expected)
    assert out.stats["perplexity"].isfinite()


def test_the_codebook_follows_what_is_loaded(quantizer: SimVQ) -> None:
    z = torch.randn(N, D)
    other = SimVQ(D, K, channel_dim=-1).eval()
    other.encode(z)
    other.load_state_dict(quantizer.state_dict())
    assert torch.equal(other.encode(z), quantizer.encode(z))


def test_losses_of_every_residual_level_reach_the_input() -> None:
    rvq = ResidualVQ([SimVQ(D, K) for _ in range(3)], channel_dim=-1)
    z = torch.randn(20, 6, requires_grad=True)
    rvq(z).loss.backward()
    expected, rest = torch.zeros(20, 6), z.detach()
    for level in rvq.levels:
        rest.requires_grad_()
        out = level(rest)
        expected += torch.autograd.grad(out.loss, rest)[0]
        rest = (rest - out.z_q).detach()
    torch.testing.assert_close(z.grad, expected)


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="codebook_size is 0"):
        SimVQ(4, 0)
