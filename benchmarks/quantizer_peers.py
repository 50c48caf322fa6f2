"""The vector quantizers that benchmarks/quantizer.py compares: ours as it is used, the others at their quickest.

Ours runs with a mask, dead-code restart and metrics. The others have none of these switched on: plain straight-through,
no restart, no k-means. All get rows [B, F, D] that lie contiguous, and the same codebooks.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from audiovq.quantize import ResidualVQ, VectorQuantizer

NEVER = 1 << 60  # steps


@dataclass
class Candidate:
    """A quantizer, how it is trained and how it gives codes.

    Attributes:
        module: in training mode `forward` learns, in eval mode `assign` encodes.
        forward: x [B, F, D] -> z_q [B, F, D] and a scalar loss.
        assign: x [B, F, D] -> codes.
        level_dim: where `assign` has the levels, if there are several.
    """

    module: nn.Module
    forward: Callable[[Tensor], tuple[Tensor, Tensor]]
    assign: Callable[[Tensor], Tensor]
    level_dim: int = -1


def audiovq(codebooks: Sequence[Tensor], mask: Tensor) -> Candidate:
    """Ours; mask: [B, F], as from the lengths of a batch."""
    size, dim = codebooks[0].shape
    if len(codebooks) == 1:
        module = VectorQuantizer(dim, size, channel_dim=-1)
        levels = [module]
    else:
        module = ResidualVQ.of(dim, len(codebooks), size, channel_dim=-1)
        levels = list(module.levels)
    rows = mask.numel()
    for level, codebook in zip(levels, codebooks, strict=True):
        counts = torch.full((size,), rows / size, device=mask.device)
        state = {"codebook": codebook, "ema_counts": counts, "ema_sums": codebook * counts[:, None]}
        level.load_state_dict(state | {"initialised": torch.tensor(True)})

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        out = module(x, mask)
        return out.z_q, out.loss

    return Candidate(module.to(mask.device), forward, module.encode)


def vector_quantize_pytorch(codebooks: Sequence[Tensor], mask: Tensor) -> Candidate:
    """The package of that name; it has no encode, so assignment is forward in eval mode."""
    package = importlib.import_module("vector_quantize_pytorch")
    size, dim = codebooks[0].shape
    options = dict(dim=dim, codebook_size=size, decay=0.99, rotation_trick=False, threshold_ema_dead_code=0)
    if len(codebooks) == 1:
        module = package.VectorQuantize(**options)
        levels = [module]
    else:
        module = package.ResidualVQ(num_quantizers=len(codebooks), **options)
        levels = list(module.layers)
    for level, codebook in zip(levels, codebooks, strict=True):
        count = mask.numel() / size
        level._codebook.embed.data.copy_(codebook[None])
        level._codebook.embed_avg.data.copy_(codebook[None] * count)
        level._codebook.cluster_size.data.fill_(count)
    module.to(mask.device)

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        z_q, _, loss = module(x)
        return z_q, loss.sum()

    return Candidate(module, forward, lambda x: module(x)[1])


def encodec(codebooks: Sequence[Tensor], mask: Tensor) -> Candidate:
    """EnCodec's quantizer."""
    core = importlib.import_module("encodec.quantization.core_vq")
    size, dim = codebooks[0].shape
    options = dict(dim=dim, codebook_size=size, kmeans_init=False, threshold_ema_dead_code=0)
    module, levels = _core_vq(core, len(codebooks), options)
    for level, codebook in zip(levels, codebooks, strict=True):
        count = mask.numel() / size
        level._codebook.embed.copy_(codebook)
        level._codebook.embed_avg.copy_(codebook * count)
        level._codebook.cluster_size.fill_(count)
    return _core_vq_candidate(module.to(mask.device))


def moshi(codebooks: Sequence[Tensor], mask: Tensor) -> Candidate:
    """Mimi's quantizer, its check for unused codes put off for ever."""
    core = _import_part("moshi", "quantization.core_vq")
    size, dim = codebooks[0].shape
    options = dict(dim=dim, codebook_size=size, check_unused_every=NEVER)
    if len(codebooks) > 1:
        options |= dict(codebook_offset=0)
    module, levels = _core_vq(core, len(codebooks), options)
    for level, codebook in zip(levels, codebooks, strict=True):
        count = mask.numel() / size
        level._codebook.embedding_sum.copy_(codebook * count)
        level._codebook.cluster_usage.fill_(count)
        level._codebook._initialized.fill_(1)
    return _core_vq_candidate(module.to(mask.device))


def _core_vq(core: ModuleType, count: int, options: dict[str, Any]) -> tuple[nn.Module, list[nn.Module]]:
    """EnCodec's and Mimi's file core_vq.py have one origin and the same classes."""
    if count == 1:
        module = core.VectorQuantization(**options)
        return module, [module]
    module = core.ResidualVectorQuantization(num_quantizers=count, **options)
    return module, list(module.layers)


def _core_vq_candidate(module: nn.Module) -> Candidate:
    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        out = module(x.transpose(1, 2))  # a view: they turn it back and have contiguous rows
        return out[0].transpose(1, 2), out[2].sum()

    return Candidate(module, forward, lambda x: module.encode(x.transpose(1, 2)), level_dim=0)


def descript_audio_codec(codebooks: Sequence[Tensor], mask: Tensor) -> Candidate:
    """DAC's quantizer without its projections. It looks up by cosine, so its codes differ, and learns by gradient."""
    core = _import_part("dac", "nn.quantize")
    size, dim = codebooks[0].shape
    if len(codebooks) == 1:
        module = core.VectorQuantize(dim, size, dim)
        levels = [module]
    else:
        module = core.ResidualVectorQuantize(dim, len(codebooks), size, dim)
        levels = list(module.quantizers)
    for level, codebook in zip(levels, codebooks, strict=True):
        level.in_proj, level.out_proj = nn.Identity(), nn.Identity()
        level.codebook.weight.data.copy_(codebook)
    module.to(mask.device)
    single = len(codebooks) == 1

    def forward(x: Tensor) -> tuple[Tensor, Tensor]:
        out = module(x.transpose(1, 2))
        return out[0].transpose(1, 2), (out[1] + out[2]).mean() if single else out[3] + out[4]

    def assign(x: Tensor) -> Tensor:
        return module.decode_latents(x.transpose(1, 2))[1] if single else module(x.transpose(1, 2))[1]

    return Candidate(module, forward, assign, level_dim=1)


PEERS: dict[str, Callable[[Sequence[Tensor], Tensor], Candidate]] = {
    "vector-quantize-pytorch": vector_quantize_pytorch,
    "encodec": encodec,
    "descript-audio-codec": descript_audio_codec,
    "moshi": moshi,
}


def _import_part(package: str, part: str) -> ModuleType:
    """Import package.part without running the `__init__` of package and of what lies between: they import the whole
    codec, and with it far more than its quantizer needs."""
    whole = f"{package}.{part}"
    if whole in sys.modules:
        return sys.modules[whole]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    folders = list(spec.submodule_search_locations)
    parents = whole.split(".")[:-1]
    for i in range(len(parents)):
        stand_in = ModuleType(".".join(parents[: i + 1]))
        stand_in.__path__ = ["/".join([folder, *parents[1 : i + 1]]) for folder in folders]
        sys.modules.setdefault(stand_in.__name__, stand_in)
    return importlib.import_module(whole)
