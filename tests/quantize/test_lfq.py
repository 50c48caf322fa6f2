"""Lookup-free quantization (arXiv 2310.05737): bits, codes, and the entropy loss against its plain definition."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from audiovq.quantize import LFQ, ResidualVQ, lfq


def soft_assignment(z: Tensor, quantizer: LFQ) -> Tensor:
    """q(c | z) over all codes by its definition, [N, K]."""
    codebook = quantizer.decode(torch.arange(quantizer.codebook_size)).movedim(quantizer.channel_dim, -1)
    distance = (z.unsqueeze(1) - codebook).square().sum(dim=2)
    return (-distance / (quantizer.temperature * quantizer.scale**2)).softmax(dim=1)


def entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(dim=-1)


def test_bit_i_of_the_code_is_the_sign_of_channel_i() -> None:
    quantizer = LFQ(3, 3, channel_dim=-1, scale=0.5)
    z = torch.tensor([[0.1, -2.0, 3.0], [-1.0, -1.0, -1.0], [0.0, 1.0, 0.0]])
    assert quantizer.encode(z).tolist() == [0b101, 0, 0b010]  # 0 counts as negative
    assert quantizer.decode(torch.tensor([0b101])).tolist() == [[0.5, -0.5, 0.5]]


def test_every_code_decodes_to_its_own_vector_and_back() -> None:
    quantizer = LFQ(6, 6, channel_dim=-1)
    codes = torch.arange(64)
    values = quantizer.decode(codes)
    assert len(values.unique(dim=0)) == 64
    assert torch.equal(quantizer.encode(values), codes)


def test_62_bits_cost_nothing() -> None:
    quantizer = LFQ(62, 62, channel_dim=-1, entropy_weight=0)
    z = torch.randn(50, 62)
    out = quantizer(z)
    assert torch.equal(out.z_q, z.sign())
    assert torch.equal(quantizer.decode(out.codes), out.z_q)
    assert (out.codes >= 0).all()
    assert set(out.losses) == {"commitment"}
    assert not quantizer.state_dict()


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
@pytest.mark.parametrize(("scale", "temperature"), [(1.0, 1.0), (0.5, 0.3)])
def test_the_entropy_loss_is_that_of_the_full_table(bits: int, scale: float, temperature: float) -> None:
    quantizer = LFQ(bits, bits, channel_dim=-1, entropy_weight=0.3, scale=scale, temperature=temperature)
    z = (torch.randn(30, bits) * 0.4 * scale).requires_grad_()
    q = soft_assignment(z, quantizer)
    out = quantizer(z)
    torch.testing.assert_close(out.losses["entropy"], 0.3 * entropy(q).mean())
    torch.testing.assert_close(out.losses["diversity"], -0.3 * entropy(q.mean(dim=0)))
    gradient = torch.autograd.grad(out.losses["entropy"] + out.losses["diversity"], z)[0]
    expected = torch.autograd.grad(0.3 * (entropy(q).mean() - entropy(q.mean(dim=0))), z)[0]
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)


def test_more_than_16_bits_are_cut_into_parts_and_bound_the_entropy() -> None:
    independent = torch.randn(4000, 20)
    alike = independent[:, :10].repeat(1, 2)  # the second half of the bits repeats the first
    quantizer = LFQ(20, 20, channel_dim=-1, entropy_weight=1.0)
    halves = LFQ(10, 10, channel_dim=-1, entropy_weight=1.0)
    of_parts = sum(halves(part).losses["diversity"] for part in independent.chunk(2, dim=1))
    torch.testing.assert_close(quantizer(independent).losses["diversity"], of_parts)
    assert quantizer(alike).losses["diversity"] < halves(alike[:, :10]).losses["diversity"]  # a bound, as it says
    assert quantizer(alike).losses["diversity"] >= -20 * math.log(2)


def test_masked_rows_have_no_part_in_the_loss() -> None:
    quantizer = LFQ(5, 5)
    z = torch.randn(2, 5, 9)
    mask = torch.rand(2, 9) > 0.3
    out, alone = quantizer(z, mask), quantizer(z.movedim(1, -1)[mask])
    for name, value in out.losses.items():
        torch.testing.assert_close(value, alone.losses[name])
    assert quantizer(z, torch.zeros_like(mask)).loss.abs() < 1e-20


def test_extreme_inputs_keep_the_gradient_finite() -> None:
    """A code whose probability is exactly 0 has an infinite slope of the entropy."""
    quantizer = LFQ(4, 4, channel_dim=-1)
    z = torch.tensor([[300.0, -300.0, 300.0, 0.0], [300.0, -300.0, -300.0, 1e-20]], requires_grad=True)
    out = quantizer(z)
    out.loss.backward()
    assert out.loss.isfinite()
    assert z.grad.isfinite().all()


def test_the_entropy_loss_spreads_collapsed_codes() -> None:
    """All vectors start in one code; the loss alone (no reconstruction) brings most codes into use."""
    z = (torch.randn(512, 6) * 0.2 + 1).requires_grad_()
    quantizer = LFQ(6, 6, channel_dim=-1, beta=0.0)
    optimizer = torch.optim.Adam([z], lr=0.05)
    before = quantizer(z).stats["usage"].item()
    for _ in range(200):
        optimizer.zero_grad()
        out = quantizer(z)
        out.loss.backward()
        optimizer.step()
    assert before < 0.1
    assert out.stats["usage"].item() > 0.9
    assert out.losses["entropy"] < 0.1 * 0.1  # and each vector has decided


def test_the_gradient_of_z_q_is_exactly_one() -> None:
    z, gradient = torch.randn(20, 6, requires_grad=True), torch.randn(20, 6)
    LFQ(6, 6, channel_dim=-1)(z).z_q.backward(gradient)
    assert torch.equal(z.grad, gradient)


def test_residual_levels_halve_the_error() -> None:
    rvq = ResidualVQ([LFQ(3, 3, scale=0.5**i) for i in range(5)])
    z = torch.rand(4, 3, 200) * 3.8 - 1.9  # 1 + 1/2 + ... reaches from -2 to 2
    errors = [(rvq(z, num_quantizers=n).z_q - z).abs().max().item() for n in range(1, 6)]
    assert all(error <= 0.5 ** (n - 1) for n, error in enumerate(errors, 1))
    assert rvq.codebook_sizes == [8] * 5


def test_losses_of_every_residual_level_reach_the_input() -> None:
    rvq = ResidualVQ([LFQ(6, 6, scale=0.5**i) for i in range(3)], channel_dim=-1)
    z = torch.randn(20, 6, requires_grad=True)
    rvq(z).loss.backward()
    expected, rest = torch.zeros(20, 6), z.detach()
    for level in rvq.levels:
        rest.requires_grad_()
        out = level(rest)
        expected += torch.autograd.grad(out.loss, rest)[0]
        rest = (rest - out.z_q).detach()
    torch.testing.assert_close(z.grad, expected)


def test_ranks_share_one_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks with data of their own: each loss is that of all rows, and averaged gradients are its gradient."""
    data = [torch.randn(10, 5) * 0.5 - 0.3, torch.randn(25, 5) * 0.5 + 0.3]
    sums: list[list[Tensor]] = [[], []]
    here = 0

    def note(*tensors: Tensor) -> None:
        sums[here].extend(tensor.clone() for tensor in tensors)

    def add(*tensors: Tensor) -> None:
        for i, tensor in enumerate(tensors):
            tensor.copy_(sums[0][i] + sums[1][i])

    quantizer = LFQ(5, 5, channel_dim=-1)
    monkeypatch.setattr(lfq, "world_size", lambda: 2)
    monkeypatch.setattr(lfq, "all_reduce_sum", note)
    for here in range(2):
        quantizer(data[here])
    monkeypatch.setattr(lfq, "all_reduce_sum", add)
    shift = torch.zeros(5, requires_grad=True)  # stands for the model's parameters
    losses = [quantizer(rows + shift).losses["diversity"] for rows in data]
    gradient = torch.autograd.grad((losses[0] + losses[1]) / 2, shift)[0]  # as DDP averages
    monkeypatch.undo()
    whole = quantizer(torch.cat(data) + shift).losses["diversity"]
    torch.testing.assert_close(losses, [whole, whole])
    torch.testing.assert_close(gradient, torch.autograd.grad(whole, shift)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"bits": 0}, "bits is 0"), ({"bits": 63}, "bits is 63"), ({"bits": 4, "scale": 0.0}, "scale is 0.0")],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LFQ(4, **options)
