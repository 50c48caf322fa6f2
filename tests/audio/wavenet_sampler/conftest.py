"""Small decoders with random weights, and what is drawn from them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from audiovq.audio import LogisticMixture, MuLawSoftmax, WaveNetDecoder
from audiovq.audio.wavenet_sampler import WaveNetSampler

HOP = 16


def make_decoder(
    likelihood: str = "softmax",
    *,
    channels: int = 20,
    gate_channels: int = 37,
    skip_channels: int = 30,
    kernel_size: int = 2,
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 32),
    condition_channels: int = 6,
    speaker_dim: int = 0,
    hop_length: int = HOP,
    gain: float = 1.5,
    seed: int = 0,
) -> WaveNetDecoder:
    """Default sizes fill no register and no quad; `gain` makes the outputs vary more than initial weights do."""
    torch.manual_seed(seed)
    chosen = (
        MuLawSoftmax(channels, levels=256)
        if likelihood == "softmax"
        else LogisticMixture(channels, mixtures=3, sample_bits=16)
    )
    decoder = WaveNetDecoder(
        8,
        hop_length=hop_length,
        likelihood=chosen,
        channels=channels,
        gate_channels=gate_channels,
        skip_channels=skip_channels,
        kernel_size=kernel_size,
        dilations=dilations,
        condition_channels=condition_channels,
        speaker_dim=speaker_dim,
    ).eval()
    for parameter in decoder.parameters():
        parameter.data.mul_(gain)
    return decoder


@dataclass
class Case:
    """Inputs for one call."""

    z_q: Tensor
    speaker: Tensor | None
    waveform: Tensor
    uniforms: Tensor


def make_case(decoder: WaveNetDecoder, length: int, *, batch_size: int = 1, seed: int = 1) -> Case:
    generator = torch.Generator().manual_seed(seed)
    frames = -(-length // decoder.hop_length)
    speaker_dim = decoder.stack.wavenet_layers[0].condition.in_features - decoder.local_condition.out_channels
    return Case(
        z_q=torch.randn(batch_size, 8, frames, generator=generator),
        speaker=torch.randn(batch_size, speaker_dim, generator=generator) if speaker_dim else None,
        waveform=2 * torch.rand(batch_size, 1, length, generator=generator) - 1,
        uniforms=torch.rand(batch_size, length, dtype=torch.float64, generator=generator),
    )


def parallel_outputs(decoder: WaveNetDecoder, case: Case) -> Tensor:
    with torch.inference_mode():
        return decoder(case.waveform, case.z_q, case.speaker)


def forced_outputs(sampler: WaveNetSampler, case: Case) -> Tensor:
    _, outputs = sampler.sample(sampler.condition(case.z_q, case.speaker), case.uniforms, teacher=case.waveform)
    return outputs


def drawn(sampler: WaveNetSampler, case: Case, **options) -> Tensor:
    return sampler.sample(sampler.condition(case.z_q, case.speaker), case.uniforms, **options)[0]


def edge_distance(outputs: Tensor, uniforms: Tensor) -> Tensor:
    """How far each uniform number is from the nearest step of its softmax's CDF: `[T, levels]`, `[T]` -> `[T]`."""
    cdf = outputs.double().softmax(-1).cumsum(-1)
    return (cdf - uniforms.unsqueeze(-1)).abs().amin(-1)


@pytest.fixture(scope="session")
def compiled() -> None:
    pytest.importorskip("numba")
