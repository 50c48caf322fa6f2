"""Building blocks without a domain: causal convolutions with streaming state, WaveNet, ConvNeXt, inverse STFT."""

from audiovq.layers.conv import CausalConv1d
from audiovq.layers.convnext import ConvNeXtBlock, ConvNeXtStack
from audiovq.layers.spectral import InverseSTFT, LogMel
from audiovq.layers.wavenet import WaveNetStack

__all__ = ["CausalConv1d", "ConvNeXtBlock", "ConvNeXtStack", "InverseSTFT", "LogMel", "WaveNetStack"]
