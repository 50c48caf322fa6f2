"""Two gloo processes with data of their own hold the same codebook, bit for bit, after every step (pitfall P24)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import ddp_worker
import pytest
import torch

from audiovq.quantize import VectorQuantizer

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = Path(ddp_worker.__file__)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), "2", str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            printed, _ = worker.communicate(timeout=900)  # two imports of torch take minutes on a busy machine
            assert worker.returncode == 0, printed
    finally:
        for worker in workers:
            worker.kill()
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("built", ["before", "after"])
@pytest.mark.parametrize("kind", ["plain", "ema", "loss", "residual"])
def test_ranks_agree_after_every_step(ranks: list[dict], built: str, kind: str) -> None:
    histories = [rank[built]["history"][kind] for rank in ranks]
    for step, (first, second) in enumerate(zip(*histories, strict=True)):
        for name in first:
            assert torch.equal(first[name], second[name]), f"{name} at step {step}"
            assert first[name].isfinite().all()
    assert any(not torch.equal(histories[0][0][name], histories[0][-1][name]) for name in histories[0][0])


def test_ranks_of_the_naive_forms_drift(ranks: list[dict]) -> None:
    """P24: one asked for ranks when it was built, too early; the other makes them alike once and no more."""

    def drift(built: str, kind: str) -> float:
        return (ranks[0][built][kind] - ranks[1][built][kind]).abs().max().item()

    assert drift("naive before", "asks when built") > 0.5
    assert drift("naive after", "asks when built") == 0
    assert drift("naive before", "broadcasts once") > 0.5
    assert drift("naive after", "broadcasts once") > 0.5


def test_codes_were_restarted_on_the_way(ranks: list[dict]) -> None:
    assert ranks[0]["before"]["restarted"] > 0
    assert ranks[0]["before"]["restarted"] == ranks[1]["before"]["restarted"]


def test_restarts_draw_distinct_kept_rows_from_all_ranks(ranks: list[dict]) -> None:
    drawn = ranks[0]["drawn"].flatten().int().tolist()
    assert ranks[1]["drawn"].flatten().int().tolist() == drawn
    assert len(set(drawn)) == 12
    assert set(drawn) <= {*range(2, 11, 2), *range(102, 131, 2)}
    assert min(drawn) < 100 < max(drawn)


def test_two_ranks_learn_what_one_process_learns_from_all_data(ranks: list[dict]) -> None:
    vq = VectorQuantizer(4, 8, channel_dim=-1, kmeans_init=False, restart_threshold=0)
    vq.codebook.copy_(ddp_worker.START)
    vq.ema_sums.copy_(ddp_worker.START)
    for step in range(ddp_worker.STEPS):
        vq(torch.cat([ddp_worker.data(rank, step) for rank in range(2)]))
        torch.testing.assert_close(vq.codebook, ranks[0]["after"]["history"]["plain"][step]["codebook"])


def test_usage_is_summed_over_ranks(ranks: list[dict]) -> None:
    for rank in ranks:
        assert rank["usage"]["usage"].item() == 1.0
        assert rank["usage"]["perplexity"].item() == pytest.approx(4.0)
        assert rank["usage_here"]["usage"].item() == 0.5  # counting goes on with what this rank saw
