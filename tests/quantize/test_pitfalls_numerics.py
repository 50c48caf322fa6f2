"""Pitfalls of numerics: each shown in its naive form, and absent from ours.

P18  one NaN kills every code        test_a_row_of_nan_harms_at_most_itself, test_nan_is_never_a_start_or_a_restart
P19  autocast, low-precision state   test_autocast_changes_no_code, test_autocast_changes_nothing_that_is_learnt,
                                     test_a_cast_of_the_module_leaves_the_state_alone,
                                     test_counts_settle_at_the_number_of_vectors
P20  cancellation far from 0         test_data_far_from_the_origin_keep_their_nearest_code
P21  codes by the size of the batch  test_codes_do_not_depend_on_the_batch
P22  ties                            test_the_lowest_index_wins_a_tie, test_neighbouring_distances_are_no_tie
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import naive
import pytest
import torch
from small import quantizer
from torch import Tensor, nn

from audiovq.quantize import VectorQuantizer, code_stats, nearest
from audiovq.quantize.search import nearest as search


@pytest.fixture(
    params=[
        "cpu",
        "the search of other devices, on the CPU",
        pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")),
    ]
)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where tensors live. The search for other devices is tested without them too."""
    if request.param not in ("cpu", "cuda"):
        for name in ("_search_cpu", "_search_few"):
            monkeypatch.setattr(search, name, search._search_device)
        return "cpu"
    return request.param


def exact(x: Tensor, codebook: Tensor) -> Tensor:
    """Equation 1 in float64 with the whole table."""
    return torch.cdist(x.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)


def wrong_share(codes: Tensor, x: Tensor, codebook: Tensor) -> float:
    return (codes != exact(x, codebook)).double().mean().item()


# P18


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_row_of_nan_harms_at_most_itself(bad: float) -> None:
    """P18: a one-hot product computes NaN * 0, and so no vector of the naive codebook outlives the step."""
    start, x = torch.randn(64, 4), torch.randn(40, 4)
    dirty = torch.cat([x, torch.tensor([[bad, 1.0, 1.0, 1.0]])])
    textbook = naive.EMA(start)
    textbook(dirty)
    assert not textbook.codebook.isfinite().all(dim=1).any()

    clean, vq = quantizer(start), quantizer(start)
    expected, out = clean(x), vq(dirty)
    assert torch.equal(vq.codebook, clean.codebook)
    assert torch.equal(vq.ema_counts, clean.ema_counts)
    assert torch.equal(out.z_q[:40], expected.z_q)
    assert 0 <= out.codes[40] < 64
    counts, sums = code_stats(out.codes, dirty, 64)
    assert counts.sum() == 40
    torch.testing.assert_close(sums.sum(dim=0), x.sum(dim=0))


def test_nan_is_never_a_start_or_a_restart() -> None:
    """P18: the naive restart draws among all rows."""
    x = torch.randn(60, 2)
    x[::2] = float("nan")
    textbook = naive.RestartsTheVectorOnly(torch.full((16, 2), 100.0))
    textbook.counts.zero_()
    textbook(x)
    assert textbook.codebook.isnan().any()

    vq = VectorQuantizer(2, 16, channel_dim=-1, restart_threshold=0.5)
    restarted = 0
    for _ in range(10):
        restarted += vq(x + 10 * torch.randn(1, 2)).stats["restarted"].item()
    assert restarted > 0
    assert vq.codebook.isfinite().all()


# P19


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_changes_no_code(device: str, dtype: torch.dtype) -> None:
    """P19: up to one naive code in a hundred is another one under autocast; a guard for CUDA alone misses the CPU."""
    x, codebook = torch.randn(4000, 16, device=device), torch.randn(512, 16, device=device)
    vq = quantizer(codebook.cpu()).to(device).eval()
    with torch.autocast(device, dtype=dtype):
        assert (naive.nearest_expanded(x, codebook) != exact(x, codebook)).any()
        low = vq(x)
        codes, decoded = vq.encode(x), vq.decode(low.codes)
    full = vq(x)
    assert torch.equal(low.codes, full.codes)
    assert torch.equal(codes, full.codes)
    assert torch.equal(low.z_q, full.z_q)
    assert torch.equal(decoded, full.z_q)
    torch.testing.assert_close(low.loss, full.loss)
    assert wrong_share(codes, x, codebook) < 1e-3


def test_autocast_changes_nothing_that_is_learnt(device: str) -> None:
    """P19: statistics summed in bfloat16 lose what is small against the sum."""
    start, x = torch.randn(16, 8), torch.randn(2000, 8, device=device)
    plain, low = quantizer(start).to(device), quantizer(start).to(device)
    textbook, textbook_low = naive.EMA(start).to(device), naive.EMA(start).to(device)
    for _ in range(3):
        for vq in (plain, textbook):
            vq(x)
        with torch.autocast(device, dtype=torch.bfloat16):
            for vq in (low, textbook_low):
                vq(x)
    assert (textbook.codebook - textbook_low.codebook).abs().max() > 1e-3
    torch.testing.assert_close(low.codebook, plain.codebook, rtol=1e-5, atol=1e-6)


