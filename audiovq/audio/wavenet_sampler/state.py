"""The state of a WaveNet sampler between two samples. With it, sampling can stop anywhere and continue later.

Every dilated layer needs its inputs of the last (kernel_size - 1) * dilation samples again ("fast WaveNet", Paine et
al. 2016, arXiv 1611.09482). They lie in one ring of rows per layer; the input at sample t is in row t modulo the ring.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audiovq.errors import ModelMismatchError
from audiovq.layers.wavenet.stack import WaveNetLayer

BLOCK = 8  # samples whose past taps the compiled sampler computes at once; a ring holds as many rows more


def ring_rows(layer: WaveNetLayer) -> int:
    """Rows in a layer's ring."""
    return (layer.kernel_size - 1) * layer.dilation + BLOCK


def padded(width: int) -> int:
    """A row's length: the next multiple of 4."""
    return -(-width // 4) * 4


@dataclass
class SamplerState:
    """Between two samples of B streams that run in step.

    Attributes:
        identity: of the decoder and precision that it belongs to.
        rings: `[B, rows of all layers, padded(channels)]`: layer inputs, float32, or uint8 with 128 for zero.
        scales: `[B, rows of all layers]` float32: what a step of uint8 stands for; 1 for float32 rings.
        previous: `[B]` float32: the last sample of each stream.
        position: samples drawn so far.
    """

    identity: str
    rings: NDArray[Any]
    scales: NDArray[np.float32]
    previous: NDArray[np.float32]
    position: int = 0

    @property
    def batch_size(self) -> int:
        """Streams."""
        return len(self.previous)

    def first(self, count: int) -> "SamplerState":
        """Of the first streams alone, which go on; the others are done. It shares its memory with this one."""
        parts = {name: getattr(self, name)[:count] for name in ("rings", "scales", "previous")}
        return replace(self, **parts)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as named arrays, copied: for np.savez or safetensors."""
        return {
            "identity": np.frombuffer(self.identity.encode(), np.uint8).copy(),
            "rings": self.rings.copy(),
            "scales": self.scales.copy(),
            "previous": self.previous.copy(),
            "position": np.array([self.position], np.int64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "SamplerState":
        """Back from `to_arrays`; the sampler that gets it checks that it is its own."""
        names = ("identity", "rings", "scales", "previous", "position")
        missing = [name for name in names if name not in arrays]
        if missing:
            raise ModelMismatchError(f"not a WaveNet sampler's state: it has no {', '.join(missing)}")
        return cls(
            identity=bytes(np.asarray(arrays["identity"], np.uint8)).decode("ascii", "replace"),
            rings=np.array(arrays["rings"]),
            scales=np.array(arrays["scales"], np.float32),
            previous=np.array(arrays["previous"], np.float32),
            position=int(np.asarray(arrays["position"]).reshape(-1)[0]),
        )

    def require(self, like: "SamplerState", batch_size: int) -> None:
        """Raise ModelMismatchError unless this is of the same decoder and precision as `like`, with `batch_size`."""
        if self.identity != like.identity:
            raise ModelMismatchError(
                f"this sampler state belongs to another decoder or precision ({self.identity}, wanted {like.identity});"
                " start anew, or sample with what it was made with"
            )
        for name in ("rings", "scales", "previous"):
            ours, wanted = getattr(self, name), getattr(like, name)
            shape = (batch_size, *wanted.shape[1:])
            if ours.shape != shape or ours.dtype != wanted.dtype:
                raise ModelMismatchError(
                    f"this sampler state's {name} are {ours.dtype} {ours.shape}, wanted {wanted.dtype} {shape}"
                )
