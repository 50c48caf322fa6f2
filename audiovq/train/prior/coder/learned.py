"""Trains the network of a `LearnedCoder` on packets of codes from a fresh state, and keeps the step that is best."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from audiovq.config import Config, Width
from audiovq.errors import BadDataError, ConfigError, TrainingError
from audiovq.prior import CodeItem, CodeSpec
from audiovq.prior.base import check_codes
from audiovq.prior.coder import LearnedCoder, load_coder
from audiovq.train.prior.coder.network import CoderNetwork
from audiovq.train.prior.coder.score import PACKET_FRAMES, score_coder

SHARE = 1 / 3  # of the frames that levels after the first learn from, at each step


class LearnedCoderConfig(Config):
    """A training run.

    Attributes:
        state: width of the GRU; the file has some `3 state^2 + 144 (sum of the first two codebook sizes)` bytes.
        steps: of `batch_size` packets of 250 frames each.
        learning_rate: after the warm-up; it falls to zero as a cosine.
        valid_every: steps between looks at the held-out codes.
        init: file of a coder to start from, e.g. to go on with other codes.
    """

    state: Annotated[Width, Field(le=512)] = 160
    steps: int = Field(2000, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(4e-3, gt=0)
    warmup_steps: int = Field(60, ge=1)
    weight_decay: float = 0.01
    dropout: float = Field(0.1, ge=0, lt=1)
    valid_every: int = Field(200, ge=1)
    seed: int = 0
    init: str | None = None


def fit_learned(
    spec: CodeSpec,
    items: Sequence[CodeItem],
    held_out: Sequence[CodeItem],
    config: LearnedCoderConfig,
    *,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    report: Callable[[str], None] | None = None,
) -> LearnedCoder:
    """Train on random packets of `items`, which are taken as one long sequence, as files hold speech after speech.

    Args:
        held_out: codes to choose the best step by, in whole packets and with all levels.
        report: told what the held-out codes cost, at every look.

    Raises BadDataError for codes too short to train on, ConfigError for codebooks or a state that no coder can have,
    TrainingError if the loss is not finite.
    """
    for item in [*items, *held_out]:
        check_codes(spec, item.codes)
    codes = torch.from_numpy(np.concatenate([item.codes for item in items], axis=1))
    if codes.shape[1] < PACKET_FRAMES:
        raise BadDataError(f"{codes.shape[1]} frames to train on; a coder needs at least {PACKET_FRAMES}")
    torch.manual_seed(config.seed)
    network = CoderNetwork(spec.codebook_sizes, state=config.state, dropout=config.dropout).to(device)
    try:  # now, not after the training
        network.to_coder()
    except ValueError as error:
        raise ConfigError(f"a learned coder can't have such codebooks and state: {error}") from None
    if config.init is not None:
        network.start_from(_learned(config.init))
    decay = config.weight_decay
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.9, 0.98), weight_decay=decay)
    drawn = np.random.default_rng(config.seed)
    best, coder = math.inf, None
    for step in range(config.steps):
        rate = min(1.0, (step + 1) / config.warmup_steps) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        optimizer.param_groups[0]["lr"] = config.learning_rate * rate
        loss = _loss(network, codes, _levels(drawn, spec.num_quantizers), drawn, config.batch_size, device)
        if not math.isfinite(loss.item()):
            raise TrainingError(f"the loss is {loss.item()} at step {step}; take a smaller learning_rate")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if progress is not None:
            progress(step + 1, config.steps)
        if (step + 1) % config.valid_every == 0 or step + 1 == config.steps:
            found = network.to_coder()
            bits = score_coder(found, held_out)
            if report is not None:
                report(f"step {step + 1}: held out {bits.mean():.4f} bits/code")
            if bits.mean() < best:
                best, coder = float(bits.mean()), found
    assert coder is not None  # the last step is looked at
    return coder


def _learned(file: str) -> LearnedCoder:
    coder = load_coder(file)
    if not isinstance(coder, LearnedCoder):
        raise ConfigError(f"init: {file} is a coder by tables; give a learned one")
    return coder


def _loss(
    network: CoderNetwork, codes: Tensor, levels: int, drawn: np.random.Generator, batch_size: int, device: str
) -> Tensor:
    """Nats per frame of random packets, with so many levels."""
    first = drawn.integers(0, codes.shape[1] - PACKET_FRAMES + 1, batch_size)
    batch = torch.stack([codes[:levels, i : i + PACKET_FRAMES] for i in first])
    nats = network(batch.to(device), share=SHARE)
    return torch.stack([own.mean() for own in nats]).sum()


def _levels(drawn: np.random.Generator, all_levels: int) -> int:
    """How many of the levels a batch has: half of the time two, as recordings have by default, else one, or all."""
    return min(all_levels, int(drawn.choice([1, 2, all_levels], p=[0.3, 0.5, 0.2])))
