"""Drawing sound from a WaveNet decoder: one definition, and a compiled loop that is many times as fast.

`WaveNetSampler` is what others use; it takes one of two forms:

- The definition, `definition.continue_wavenet` (PyTorch, float32, all streams in step), on a GPU, and on a CPU where
  numba is absent or can't compile the loop; the sampler then says so once. It is held to the teacher-forced pass of
  `WaveNetDecoder` (test_definition.py, in tests/audio/wavenet_sampler as all tests named here).
- The compiled loop, `loop.run` (numba with vector code for AVX-512, AVX2, SSE or NEON), on every other CPU. Eight
  streams run in lockstep; what is left over runs one stream at a time, where the past taps of up to 8 samples are
  computed at once. Both ways give the same bits (test_streams.py).

The precision of the compiled loop's weights is a choice. fp32 gives the definition's outputs up to rounding
(test_exact.py; on other instruction sets test_portability.py). bf16 and int8 stay within stated bounds
(test_precisions.py) and exist in the compiled loop alone: where it can't run they are refused, never replaced.

A `SamplerState` is the same for both forms in fp32, so that either goes on where the other stopped (test_state.py).

Reading order: `definition`, `state`, `sampler`; then `compiled` (tensors to arrays, groups of streams), `vector_loop`
(buffers), `loop`; and under it `pack` (weights in the order of use), `products`, `rows` (vector code) and `draws`.
"""

from audiovq.audio.wavenet_sampler.sampler import PRECISIONS, WaveNetSampler
from audiovq.audio.wavenet_sampler.state import SamplerState

__all__ = ["PRECISIONS", "SamplerState", "WaveNetSampler"]
