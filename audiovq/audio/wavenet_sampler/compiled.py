"""Runs the compiled loop on tensors: streams, pieces and states."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio.likelihood import LogisticMixture, MuLawSoftmax
from audiovq.audio.mulaw import mulaw_decode, mulaw_encode
from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.audio.wavenet_sampler.definition import start_state
from audiovq.audio.wavenet_sampler.state import SamplerState
from audiovq.audio.wavenet_sampler.vector_loop import VectorLoop

logger = logging.getLogger(__name__)
PIECE = 4096  # samples between two reports of progress
PATIENCE = 0.7  # seconds after which a user is told what takes so long

Array = NDArray[Any]


class CompiledSampler:
    """A decoder's weights and the compiled loop over them; several threads may use it at a time.

    Raises ConfigError for int8 on a processor without instructions for it, and whatever numba or LLVM raise on a
    processor or version that they can't compile the loop for.
    """

    def __init__(self, decoder: WaveNetDecoder, precision: str, identity: str) -> None:
        self.identity = identity
        self.likelihood, self.hop_length = decoder.likelihood, decoder.hop_length
        self._blank = start_state(decoder, 1, identity)
        self._ready: set[int] = set()  # numbers of streams that the loop is compiled for
        self._loop = VectorLoop(decoder, precision)
        self._compile(1)

    def start(self, batch_size: int) -> SamplerState:
        """The state before the first sample: silence."""
        loop, blank = self._loop, self._blank
        rings = np.full((batch_size, *blank.rings.shape[1:]), loop.silence, loop.row_type)
        scales = np.full((batch_size, *blank.scales.shape[1:]), loop.silent_scale, np.float32)
        return SamplerState(self.identity, rings, scales, np.zeros(batch_size, np.float32))

    def sample(
        self,
        condition: Tensor,
        uniforms: Tensor,
        state: SamplerState,
        *,
        teacher: Tensor | None = None,
        on_progress: Callable[[int], None] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """See WaveNetSampler.sample."""
        batch_size, length = uniforms.shape
        u = np.ascontiguousarray(uniforms.detach().cpu().double().numpy())
        conditions = self._padded_condition(condition)
        fed = self._symbols(teacher[:, 0]) if teacher is not None else np.zeros((batch_size, 0), np.float32)
        outputs = np.zeros((batch_size, length if teacher is not None else 0, self.likelihood.num_outputs), np.float32)
        symbols = np.zeros((batch_size, length), np.float32)
        last = self._symbols(torch.from_numpy(state.previous))
        groups = [(rows, self._loop.scratch(rows.stop - rows.start)) for rows in self._groups(batch_size)]
        for rows, _ in groups:
            self._compile(rows.stop - rows.start)
        begin = state.position
        for first in range(0, length, PIECE):
            stop = min(first + PIECE, length)
            for rows, scratch in groups:
                self._loop.run(
                    conditions[rows], u[rows], fed[rows], state.rings[rows], state.scales[rows], scratch, last[rows],
                    begin, first, stop, symbols[rows], outputs[rows],
                )  # fmt: skip
            state.previous[:] = self._samples(last)
            state.position = begin + stop
            if on_progress is not None:
                on_progress(stop)
        waveform = torch.from_numpy(self._samples(symbols)).unsqueeze(1)
        return waveform, torch.from_numpy(outputs) if teacher is not None else None

    def _groups(self, batch_size: int) -> Iterator[slice]:
        """Streams that run together: as many as run in lockstep, the rest one by one."""
        first, together = 0, self._loop.lockstep
        while first < batch_size:
            count = together if first + together <= batch_size else 1
            yield slice(first, first + count)
            first += count

    def _padded_condition(self, condition: Tensor) -> Array:
        batch_size, frames, size = condition.shape
        out = np.zeros((batch_size, frames, self._loop.condition_size), np.float32)
        out[:, :, :size] = condition.detach().cpu().float().numpy()
        return out

    def _symbols(self, samples: Tensor) -> Array:
        """Samples as the network takes them: classes, or the middles of their bins; float32."""
        samples = samples.detach().cpu()
        if isinstance(self.likelihood, MuLawSoftmax):
            levels = self.likelihood.levels  # clamped, as a class is an address: NaN encodes to any number
            return np.ascontiguousarray(mulaw_encode(samples, levels).clamp(0, levels - 1).float().numpy())
        return np.ascontiguousarray(self.likelihood.quantize(samples).numpy())

    def _samples(self, symbols: Array) -> Array:
        """The inverse."""
        if isinstance(self.likelihood, LogisticMixture):
            return symbols
        return mulaw_decode(torch.from_numpy(symbols), self.likelihood.levels).numpy()

    def _compile(self, streams: int) -> None:
        """Compile the loop for so many streams, or load it from disk, by running it over no samples."""
        if streams in self._ready:
            return
        state, none = self.start(streams), np.zeros((streams, 0), np.float32)
        condition = np.zeros((streams, 1, self._loop.condition_size), np.float32)
        outputs = np.zeros((streams, 0, self.likelihood.num_outputs), np.float32)
        with _told("compiling the WaveNet sampler for this processor (some seconds, once)"):
            self._loop.run(
                condition, np.zeros((streams, 0)), none, state.rings, state.scales, self._loop.scratch(streams),
                state.previous, 0, 0, 0, none, outputs,
            )  # fmt: skip
        self._ready.add(streams)


@contextmanager
def _told(message: str) -> Iterator[None]:
    """Log what is going on, if it goes on for long."""
    notice = threading.Timer(PATIENCE, logger.info, [message])
    notice.daemon = True
    notice.start()
    try:
        yield
    finally:
        notice.cancel()
