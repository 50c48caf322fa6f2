"""Sampling from priors over codes: with what was computed before kept, against a whole pass for each code, on one core.

    python benchmarks/prior_sampling.py [--kinds wavenet ...] [--steps 1000] [--rounds 3] [--json FILE]

Networks have their default sizes, K = 1024, one level, and random weights: speed does not depend on them. The naive way
passes over all codes so far for each new one; that is measured at positions spread evenly over the sequence (or grid)
and multiplied up, and at the last one, where it passes over the whole item. Both give the same codes
(tests/prior/test_sampling.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import harness  # before torch: it sets the number of threads
import numpy as np
import torch

from audiovq.prior import NETWORKS, NetworkPrior, PriorConfig, sample
from audiovq.prior.sampling import NaiveSteps, uniform_streams

CODES = 1024
PROBES = 10  # positions at which the naive way is measured


def network(kind: str, options: dict[str, int]) -> NetworkPrior:
    """A prior of the kind's default size."""
    spec = {"codebook_sizes": [CODES], "layout": "grid" if kind == "pixelcnn" else "sequence"}
    torch.manual_seed(0)
    return NetworkPrior(PriorConfig.model_validate({"codes": spec, "prior": {"kind": kind, **options}})).eval()


def space_for(kind: str, steps: int) -> tuple[int, ...]:
    """`steps` positions; for a grid 32 columns and as many whole rows as that takes."""
    return (-(-steps // 32), 32) if kind == "pixelcnn" else (steps,)


def candidates(prior: NetworkPrior, space: tuple[int, ...]) -> dict[str, Callable[[], object]]:
    """Drawing one whole item cached, and the naive way the distributions at `PROBES` positions, and at the last."""
    length = int(np.prod(space))
    uniforms = uniform_streams(0, 1, length, 1)
    codes = torch.from_numpy(sample(prior, uniforms, space).reshape(1, 1, length))

    def naive(positions: Sequence[int]) -> None:
        steps = NaiveSteps(prior, 1, space)
        for position in positions:
            steps.position = position
            steps.codes[:, :, :position] = codes[:, :, :position]
            steps.log_probabilities()

    spread = [(2 * i + 1) * length // (2 * PROBES) for i in range(PROBES)]
    return {
        "cached": lambda: sample(prior, uniforms, space),
        "naive": lambda: naive(spread),
        "last": lambda: naive([length - 1]),
    }


def main(arguments: Sequence[str] | None = None, *, options: dict[str, int] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=1000, help="codes to draw (1000)")
    harness.add_options(parser, rounds=3)
    chosen = parser.parse_args(arguments)
    harness.pin()
    rows = []
    for kind in chosen.kinds:
        prior, space = network(kind, options or {}), space_for(kind, chosen.steps)
        found = harness.compare(candidates(prior, space), rounds=chosen.rounds)
        length = int(np.prod(space))
        rows.append(
            {
                "prior": kind,
                "parameters": prior.num_parameters(),
                "codes": length,
                "cached_seconds": found["cached"].ms / 1e3,
                "codes_per_second": length / found["cached"].ms * 1e3,
                "naive_seconds": found["naive"].ms / 1e3 * length / PROBES,
                "times_faster": found["naive"].ratio * length / PROBES,
                "at_the_last": found["last"].ratio * length,
            }
        )
    print(harness.table(list(rows[0]), [list(row.values()) for row in rows]))
    if chosen.json:
        harness.write_json(chosen.json, harness.machine(), rows=rows)


if __name__ == "__main__":
    main()
