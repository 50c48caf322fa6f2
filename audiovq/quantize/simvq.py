"""SimVQ (arXiv 2411.02038): a codebook that moves as a whole, so that no code is left behind.

Its vectors are C W: C is random and frozen, the linear map W learns. A gradient that reaches one code moves all.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.quantize.base import Quantizer
from audiovq.quantize.gradients import straight_through
from audiovq.quantize.output import VQOutput, code_use, mean_square
from audiovq.quantize.search.nearest import nearest, valid_rows


class SimVQ(Quantizer):
    """Replaces each vector by the nearest of K vectors that are a learned linear map of a frozen random basis.

    Args:
        dim: channels of the input.
        codebook_size: K.
        codebook_dim: D of the codebook; if it differs from `dim`, a linear layer leads in and one out.
        channel_dim: axis of the channels.
        beta: weight of the commitment loss beta |z_e - sg[z_q]|^2; the codebook loss |sg[z_e] - z_q|^2 has weight 1.

    The basis is drawn from N(0, 1/D), and the map starts as the identity with no offset (the offset is the bias of the
    authors' layer). There are no dead codes to restart and no averages: the model's optimizer trains the map. Each
    call multiplies the whole basis by the map, K D^2 operations: little beside a batch, much beside a single vector.
    """

    basis: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        *,
        codebook_dim: int | None = None,
        channel_dim: int = 1,
        beta: float = 0.25,
    ) -> None:
        if codebook_size < 1 or dim < 1:
            raise ValueError(f"dim is {dim}, codebook_size is {codebook_size}; both must be at least 1")
        codebook_dim = dim if codebook_dim is None else codebook_dim
        super().__init__(dim, codebook_dim, channel_dim)
        self.codebook_dim = codebook_dim
        self.beta = beta
        self.register_buffer("basis", torch.randn(codebook_size, codebook_dim, dtype=torch.float32) / codebook_dim**0.5)
        # Parameters of our own, not an nn.Linear: they stay float32 when the module is cast.
        self.weight = nn.Parameter(torch.eye(codebook_dim, dtype=torch.float32))
        self.bias = nn.Parameter(torch.zeros(codebook_dim, dtype=torch.float32))

    @property
    def codebook(self) -> Tensor:
        """The codebook as it is now, C W: [K, D] float32, computed at each call."""
        return F.linear(self.basis, self.weight, self.bias)

    @property
    def codebook_sizes(self) -> list[int]:
        return [self.basis.shape[0]]

    @property
    def codebook_buffers(self) -> list[Tensor]:
        return [self.basis]

    @property
    def identity_gradient(self) -> bool:
        return self.codebook_dim == self.dim

    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        if mask is not None:
            x = x.masked_fill(~mask.unsqueeze(1), 0)
        z_e = x.detach()
        codebook = self.codebook
        codes = nearest(z_e, codebook)
        e = F.embedding(codes, codebook)
        if mask is not None:
            codes, e = codes.masked_fill(~mask, -1), e.masked_fill(~mask.unsqueeze(1), 0)
        # The gradient of the codebook is a sum over all rows: one row of NaN must not reach the map. Its own
        # commitment stays NaN, for whoever watches the loss.
        finite = valid_rows(z_e, mask)
        losses = {
            "commitment": self.beta * mean_square(x - e.detach(), mask),
            "codebook": mean_square(z_e - e, finite),
        }
        stats = code_use(codes[finite], self.codebook_size)
        return VQOutput(straight_through(x, e.detach()), codes, sum(losses.values(), x.new_zeros(())), losses, stats)

    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        return nearest(x, self.codebook)

    def _lookup(self, codes: Tensor) -> Tensor:
        return F.embedding(codes.clamp(min=0), self.codebook)
