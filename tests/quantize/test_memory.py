"""No quantizer makes a table of all vectors by all codes: not to search, to start, to learn, nor for its losses."""

from __future__ import annotations

from collections.abc import Callable

import naive
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from audiovq.quantize import LFQ, GroupedVQ, Quantizer, ResidualVQ, SimVQ, VectorQuantizer

pytestmark = pytest.mark.filterwarnings("ignore:.*Profiler clears events")

N = K = 4096
DIM = 8
KINDS: dict[str, Callable[[], Quantizer]] = {
    "start by k-means": lambda: VectorQuantizer(DIM, K, channel_dim=-1),
    "ema": lambda: VectorQuantizer(DIM, K, channel_dim=-1, kmeans_init=False),
    "loss": lambda: VectorQuantizer(DIM, K, channel_dim=-1, kmeans_init=False, update="loss"),
    "projected": lambda: VectorQuantizer(DIM, K, channel_dim=-1, kmeans_init=False, codebook_dim=4),
    "cosine": lambda: VectorQuantizer(DIM, K, channel_dim=-1, kmeans_init=False, distance="cosine"),
    "rotation": lambda: VectorQuantizer(DIM, K, channel_dim=-1, kmeans_init=False, gradient="rotation"),
    "residual": lambda: ResidualVQ.of(DIM, 2, K, channel_dim=-1, kmeans_init=False, level_dropout=True),
    "grouped": lambda: GroupedVQ([VectorQuantizer(4, K, kmeans_init=False) for _ in range(2)], channel_dim=-1),
    "simvq": lambda: SimVQ(DIM, K, channel_dim=-1),
    "lfq": lambda: LFQ(DIM, 12, channel_dim=-1),
}


def largest_allocation(run: Callable[[], object]) -> int:
    """Bytes of the largest piece of memory that torch takes at once, inside our operators and backward too."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    return max(event.cpu_memory_usage for event in profiled.events())


def use(quantizer: nn.Module) -> None:
    """Forward and backward, encode and decode."""
    z = torch.randn(N, DIM, requires_grad=True)
    out = quantizer(z)
    (out.loss + out.z_q.square().sum()).backward()
    quantizer.eval()
    quantizer.decode(quantizer.encode(z))


def test_the_naive_form_makes_the_table() -> None:
    """So that what follows can fail."""
    assert largest_allocation(lambda: use(naive.EMA(torch.randn(K, DIM)))) >= 4 * N * K


@pytest.mark.parametrize("kind", KINDS)
def test_no_table_is_made(kind: str) -> None:
    quantizer = KINDS[kind]()
    assert largest_allocation(lambda: use(quantizer)) < N * K  # not even one of a byte per element
