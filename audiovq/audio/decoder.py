"""The contracts of the two kinds of decoder: feed-forward and autoregressive."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from audiovq.audio.excitation import Place


class FeedForwardDecoder(nn.Module, ABC):
    """z_q and speaker to waveform. A kind defines `initial_state`, `stream` and `last_layer`, and sets the attributes.

    It streams as `audiovq.layers.streaming` says. Sound at a place is a function of the codes within `context_frames`,
    and of the place: a stream that begins so many frames before has the sound of the whole.

    Attributes:
        hop_length: samples per frame of z_q.
        lookahead: samples by which sound lags behind codes: F frames give F * hop_length - lookahead of them.
        context_frames: code frames to the left and right that the sound of a frame depends on.
    """

    hop_length: int
    lookahead: int
    context_frames: tuple[int, int]

    @property
    @abstractmethod
    def last_layer(self) -> Tensor:
        """Weights of the last layer before signal processing, at which gradients of several losses are balanced."""

    def forward(self, z_q: Tensor, speaker: Tensor | None = None, place: Place | None = None) -> Tensor:
        """z_q: `[B, latent_dim, F]`, speaker: `[B, speaker_dim]` -> waveform `[B, 1, F * hop_length]`.

        place: where in which sound the piece lies, its beginning if not given.
        """
        return self.stream(z_q, self.initial_state(len(z_q), place), speaker, last=True)[0]

    @abstractmethod
    def initial_state(self, batch_size: int, place: Place | None = None) -> Any:
        """The state before the frame that `place` names."""

    @abstractmethod
    def stream(
        self, z_q: Tensor, state: Any, speaker: Tensor | None = None, *, last: bool = False
    ) -> tuple[Tensor, Any]:
        """The next frames of z_q, any number -> the samples that are complete, `[B, 1, N]`, and the next state."""


class AutoregressiveDecoder(nn.Module, ABC):
    """p(x | z_q, speaker) as a product over samples, which are drawn one after the other.

    `AudioVQVAE.sampler` says what draws from it.

    Attributes:
        hop_length: samples per frame of z_q.
    """

    hop_length: int

    @abstractmethod
    def condition(self, z_q: Tensor, speaker: Tensor | None) -> Tensor:
        """z_q: `[B, latent_dim, F]`, speaker: `[B, speaker_dim]` -> what all samples of a frame see, `[B, F, C]`."""

    @abstractmethod
    def bits(self, waveform: Tensor, z_q: Tensor, speaker: Tensor | None = None) -> Tensor:
        """-log2 p(x_t | x_<t, z_q, speaker) of `[B, 1, T]`, F * hop_length >= T: `[B, T]` in bits per sample."""


Decoder = FeedForwardDecoder | AutoregressiveDecoder
"""Any decoder of an `AudioVQVAE`."""
