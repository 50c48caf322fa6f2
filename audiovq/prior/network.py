"""Trained priors: an embedding, a backbone over positions, and a head that goes through a position's levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.layers.levels import DepthHead, LevelEmbedding
from audiovq.layers.logistic import LOG2_E
from audiovq.prior.backbones import build_backbone
from audiovq.prior.base import Codes, Prior, Probabilities, Stepper
from audiovq.prior.config import CountedConfig, PriorConfig


class NetworkPrior(nn.Module, Prior):
    """An autoregressive network over codes, in the order that `audiovq.prior.base` states.

    Args:
        config: a network kind; the weights are random.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        kind, spec = config.prior, config.codes
        assert not isinstance(kind, CountedConfig)
        self.config = config
        label_dim = kind.label_dim if spec.labels else 0
        self.labels = nn.Embedding(len(spec.labels), label_dim) if spec.labels else None
        self.embedding = LevelEmbedding(spec.codebook_sizes, kind.channels)
        self.backbone = build_backbone(kind, spec.layout, label_dim)
        self.head = DepthHead(kind.channels, spec.codebook_sizes)

    def logits(self, codes: Tensor, label: Tensor | None = None) -> list[Tensor]:
        """codes: `[B, Q, *space]` (-1: none), label: indices `[B]` -> logits of each level, `[B, *space, K]`."""
        embedded = [self.embedding(codes[:, level], level) for level in range(codes.shape[1])]
        features = self.backbone(torch.stack(embedded).sum(0), self.condition(label))
        coarser, found = torch.zeros_like(features), []
        for level, vectors in enumerate(embedded):
            found.append(self.head(level, features, coarser))
            coarser = coarser + vectors
        return found

    def nats(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """-ln p of every code, in the shape of `codes` `[B, Q, *space]`; 0 where there is none (-1)."""
        losses = [
            F.cross_entropy(logits.movedim(-1, 1), codes[:, level], ignore_index=-1, reduction="none")
            for level, logits in enumerate(self.logits(codes, label))
        ]
        return torch.stack(losses, dim=1)

    def condition(self, label: Tensor | None) -> Tensor | None:
        """Label indices `[B]` -> `[B, label_dim]`; None for a prior without labels."""
        if self.labels is None:
            return None
        if label is None:
            raise ValueError("this prior is conditioned on a label: pass indices")
        return self.labels(label)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.table.weight.device

    @torch.inference_mode()
    def bits(self, codes: Codes, label: str | None = None) -> Probabilities:
        """See `Prior.bits`."""
        self.check(codes)
        index = self.label_index(label)
        if not codes.size:
            return np.zeros(codes.shape)
        batch = torch.from_numpy(np.ascontiguousarray(codes, np.int64)).unsqueeze(0).to(self.device)
        nats = self.nats(batch, None if index is None else torch.tensor([index], device=self.device))
        return nats[0].double().cpu().numpy() * LOG2_E

    @torch.inference_mode()
    def steps(self, batch_size: int, space: Sequence[int], label: str | None = None) -> Stepper:
        """See `Prior.steps`; what was computed for earlier positions is kept."""
        return NetworkSteps(self, batch_size, space, self.label_index(label))

    def tensors(self) -> dict[str, Tensor]:
        """The weights."""
        return self.state_dict()

    def num_parameters(self) -> int:
        """Weights."""
        return sum(p.numel() for p in self.parameters())


class NetworkSteps(Stepper):
    """The network a code at a time: the backbone goes on once a position, the head once a code."""

    def __init__(self, prior: NetworkPrior, batch_size: int, space: Sequence[int], label: int | None) -> None:
        self.prior, self.level = prior, 0
        index = None if label is None else torch.full((batch_size,), label, device=prior.device)
        self.backbone = prior.backbone.steps(batch_size, space, prior.condition(index))
        self.zeros = prior.embedding.table.weight.new_zeros(batch_size, prior.embedding.table.embedding_dim)
        self.coarser = self.zeros
        self.before: Tensor | None = None  # the embedded position before
        self.features: Tensor | None = None

    @torch.inference_mode()
    def log_probabilities(self) -> Probabilities:
        """See `Stepper`."""
        if self.features is None:
            self.features = self.backbone.advance(self.before)
        logits = self.prior.head(self.level, self.features, self.coarser)
        return torch.log_softmax(logits.double(), dim=-1).cpu().numpy()

    @torch.inference_mode()
    def push(self, codes: Codes) -> None:
        """See `Stepper`."""
        if self.features is None:
            self.features = self.backbone.advance(self.before)
        embedding = self.prior.embedding
        rows = torch.from_numpy(codes + embedding.offsets[self.level]).to(self.prior.device)
        vectors = embedding.table.weight.index_select(0, rows)  # none of the codes is -1: no mask
        self.coarser = self.coarser + vectors if self.level else vectors
        self.level += 1
        if self.level == self.prior.spec.num_quantizers:
            self.before, self.coarser, self.features, self.level = self.coarser, self.zeros, None, 0
