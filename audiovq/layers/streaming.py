"""The contract of layers with memory: a signal passes through in pieces, and pieces joined equal the whole.

As in Moshi (kyutai-labs/moshi, `modules/streaming.py`), but the state is passed, not kept in the module: one module
serves any number of signals at once.
"""

from typing import Protocol, TypeVar

import torch
from torch import Tensor

State = TypeVar("State")


class Streaming(Protocol[State]):
    """What every layer with memory offers. Its `forward(x)` is `stream(x, initial_state(B), last=True)[0]`."""

    def initial_state(self, batch_size: int) -> State:
        """The state before the first step of `batch_size` signals. It is not the layer's answer to silence."""

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """The next piece of the signals, of any length, zero too.

        Args:
            x: the piece.
            state: `initial_state`, or what the previous call gave; it is left as it was.
            last: the signals end with this piece. The layer puts the zeros behind it that its look-ahead asks for.

        Returns:
            What no later piece can change any more, of any length, zero too; and the next state.
        """


def whole_windows(
    x: Tensor, past: Tensor, *, size: int, step: int = 1, dim: int = -1, ahead: int = 0
) -> tuple[Tensor, Tensor]:
    """Of `past` and `x` joined along `dim`, what is ready to be cut into windows, and what later ones need again.

    Args:
        x, past: the piece, and what the previous call left.
        size, step: of the windows.
        ahead: zeros to put behind `x`, as a signal ends.

    Returns:
        A stretch in which n windows of `size` lie every `step`, to its end (n = 0: nothing), and the next `past`.
    """
    parts = [past.to(x), x]
    if ahead:
        shape = list(x.shape)
        shape[dim] = ahead
        parts.append(x.new_zeros(shape))
    joined = torch.cat(parts, dim)
    length = joined.shape[dim]
    count = max(0, (length - size) // step + 1)
    # a copy, that the few steps of it do not hold on to the whole piece
    rest = joined.narrow(dim, count * step, length - count * step).clone()
    return joined.narrow(dim, 0, (count - 1) * step + size if count else 0), rest
