"""The fast WaveNet sampler: the whole loop compiled, exact in float32, with bfloat16 and int8 weights to choose."""

from audiovq.audio.wavenet_sampler.sampler import PRECISIONS, WaveNetSampler
from audiovq.audio.wavenet_sampler.state import SamplerState

__all__ = ["PRECISIONS", "SamplerState", "WaveNetSampler"]
