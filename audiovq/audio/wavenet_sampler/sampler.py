"""WaveNetSampler: packs a decoder's weights once, then draws waveforms piece by piece, compiled where possible."""

import functools
import hashlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.audio.wavenet_sampler.definition import continue_wavenet, start_state
from audiovq.audio.wavenet_sampler.state import SamplerState
from audiovq.errors import ConfigError

if TYPE_CHECKING:
    from audiovq.audio.wavenet_sampler import compiled

PRECISIONS = ("fp32", "bf16", "int8")


class WaveNetSampler:
    """Draws from a WaveNetDecoder.

    Args:
        decoder: the WaveNet; its weights are copied, later changes to them are not seen.
        precision: of the weights in the loop, one of PRECISIONS; fp32 is exact.
        backend: "numba" (the compiled loop, on the CPU), "torch" (the definition, on the decoder's device), or "auto":
            numba, and torch where the loop does not compile.

    Attributes:
        backend: what is in use: "numba" or "torch".
        backend_reason: why the compiled loop is not in use; "" where it is.

    Raises ConfigError for a precision that this machine can't offer.
    """

    def __init__(self, decoder: WaveNetDecoder, precision: str = "fp32", backend: str = "auto") -> None:
        if precision not in PRECISIONS:
            raise ConfigError(f"precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
        if backend not in ("auto", "numba", "torch"):
            raise ConfigError(f"backend {backend!r}: choose auto, numba or torch")
        self.decoder = decoder
        self.precision = precision
        self.identity = _identity(decoder, precision)
        why = "not asked for"
        self._compiled: compiled.CompiledSampler | None = None
        if backend != "torch":
            try:
                from audiovq.audio.wavenet_sampler.compiled import CompiledSampler  # imports numba

                self._compiled = CompiledSampler(decoder, precision, self.identity)
            except ConfigError:
                raise
            except Exception as error:  # numba absent, or the processor or LLVM version not one it works with
                if backend == "numba":
                    raise
                why = f"{type(error).__name__}: {error}".splitlines()[0]
        if self._compiled is None and precision != "fp32":
            raise ConfigError(f"precision {precision} needs the compiled sampler ({why}); choose fp32")
        self.backend = "torch" if self._compiled is None else "numba"
        self.backend_reason = why if self._compiled is None else ""
        if self.backend_reason and backend == "auto":
            _warn_once(f"the WaveNet sampler is slower here than it could be: {self.backend_reason}")
        self._blank = self.start(1)

    def condition(self, z_q: Tensor, speaker: Tensor | None = None) -> Tensor:
        """z_q: `[B, D, F]`, speaker vector: `[B, S]` -> `[B, F, C]` as `WaveNetDecoder.condition` gives it."""
        with torch.inference_mode():  # row by row: a convolution's last bits may depend on the batch
            rows = [slice(i, i + 1) for i in range(len(z_q))]
            return torch.cat([self.decoder.condition(z_q[r], None if speaker is None else speaker[r]) for r in rows])

    def start(self, batch_size: int) -> SamplerState:
        """The state before the first sample of `batch_size` streams: silence."""
        if self._compiled is not None:
            return self._compiled.start(batch_size)
        return start_state(self.decoder, batch_size, self.identity)

    def sample(
        self,
        condition: Tensor,
        uniforms: Tensor,
        state: SamplerState | None = None,
        *,
        teacher: Tensor | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Draw the next samples; pieces joined equal the whole, bit for bit.

        Args:
            condition: `[B, F, C]`, from the frame on that the next sample lies in.
            uniforms: `[B, T]` float64 in [0, 1), one per sample; T no more than those frames have left.
            state: where the last call ended; it is advanced. Default: `start`.
            teacher: `[B, 1, T]`: feed these samples instead of the drawn ones, and return the outputs.
            on_progress: called now and then with the number of samples finished in this call.

        Returns:
            waveform `[B, 1, T]` float32, and the outputs `[B, T, num_outputs]` if `teacher` was given, else None.

        Raises ModelMismatchError for a state of another decoder or precision, ValueError for shapes that do not fit.
        """
        if state is None:
            state = self.start(len(uniforms))
        state.require(self._blank, len(uniforms))
        self._check(condition, uniforms, state.position % self.decoder.hop_length, teacher)
        if self._compiled is not None:
            return self._compiled.sample(condition, uniforms, state, teacher=teacher, on_progress=on_progress)
        return continue_wavenet(self.decoder, condition, uniforms, state, teacher=teacher, on_step=on_progress)

    def _check(self, condition: Tensor, uniforms: Tensor, phase: int, teacher: Tensor | None) -> None:
        batch_size, length = uniforms.shape
        if len(condition) != batch_size or (teacher is not None and teacher.shape != (batch_size, 1, length)):
            raise ValueError(
                f"shapes do not fit: condition {tuple(condition.shape)}, uniforms {tuple(uniforms.shape)}"
                + (f", teacher {tuple(teacher.shape)}" if teacher is not None else "")
            )
        left = condition.shape[1] * self.decoder.hop_length - phase
        if length > left:
            raise ValueError(f"{length} uniforms, but the {condition.shape[1]} frames given have {left} samples left")


@functools.cache
def _warn_once(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)


def _identity(decoder: WaveNetDecoder, precision: str) -> str:
    """A short hash of everything that the meaning of a state depends on."""
    digest = hashlib.sha256()
    dilations = [layer.dilation for layer in decoder.stack.wavenet_layers]
    digest.update(repr((precision, decoder.hop_length, dilations)).encode())
    for name, value in decoder.state_dict().items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().float().numpy()).tobytes())
    return digest.hexdigest()[:16]
