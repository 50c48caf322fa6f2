"""Draws codes from a prior: from the start or after given ones, with temperature, top-k and top-p.

The caller passes the uniform numbers. The same numbers give the same codes, however many streams run in step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from audiovq.errors import ConfigError
from audiovq.prior.base import Codes, Prior, Probabilities, Stepper, positions
from audiovq.prior.network import NetworkPrior


def sample(
    prior: Prior,
    uniforms: NDArray[np.float64],
    space: Sequence[int],
    *,
    prefix: Codes | None = None,
    label: str | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    stepper: Stepper | None = None,
    on_position: Callable[[int], None] | None = None,
) -> Codes:
    """Draw items of `space` positions, (F,) or (H, W).

    Args:
        prior: what to draw from.
        uniforms: `[B, P, Q]` in [0, 1), one for each code; those of the prefix's positions are not used.
        prefix: `[Q, N]`, the first N positions in raster order, which all streams begin with.
        label: speaker or class.
        temperature: divides log-probabilities; 0 takes the most probable code.
        top_k: only the k most probable codes; top_p: only the fewest whose probability reaches p.
        stepper: how the distributions are computed; by default the prior's own.
        on_position: called with the number of positions done.

    Returns:
        codes `[B, Q, *space]`.

    Raises ConfigError for an impossible option, or a prefix that is longer than `space`.
    """
    batch_size, length, levels = uniforms.shape
    if length != positions(space) or levels != prior.spec.num_quantizers:
        raise ConfigError(
            f"uniforms {list(uniforms.shape)}; wanted [B, {positions(space)}, {prior.spec.num_quantizers}]"
        )
    given = 0 if prefix is None else prefix.shape[1]
    if given > length:
        raise ConfigError(f"the codes to go on from have {given} positions, more than the {length} asked for")
    _check_options(temperature, top_k, top_p)
    stepper = stepper or prior.steps(batch_size, space, label)
    codes = np.zeros((batch_size, levels, length), np.int64)
    for p in range(length):
        for level in range(levels):
            if prefix is not None and p < given:
                codes[:, level, p] = prefix[level, p]
            else:
                chances = shaped(stepper.log_probabilities(), temperature, top_k, top_p)
                codes[:, level, p] = draw(chances, uniforms[:, p, level])
            stepper.push(codes[:, level, p])
        if on_position is not None:
            on_position(p + 1)
    return codes.reshape(batch_size, levels, *space)


def shaped(
    log_p: Probabilities, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0
) -> Probabilities:
    """ln p `[B, K]` -> probabilities `[B, K]` that sum to 1, after temperature, then top-k, then top-p."""
    if temperature == 0:
        p = np.zeros_like(log_p)
        p[np.arange(len(p)), log_p.argmax(axis=1)] = 1.0
        return p
    scaled = log_p / temperature
    p = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    if top_k is None and top_p == 1:
        return p
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    if top_k is not None:
        ranked[:, top_k:] = 0
        ranked /= ranked.sum(axis=1, keepdims=True)
    ranked[np.cumsum(ranked, axis=1) - ranked >= top_p] = 0  # what comes after the one that reaches top_p
    np.put_along_axis(p, order, ranked, axis=1)
    return p / p.sum(axis=1, keepdims=True)


def _check_options(temperature: float, top_k: int | None, top_p: float) -> None:
    if not temperature >= 0:
        raise ConfigError(f"temperature {temperature}; give 0 (the most probable code) or more")
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k {top_k}; give 1 or more")
    if not 0 < top_p <= 1:
        raise ConfigError(f"top_p {top_p}; give more than 0 and at most 1")


def draw(p: Probabilities, uniforms: NDArray[np.float64]) -> Codes:
    """The first code whose cumulative probability exceeds the uniform number; p `[B, K]`, uniforms `[B]` -> `[B]`."""
    ends = np.cumsum(p, axis=1)
    hit = (ends <= uniforms[:, None] * ends[:, -1:]).sum(axis=1)
    return np.minimum(hit, p.shape[1] - 1).astype(np.int64)


def uniform_streams(seed: int, streams: int, length: int, levels: int) -> NDArray[np.float64]:
    """Uniform numbers `[streams, length, levels]`; a stream depends on the seed and its number alone."""
    rows = [
        np.random.Generator(np.random.Philox(key=seed, counter=i << 64)).random((length, levels))
        for i in range(streams)
    ]
    return np.stack(rows)


class NaiveSteps(Stepper):
    """The plain definition: a whole pass over all codes so far for each new one. For tests and benchmarks.

    Args:
        prior: a trained one.
        batch_size, space, label: as for `Prior.steps`.
    """

    def __init__(self, prior: NetworkPrior, batch_size: int, space: Sequence[int], label: str | None = None) -> None:
        self.prior, self.level, self.position, self.space = prior, 0, 0, tuple(space)
        index = prior.label_index(label)
        self.label = None if index is None else torch.full((batch_size,), index)
        self.codes = torch.full((batch_size, prior.spec.num_quantizers, positions(space)), -1)

    def log_probabilities(self) -> Probabilities:
        """See `Stepper`."""
        with torch.inference_mode():
            codes = self.codes[:, :, : self.position + 1]
            if len(self.space) == 2:  # the rows so far
                rows = self.position // self.space[1] + 1
                codes = self.codes[:, :, : rows * self.space[1]].unflatten(-1, (rows, self.space[1]))
            logits = self.prior.logits(codes, self.label)[self.level].flatten(1, -2)[:, self.position]
            return torch.log_softmax(logits.double(), dim=-1).numpy()

    def push(self, codes: Codes) -> None:
        """See `Stepper`."""
        self.codes[:, self.level, self.position] = torch.from_numpy(codes)
        self.level += 1
        if self.level == self.codes.shape[1]:
            self.level, self.position = 0, self.position + 1
