"""Codebooks of EnCodec, DAC and Mimi as quantizers of ours, made from state dicts alone.

They give the same codes for the same latents [B, C, F], and the same vectors for the same codes, up to float32
rounding. A state dict may be that of the whole model or of its quantizer, from the codec's own package or from
transformers; what it lacks is named in a ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from audiovq.quantize.grouped import SplitVQ
from audiovq.quantize.residual import ResidualVQ
from audiovq.quantize.vq import VectorQuantizer


def encodec_quantizer(state: Mapping[str, Tensor]) -> ResidualVQ:
    """EnCodec's residual quantizer (arXiv 2210.13438), also as AudioCraft saves it.

    The averages under the codebook start afresh from it with EnCodec's counts: its own sums don't belong to it exactly.
    Raises ValueError if a tensor is missing, or if the codebooks still wait for k-means.
    """
    tensors = _find(state, "EnCodec", r"(.*\.)?layers\.0\._?codebook\.(embed|cluster_size)", "layers.0._codebook.embed")
    name = "_codebook" if tensors.holds("layers.0._codebook.") else "codebook"
    levels = []
    for layer in tensors.numbered("layers"):
        if f"{name}.inited" in layer and not layer[f"{name}.inited"].all():
            raise ValueError(f"EnCodec: {layer.prefix}{name}.inited is 0: this codebook was never initialised")
        codebook, counts = layer[f"{name}.embed"], layer[f"{name}.cluster_size"]
        levels.append(_averaged(codebook, counts, codebook * counts.unsqueeze(1)))
    return ResidualVQ(levels)


def dac_quantizer(state: Mapping[str, Tensor]) -> ResidualVQ:
    """DAC's residual quantizer (arXiv 2306.06546): levels with projections of their own, searched by cosine similarity.

    Takes projections with weight norm, in its old and its new form, and without.
    """
    tensors = _find(
        state, "DAC", r"(.*\.)?quantizers\.0\.(in_proj|out_proj|codebook)\..*", "quantizers.0.codebook.weight"
    )
    levels = []
    for layer in tensors.numbered("quantizers"):
        codebook, enter = layer["codebook.weight"], _convolution(layer, "in_proj")
        size, inner = codebook.shape
        level = VectorQuantizer(
            enter.shape[1],
            size,
            codebook_dim=inner,
            update="loss",
            kmeans_init=False,
            distance="cosine",
            unit_length=False,  # codes are searched by their angle, and decoded as they are
        )
        level.load_state_dict(
            {
                **level.state_dict(),
                "codebook": codebook,
                "project_in.weight": enter,
                "project_in.bias": layer["in_proj.bias"],
                "project_out.weight": _convolution(layer, "out_proj"),
                "project_out.bias": layer["out_proj.bias"],
            }
        )
        levels.append(level)
    return ResidualVQ(levels)


def mimi_quantizer(state: Mapping[str, Tensor]) -> SplitVQ:
    """Mimi's split quantizer (arXiv 2410.00037): the semantic levels, then the acoustic ones, on the same input."""
    pattern = r"(.*\.)?(rvq_first|semantic_residual_vector_quantizer)\..*"
    tensors = _find(state, "Mimi", pattern, "rvq_first.vq.layers.0._codebook.embedding_sum")
    if tensors.holds("rvq_first."):
        return SplitVQ([_mimi_branch(tensors.below(name), "vq.layers") for name in ("rvq_first.", "rvq_rest.")])
    names = ("semantic_residual_vector_quantizer.", "acoustic_residual_vector_quantizer.")
    return SplitVQ([_mimi_branch(tensors.below(name), "layers") for name in names])


def _mimi_branch(tensors: _Tensors, layers: str) -> ResidualVQ:
    total, codebook_name = ("embedding_sum", "_codebook") if layers == "vq.layers" else ("embed_sum", "codebook")
    levels = []
    for layer in tensors.numbered(layers):
        sums, counts = layer[f"{codebook_name}.{total}"], layer[f"{codebook_name}.cluster_usage"]
        levels.append(_averaged(sums / counts.clamp(min=1e-5).unsqueeze(1), counts, sums))  # Mimi's own epsilon
    if not (tensors.holds("input_proj.") or tensors.holds("output_proj.")):
        return ResidualVQ(levels)
    enter, leave = tensors["input_proj.weight"].squeeze(-1), tensors["output_proj.weight"].squeeze(-1)
    branch = ResidualVQ(levels, dim=enter.shape[1])
    # Assigned, not loaded: Mimi may project without changing the number of channels.
    branch.project_in, branch.project_out = _linear(enter), _linear(leave)
    return branch


def _averaged(codebook: Tensor, counts: Tensor, sums: Tensor) -> VectorQuantizer:
    level = VectorQuantizer(codebook.shape[1], codebook.shape[0], kmeans_init=False)
    level.load_state_dict({**level.state_dict(), "codebook": codebook, "ema_counts": counts, "ema_sums": sums})
    return level


def _linear(weight: Tensor) -> nn.Linear:
    """A linear layer with this weight [out, in] and no offset."""
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.zero_()
    return linear


def _convolution(tensors: _Tensors, name: str) -> Tensor:
    """Weight of a 1x1 convolution as a matrix [out, in]; g v / |v| where it is kept with weight norm."""
    if f"{name}.weight" in tensors:
        return tensors[f"{name}.weight"].squeeze(-1)
    if tensors.holds(f"{name}.parametrizations."):
        g, v = (tensors[f"{name}.parametrizations.weight.original{i}"] for i in (0, 1))
    else:
        g, v = tensors[f"{name}.weight_g"], tensors[f"{name}.weight_v"]
    return (v * (g / v.norm(dim=(1, 2), keepdim=True))).squeeze(-1)


class _Tensors:
    """The tensors of a state dict whose names begin with a prefix, in float32; a missing one is named."""

    def __init__(self, state: Mapping[str, Tensor], codec: str, prefix: str) -> None:
        self.state, self.codec, self.prefix = state, codec, prefix

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.state

    def __getitem__(self, name: str) -> Tensor:
        if name not in self:
            raise ValueError(f"{self.codec}: the state dict lacks {self.prefix}{name}")
        return self.state[self.prefix + name].detach().float()

    def holds(self, start: str) -> bool:
        """Whether any name goes on like this."""
        return any(name.startswith(self.prefix + start) for name in self.state)

    def below(self, name: str) -> _Tensors:
        return _Tensors(self.state, self.codec, self.prefix + name)

    def numbered(self, name: str) -> list[_Tensors]:
        """The parts NAME.0., NAME.1., ... up to the highest number, and at least the first."""
        pattern = re.compile(re.escape(f"{self.prefix}{name}.") + r"(\d+)\.")
        numbers = [int(match[1]) for match in map(pattern.match, self.state) if match]
        return [self.below(f"{name}.{i}.") for i in range(max(numbers, default=0) + 1)]


def _find(state: Mapping[str, Tensor], codec: str, pattern: str, example: str) -> _Tensors:
    """The part of the state dict that holds the quantizer; group 1 of the pattern is what stands before it."""
    for name in state:
        match = re.fullmatch(pattern, name)
        if match:
            return _Tensors(state, codec, match[1] or "")
    raise ValueError(f"{codec}: the state dict has no quantizer: no key is or ends in {example}")
