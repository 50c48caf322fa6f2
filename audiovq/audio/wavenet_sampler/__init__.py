"""The fast WaveNet sampler: the whole loop compiled, exact in float32, with bfloat16 and int8 weights to choose."""

from audiovq.audio.sampler_state import SamplerState
from audiovq.audio.wavenet_sampler.sampler import PRECISIONS, WaveNetSampler

__all__ = ["PRECISIONS", "SamplerState", "WaveNetSampler"]
