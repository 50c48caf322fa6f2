"""The learning rate over the steps of a run."""

import math
from collections.abc import Callable

from audiovq.train.config import OptimizationConfig


def warmup_cosine(options: OptimizationConfig) -> Callable[[int], float]:
    """The factor of the peak rate at a step: linear up to it, then a cosine down to `final_rate` at max_steps."""

    def factor(step: int) -> float:
        if step < options.warmup_steps:
            return (step + 1) / options.warmup_steps
        done = (step - options.warmup_steps) / max(1, options.max_steps - options.warmup_steps)
        return options.final_rate + (1 - options.final_rate) * (1 + math.cos(math.pi * min(done, 1))) / 2

    return factor
