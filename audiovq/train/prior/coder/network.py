"""The network of a `LearnedCoder` in floats, computing with rounded weights and activations as the coder will.

The equations are in `audiovq.prior.coder.learned`. What is not rounded here are gates and exponentials, whose tables
are fine enough: the coder's bits differ from this network's by far less than 1 %.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.errors import ConfigError
from audiovq.prior.coder.integers import STEPS_PER_NAT
from audiovq.prior.coder.learned import (
    EMBEDDING_BITS,
    HEAD_BITS,
    LOGIT_BITS,
    MATRIX_BITS,
    OUTPUT_BITS,
    STATE_BITS,
    SUM_BITS,
    LearnedCoder,
)
from audiovq.train.prior.coder.rounding import to_integers, with_rounding


class CoderNetwork(nn.Module):
    """A GRU over frames and a head for each level.

    Args:
        codebook_sizes: of each level.
        state: width of the GRU.
        embeddings, hidden: widths of each level's embedding and of its head; levels beyond take the last. The first
            level has no hidden layer.
        inputs: levels that the GRU sees.
        dropout: of the state that the heads see, in training.
    """

    def __init__(
        self,
        codebook_sizes: Sequence[int],
        *,
        state: int = 160,
        embeddings: Sequence[int] = (72, 72, 16),
        hidden: Sequence[int] = (0, 96, 48),
        inputs: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.codebook_sizes, self.state, self.dropout = tuple(codebook_sizes), state, dropout
        self.inputs = min(inputs, len(codebook_sizes))
        widths = [embeddings[min(q, len(embeddings) - 1)] for q in range(len(codebook_sizes))]
        heads = [hidden[min(q, len(hidden) - 1)] if q else state for q in range(len(codebook_sizes))]
        self.recurrent, self.bias = _matrix(3 * state, state), _zeros(3 * state)
        self.bias_new = _zeros(state)
        with torch.no_grad():
            self.bias[state : 2 * state] = -1.0  # keep most of the state at first
        self.levels = nn.ModuleList()
        for q, (size, width, head) in enumerate(zip(codebook_sizes, widths, heads, strict=True)):
            level = nn.ParameterDict(
                {
                    "embedding": nn.Parameter(0.25 * torch.randn(size, width)),
                    "bias": _zeros(size),
                    "output": _matrix(width, head),
                    "output_bias": _zeros(width),
                }
            )
            if q < self.inputs:
                level["input"] = _matrix(3 * state, width)
            if q:
                level.update({"hidden": _matrix(head, state), "hidden_bias": _zeros(head)})
                level.update({f"below_{j}": _matrix(head, widths[j]) for j in range(q)})
            self.levels.append(level)

    def forward(self, codes: Tensor, share: float = 1.0) -> list[Tensor]:
        """Nats of codes `[B, Q, F]`, Q any prefix of the levels: of each level `[B, n]`.

        Args:
            share: of the frames that levels after the first are judged by, drawn at random: they have less to learn.
        """
        count, frames = codes.shape[1:]
        tables = [with_rounding(level["embedding"], EMBEDDING_BITS) for level in self._levels()[:count]]
        embedded = [F.embedding(own, table) for own, table in zip(codes.unbind(1), tables, strict=True)]
        states = self._states(embedded)
        if self.training:
            states = F.dropout(states, self.dropout)
        nats = []
        for q, table in enumerate(tables):
            if q == 1 and share < 1:
                some = torch.randperm(frames, device=codes.device)[: max(1, round(share * frames))]
                states, codes, embedded = states[:, some], codes[:, :, some], [e[:, some] for e in embedded]
            head = self._head(q, states, embedded[:q])
            with torch.autocast(codes.device.type, torch.bfloat16, enabled=self.training):
                logits = head @ table.T
            logits = (logits + self._levels()[q]["bias"]).flatten(0, 1)
            nats.append(F.cross_entropy(logits, codes[:, q].flatten(), reduction="none").view(len(codes), -1))
        return nats

    def _states(self, embedded: Sequence[Tensor]) -> Tensor:
        """Rounded states `[B, F, H]`, each before its frame is known."""
        width = self.state
        pieces = [
            e[:, :-1] @ with_rounding(level["input"], MATRIX_BITS).T
            for e, level in zip(embedded, self._levels()[: self.inputs], strict=False)
        ]
        given = F.pad(torch.stack(pieces).sum(0), (0, 0, 1, 0)) + self.bias
        recurrent = with_rounding(self.recurrent, MATRIX_BITS).T
        state = rounded = given.new_zeros(len(given), width)
        states = []
        for own in given.unbind(1):
            sums = rounded @ recurrent
            reset, update = torch.sigmoid(own[:, : 2 * width] + sums[:, : 2 * width]).chunk(2, 1)
            new = torch.tanh(torch.addcmul(own[:, 2 * width :], reset, sums[:, 2 * width :] + self.bias_new))
            state = torch.lerp(state, new, update)
            rounded = with_rounding(state, STATE_BITS)
            states.append(rounded)
        return torch.stack(states, 1)

    def _head(self, q: int, states: Tensor, above: Sequence[Tensor]) -> Tensor:
        """What the embeddings of level q are multiplied by."""
        level = self._levels()[q]
        if q:
            sums = states @ with_rounding(level["hidden"], MATRIX_BITS).T + level["hidden_bias"]
            for j, embedded in enumerate(above):
                sums = sums + embedded @ with_rounding(level[f"below_{j}"], MATRIX_BITS).T
            states = with_rounding(sums.clamp(0, 4), HEAD_BITS, lowest=0)
        head = states @ with_rounding(level["output"], OUTPUT_BITS).T + level["output_bias"]
        return with_rounding(head.clamp(-4, 4), HEAD_BITS)

    def to_coder(self) -> LearnedCoder:
        """The coder of the same weights, in whole numbers."""
        found = {}
        for name, values in self._named():
            kind = torch.int32 if values.ndim == 1 else torch.int8
            found[name] = to_integers(values, _bits(name), kind).cpu().numpy()
        return LearnedCoder(found)

    def start_from(self, coder: LearnedCoder) -> None:
        """Take the weights of a coder of the same shapes; ConfigError for another."""
        own = dict(self._named())
        shapes = {name: tuple(values.shape) for name, values in own.items()}
        if shapes != {name: values.shape for name, values in coder.tensors.items()}:
            raise ConfigError("init: a coder of other widths or codebooks; train without init, or with its state")
        with torch.no_grad():
            for name, values in own.items():
                values.copy_(torch.from_numpy(coder.tensors[name]) / 2.0 ** _bits(name))

    def _levels(self) -> list[nn.ParameterDict]:
        return cast(list[nn.ParameterDict], list(self.levels))

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        """Weights by the names that a coder has for them."""
        yield from (("recurrent", self.recurrent), ("bias", self.bias), ("bias_new", self.bias_new))
        for q, level in enumerate(self._levels()):
            for name, values in level.items():
                yield f"{q}.{name.replace('below_', 'below.')}", values


def _bits(name: str) -> int:
    """Of a tensor: 1 is stored as 2^bits."""
    level, _, part = name.rpartition(".") if "below" not in name else ("", "", "below")
    head = OUTPUT_BITS + (STATE_BITS if level == "0" else HEAD_BITS)
    logit = LOGIT_BITS + STEPS_PER_NAT.bit_length() - 1
    of_levels = {"embedding": EMBEDDING_BITS, "output": OUTPUT_BITS, "output_bias": head, "hidden_bias": SUM_BITS}
    if level and part == "bias":
        return logit
    return of_levels.get(part, SUM_BITS if part in ("bias", "bias_new") else MATRIX_BITS)


def _matrix(rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(rows, columns) / columns**0.5)


def _zeros(length: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(length))
