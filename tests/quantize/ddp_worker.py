"""One rank of test_distributed.py: python ddp_worker.py RANK WORLD_SIZE FOLDER.

Trains quantizers on data of its own, and saves what every codebook was after every step.
"""

from __future__ import annotations

import sys
from pathlib import Path

import naive
import torch
import torch.distributed as dist

from audiovq.quantize import CodeUsage, Quantizer, ResidualVQ, VectorQuantizer
from audiovq.quantize.distributed import sample_rows

STEPS = 8
START = torch.linspace(-2, 2, 32).view(8, 4)


def build() -> dict[str, Quantizer]:
    plain = VectorQuantizer(4, 8, channel_dim=-1, kmeans_init=False, restart_threshold=0)
    plain.codebook.copy_(START)
    plain.ema_sums.copy_(START)
    return {
        "plain": plain,
        "ema": VectorQuantizer(4, 32, channel_dim=-1, decay=0.5, restart_threshold=0.3),
        "loss": VectorQuantizer(4, 32, channel_dim=-1, decay=0.5, restart_threshold=0.3, update="loss"),
        "residual": ResidualVQ.of(
            4, 3, 16, channel_dim=-1, decay=0.5, restart_threshold=0.3, level_dropout=True, kmeans_init=True
        ),
    }


def data(rank: int, step: int) -> torch.Tensor:
    """Ranks differ in distribution, in number of rows, and rank 1 has not a single valid row at step 2."""
    generator = torch.Generator().manual_seed(100 * rank + step)
    z = torch.randn(60 + 40 * rank, 4, generator=generator) + 3 * rank + step
    return z.fill_(float("nan")) if (rank, step) == (1, 2) else z


def train(quantizers: dict[str, Quantizer], rank: int) -> dict:
    torch.manual_seed(rank)  # ranks draw differently, and must agree nevertheless
    history: dict = {name: [] for name in quantizers}
    restarted = 0.0
    for step in range(STEPS):
        for name, quantizer in quantizers.items():
            restarted += quantizer(data(rank, step)).stats["restarted"].sum().item()
            history[name].append({key: value.clone() for key, value in quantizer.state_dict().items()})
    return {"history": history, "restarted": restarted}


def build_naive() -> dict[str, naive.EMA]:
    return {
        "asks when built": naive.AsksForRanksWhenBuilt(START),
        "broadcasts once": naive.BroadcastsOnce(START),
    }


def train_naive(quantizers: dict[str, naive.EMA], rank: int) -> dict:
    """The codebooks after some steps on rows that are all finite: naive ones survive no others."""
    for quantizer in quantizers.values():
        for step in range(3, STEPS):
            quantizer(data(rank, step))
    return {name: quantizer.codebook for name, quantizer in quantizers.items()}


def main() -> None:
    rank, world_size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    built_before, naive_before = build(), build_naive()
    dist.init_process_group("gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=world_size)
    use = CodeUsage([4])
    use.update(torch.tensor([2 * rank, 2 * rank + 1]))
    result = {
        "before": train(built_before, rank),
        "after": train(build(), rank),
        "naive before": train_naive(naive_before, rank),
        "naive after": train_naive(build_naive(), rank),
        "usage": use.compute(reduce=True),
        "usage_here": use.compute(),
    }
    torch.manual_seed(rank)
    rows = torch.arange(10.0 + 20 * rank).unsqueeze(1) + 100 * rank + 1  # 1..10 here, 101..130 there
    result["drawn"] = sample_rows(rows, rows.squeeze(1) % 2 == 0, 12)
    torch.save(result, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