CASTS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "to(bfloat16)": lambda model: model.to(torch.bfloat16),
    "half": lambda model: model.half(),
    "double": lambda model: model.double(),
    "half and back": lambda model: model.half().float(),
}


@pytest.mark.parametrize("cast", CASTS.values(), ids=CASTS)
def test_a_cast_of_the_module_leaves_the_state_alone(cast: Callable[[nn.Module], nn.Module]) -> None:
    """P19: naive buffers are cast along, and come back as others. (Every kind of quantizer: test_contract.py.)"""
    start = torch.randn(16, 4)
    assert not torch.equal(naive.EMA(start).half().float().codebook, start)

    vq = quantizer(start, restart_threshold=0.1)
    before = copy.deepcopy(vq.state_dict())
    model = cast(nn.Sequential(vq))
    for name, value in vq.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name]), name
    z = torch.randn(50, 4).to(vq.output_dtype)
    for _ in range(3):
        out = model(z)
    assert out.z_q.dtype == z.dtype
    assert out.loss.dtype == torch.float32
    assert all(value.dtype == before[name].dtype for name, value in vq.state_dict().items())
    assert not torch.equal(vq.codebook, start)


def test_counts_settle_at_the_number_of_vectors() -> None:
    """P19: in bfloat16, steps of 1 % stop short of their aim."""
    start, x = torch.randn(4, 2), torch.randn(400, 2)
    textbook, vq = naive.EMA(start, decay=0.99).to(torch.bfloat16), quantizer(start, decay=0.99).to(torch.bfloat16)
    for _ in range(600):
        textbook(x.to(torch.bfloat16))
        vq(x.to(torch.bfloat16))
    assert textbook.counts.sum() < 0.95 * 400
    assert vq.ema_counts.sum().item() == pytest.approx(400, rel=0.01)


# P20


@pytest.mark.parametrize("mean", [100.0, 1000.0, -1000.0])
def test_data_far_from_the_origin_keep_their_nearest_code(mean: float, device: str) -> None:
    """P20: |x|^2 and 2 x.c cancel: at 100, some naive codes are wrong, at 1000, half of them."""
    x, codebook = torch.randn(4000, 16) + mean, torch.randn(256, 16) + mean
    x, codebook = x.to(device), codebook.to(device)
    assert wrong_share(naive.nearest_expanded(x, codebook), x, codebook) > (0.2 if abs(mean) == 1000 else 0)
    assert wrong_share(nearest(x, codebook), x, codebook) < 1e-3


# P21


def test_codes_do_not_depend_on_the_batch(device: str) -> None:
    """P21: products of other shapes round differently; at a mean of 100 that decides many a naive code."""
    x, codebook = (torch.randn(500, 256) + 100).to(device), (torch.randn(512, 256) + 100).to(device)
    whole = naive.nearest_expanded(x, codebook)
    single = torch.cat([naive.nearest_expanded(row, codebook) for row in x.split(1)])
    assert (single != whole).double().mean() > 0.02

    distance = torch.cdist(x.double(), codebook.double(), compute_mode="donot_use_mm_for_euclid_dist")
    best = distance.topk(2, dim=1, largest=False).values
    clear = best[:, 1] - best[:, 0] > 1e-5 * best[:, 0]  # what is midway between two codes may go to either
    assert clear.double().mean() > 0.99
    codes = nearest(x, codebook)
    for size in (1, 7, 64, 499):
        parts = torch.cat([nearest(rows, codebook) for rows in x.split(size)])
        assert torch.equal(parts[clear], codes[clear])


# P22


@pytest.mark.parametrize("codebook_size", [8, 512, 600, 1024, 1537])
def test_the_lowest_index_wins_a_tie(codebook_size: int, device: str) -> None:
    """P22, also where equal codes lie in different tiles of the search."""
    once = torch.randint(-8, 8, (codebook_size, 4)).float()
    # Every code stands there twice, and with integers and a mean of 0 there is no rounding: all scores are exact.
    codebook = torch.cat([once, -once, -once, once]).to(device)
    x = torch.randint(-8, 8, (300, 4)).float().to(device)
    distance = (x[:, None] - codebook).square().sum(dim=2)
    lowest = (distance == distance.min(dim=1, keepdim=True).values).int().argmax(dim=1)
    assert torch.equal(nearest(x, codebook), lowest)


def test_neighbouring_distances_are_no_tie(device: str) -> None:
    """P22: 5790^2 + 2 and 5790^2 have one square root in float32, so that the naive form takes the first."""
    a, b = 5790.0, 2**0.5
    codebook = torch.tensor([[a, b], [a, 0.0], [-a, -b], [-a, 0.0]], device=device)
    x = torch.zeros(1, 2, device=device)
    assert naive.nearest_by_root(x, codebook).item() == 0
    assert nearest(x, codebook).item() == 1
