"""The audio wing: encoders, decoders (WaveNet and feed-forward), and the AudioVQVAE that joins them to a quantizer.

What every encoder must offer stands in `encoder.Encoder`, what every decoder must in `decoder`. A new kind is a file of
its own, a class of options in `config` and a case in `build`; docs/extending.md shows both.
"""

from audiovq.audio.config import AudioModelConfig
from audiovq.audio.decoder import AutoregressiveDecoder, Decoder, FeedForwardDecoder
from audiovq.audio.encoder import Encoder, LogMelEncoder, WaveformEncoder
from audiovq.audio.excitation import Place
from audiovq.audio.frame_decoder import FrameDecoder
from audiovq.audio.likelihood import LogisticMixture, MuLawSoftmax
from audiovq.audio.model import AudioVQVAE, load_model
from audiovq.audio.source_decoder import SourceDecoder
from audiovq.audio.wavenet_decoder import WaveNetDecoder
from audiovq.audio.wavenet_sampler.definition import sample_wavenet

__all__ = [
    "AudioModelConfig",
    "AudioVQVAE",
    "AutoregressiveDecoder",
    "Decoder",
    "Encoder",
    "FeedForwardDecoder",
    "FrameDecoder",
    "LogMelEncoder",
    "LogisticMixture",
    "MuLawSoftmax",
    "Place",
    "SourceDecoder",
    "WaveNetDecoder",
    "WaveformEncoder",
    "load_model",
    "sample_wavenet",
]
