"""The contract of a quantizer, and what all share: layout, projections, masks and precision."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from audiovq.quantize.output import VQOutput


class Quantizer(nn.Module, ABC):
    """Vectors to integer codes and back. This class is the contract, which `tests/quantize/test_contract.py` holds.

    A subclass gives `codebook_sizes` and three methods on flat rows [N, inner] in float32: `_quantize`, `_assign` and
    `_lookup`. It overrides the other properties of the first section where their defaults don't fit. It leaves
    `forward`, `encode` and `decode` as they are. Then every quantizer promises:

    - In eval mode, forward equals decode(encode) bit for bit. `_quantize` therefore takes z_q from `_lookup`, or
      computes it in the same way.
    - Codes are int64 in 0..K-1, whatever a row holds, NaN too. A row of NaN changes no state and no other row.
    - A masked position gets code -1 and z_q 0. What it holds reaches no loss, statistic, gradient or state.
    - Only training mode changes state, and not within `hold_updates`. All ranks change it alike.
    - Arithmetic ignores autocast. The quantizer's own state stays float32 under `.to(bfloat16)` and the like; results
      have the dtype that the module was cast to.

    Args:
        dim: channels of the input.
        inner_dim: channels of the rows; if it differs from `dim`, a linear layer leads in and one out.
        channel_dim: axis of the channels: audio [B, C, F], images [B, C, H, W] and channel-last tensors take one path.
            All other axes are positions, each of which gets a code.
    """

    def __init__(self, dim: int, inner_dim: int, channel_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.channel_dim = channel_dim
        self.output_dtype = torch.get_default_dtype()
        self.project_in: nn.Module = nn.Linear(dim, inner_dim) if dim != inner_dim else nn.Identity()
        self.project_out: nn.Module = nn.Linear(inner_dim, dim) if dim != inner_dim else nn.Identity()
        self._holds = 0

    # What a subclass says about itself.

    @property
    @abstractmethod
    def codebook_sizes(self) -> list[int]:
        """Number of codes of each level."""

    @property
    def codebook_size(self) -> int:
        """Number of codes of a level; a ValueError where levels differ."""
        sizes = set(self.codebook_sizes)
        if len(sizes) > 1:
            raise ValueError(f"levels have different codebook sizes {self.codebook_sizes}: use codebook_sizes")
        return sizes.pop()

    @property
    def num_quantizers(self) -> int:
        """Number of levels; 1 for all but `ResidualVQ`, `GroupedVQ` and `SplitVQ`."""
        return 1

    @property
    def min_quantizers(self) -> int:
        """The fewest levels that can be decoded; 1 for all but `GroupedVQ`."""
        return 1

    @property
    def ready(self) -> bool:
        """False until a codebook that waits for its first training batch has been initialised."""
        return True

    @property
    def codebook_buffers(self) -> list[Tensor]:
        """Its own codebooks that are no parameters, but count among the weights of a model (see `num_weights`)."""
        return []

    @property
    def training_state(self) -> dict[str, Tensor]:
        """Its own buffers that only training needs, as they start from a codebook alone: a saved model lacks them."""
        return {}

    @property
    def identity_gradient(self) -> bool:
        """Whether d z_q / d z is exactly the identity; if not, the quantizer carries a gradient of its own.

        If so, `_quantize` gives 0 and no gradient in rows that are masked, whatever they hold.
        """
        return False

    @abstractmethod
    def _quantize(self, x: Tensor, mask: Tensor | None, num_quantizers: int | None, items: int) -> VQOutput:
        """Rows [N, inner] float32 of a batch of `items` -> z_q [N, inner] with gradient, codes [N] or [N, Q], ..."""

    @abstractmethod
    def _assign(self, x: Tensor, num_quantizers: int | None) -> Tensor:
        """Rows [N, inner] float32 -> codes [N] or [N, Q]."""

    @abstractmethod
    def _lookup(self, codes: Tensor) -> Tensor:
        """Codes [N] or [N, Q], all >= -1 -> rows [N, inner] float32; a row of -1 may give anything finite."""

    # What everyone calls.

    def forward(self, z: Tensor, mask: Tensor | None = None, *, num_quantizers: int | None = None) -> VQOutput:
        """Quantize features and, in training mode, update the codebook.

        Args:
            z: features with `dim` channels on `channel_dim`, e.g. [B, C, F] or [B, C, H, W].
            mask: bool of z's shape without the channel axis, True = valid. Positions that are not valid get code -1
                and z_q 0, and have no part in losses and statistics.
            num_quantizers: use the first n levels only (`ResidualVQ`).
        """
        rows, shape = self._flatten(z)
        if mask is not None and mask.shape != shape:
            raise ValueError(f"mask is {list(mask.shape)}, want {list(shape)}: z's shape without the channel axis")
        self._check_levels(num_quantizers)
        flat_mask = None if mask is None else mask.reshape(-1).bool()
        with self._no_autocast(z):
            # What stands in padding must not reach a gradient. An identity leaves it where it is: nothing to do then.
            guard = None if flat_mask is None or self.identity_gradient else ~flat_mask.unsqueeze(1)
            if guard is not None:
                rows = rows.masked_fill(guard, 0)
            x = self._project(self.project_in, rows).float()
            out = self._quantize(x, flat_mask, num_quantizers, items=shape[0] if shape else 1)
            z_q = self._project(self.project_out, out.z_q)
            if guard is not None:
                z_q = z_q.masked_fill(guard, 0)
            out.z_q = self._unflatten(z_q.to(self.output_dtype), shape)
        out.codes = self._unflatten(out.codes, shape) if out.codes.ndim == 2 else out.codes.view(shape)
        return out

    def encode(self, z: Tensor, num_quantizers: int | None = None, *, mask: Tensor | None = None) -> Tensor:
        """Features as in `forward` -> codes int64; their decode equals the z_q of forward in eval mode bit for bit."""
        if mask is not None:
            return self._masked_codes(self.encode(z, num_quantizers), mask)
        rows, shape = self._flatten(z)
        self._check_levels(num_quantizers)
        with torch.no_grad(), self._no_autocast(z):
            codes = self._encode_rows(rows, num_quantizers)
        return self._unflatten(codes, shape) if codes.ndim == 2 else codes.view(shape)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes as `encode` gives them -> z_q in the module's dtype; -1 is padding and gives 0.

        Raises ValueError if a code is below -1 or not below the codebook's size.
        """
        by_level = self._has_level_axis()
        flat = codes.movedim(self.channel_dim, -1) if by_level else codes
        shape = flat.shape[:-1] if by_level else flat.shape
        flat = flat.flatten(0, -2) if by_level else flat.flatten()
        self._check_codes(flat)
        flat = flat.long()
        with self._no_autocast(codes):
            return self._unflatten(self._decode_rows(flat), shape)

    @contextmanager
    def hold_updates(self) -> Iterator[None]:
        """Inside, training mode leaves codebooks as they are. (One that was never initialised still is, once.)

        For all but one micro-batch of gradient accumulation, and for the first pass under activation checkpointing:
        the recomputation then sees the same codebooks, and learns.

        >>> contexts = lambda: (quantizer.hold_updates(), contextlib.nullcontext())  # of first pass, of recomputation
        >>> torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False, context_fn=contexts)
        """
        held = [module for module in self.modules() if isinstance(module, Quantizer)]
        for module in held:
            module._holds += 1
        try:
            yield
        finally:
            for module in held:
                module._holds -= 1

    def _encode_rows(self, rows: Tensor, num_quantizers: int | None = None) -> Tensor:
        """[N, C] -> codes [N] or [N, Q]."""
        return self._assign(self._project(self.project_in, rows).float(), num_quantizers)

    def _decode_rows(self, codes: Tensor) -> Tensor:
        """Codes [N] or [N, Q], all in range -> [N, C] in the module's dtype; 0 where the (first level's) code is -1."""
        z_q = self._project(self.project_out, self._lookup(codes))
        padding = codes < 0 if codes.ndim == 1 else codes[:, 0] < 0
        return z_q.masked_fill(padding.unsqueeze(1), 0).to(self.output_dtype)

    def extra_repr(self) -> str:
        """The constructor's arguments that it keeps as attributes, those without a default unnamed."""
        kept = [option for option in inspect.signature(type(self)).parameters.values() if hasattr(self, option.name)]
        names = ["" if option.default is option.empty else f"{option.name}=" for option in kept]
        return ", ".join(f"{name}{getattr(self, option.name)!r}" for name, option in zip(names, kept, strict=True))

    # Layout.

    def _has_level_axis(self) -> bool:
        return False

    def _flatten(self, z: Tensor) -> tuple[Tensor, torch.Size]:
        """[..., C at channel_dim, ...] -> rows [N, C] and the shape of the positions."""
        if z.shape[self.channel_dim] != self.dim:
            raise ValueError(
                f"z is {list(z.shape)}: axis {self.channel_dim} has {z.shape[self.channel_dim]} channels, "
                f"the quantizer needs {self.dim}; set channel_dim or dim"
            )
        last = z.movedim(self.channel_dim, -1)
        return last.reshape(-1, self.dim), last.shape[:-1]

    def _unflatten(self, rows: Tensor, shape: torch.Size) -> Tensor:
        return rows.view(*shape, rows.shape[-1]).movedim(-1, self.channel_dim)

    def _masked_codes(self, codes: Tensor, mask: Tensor) -> Tensor:
        by_position = mask.unsqueeze(self.channel_dim) if self._has_level_axis() else mask
        return codes.masked_fill(~by_position, -1)

    def _project(self, projection: nn.Module, rows: Tensor) -> Tensor:
        return projection(rows.to(projection.weight.dtype)) if isinstance(projection, nn.Linear) else rows

    # Checks.

    def _check_levels(self, num_quantizers: int | None) -> None:
        if num_quantizers is not None and not self.min_quantizers <= num_quantizers <= self.num_quantizers:
            raise ValueError(f"num_quantizers is {num_quantizers}, want {self.min_quantizers} to {self.num_quantizers}")

    def _check_codes(self, codes: Tensor) -> None:
        """codes [N] or [N, Q]."""
        if codes.is_floating_point() or codes.dtype == torch.bool:
            raise ValueError(f"codes are {codes.dtype}, want integers")
        levels = codes.unsqueeze(1) if codes.ndim == 1 else codes
        if not 1 <= levels.shape[1] <= self.num_quantizers:
            raise ValueError(f"codes have {levels.shape[1]} levels, the quantizer decodes 1 to {self.num_quantizers}")
        if torch.compiler.is_compiling() or codes.numel() == 0:
            return  # a traced graph can't branch on values; there the lookup itself fails
        low, high = levels.amin(dim=0).tolist(), levels.amax(dim=0).tolist()
        for level, size in enumerate(self.codebook_sizes[: levels.shape[1]]):
            if low[level] < -1 or high[level] >= size:
                bad = low[level] if low[level] < -1 else high[level]
                raise ValueError(f"code {bad} at level {level}, want 0 to {size - 1}, or -1 for padding")

    # Precision.

    @staticmethod
    def _no_autocast(z: Tensor) -> AbstractContextManager[Any]:
        if torch.is_autocast_enabled(z.device.type):
            return torch.autocast(z.device.type, enabled=False)
        return nullcontext()  # no context where none is needed: torch.export would record it

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Quantizer:
        """Moves own state with the module but keeps its dtype: counts lose small additions in half precision."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        self.output_dtype = fn(torch.empty(0, dtype=self.output_dtype)).dtype

        def move(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

        super()._apply(move, recurse=False)
        return self


def num_weights(model: nn.Module) -> int:
    """Parameters of a model, and the codebooks of its quantizers that are buffers."""
    codebooks = (table for part in model.modules() if isinstance(part, Quantizer) for table in part.codebook_buffers)
    return sum(tensor.numel() for tensor in [*model.parameters(), *codebooks])


def training_state(model: nn.Module) -> dict[str, Tensor]:
    """The `training_state` of all quantizers of a model, by their names in its state dict."""
    parts = {name: part for name, part in model.named_modules() if isinstance(part, Quantizer)}
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.training_state.items()}
