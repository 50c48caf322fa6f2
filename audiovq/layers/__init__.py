"""Building blocks that know no domain: causal convolutions with streaming state, WaveNet, ConvNeXt, STFT, PixelCNN,
Transformer."""

from audiovq.layers.conv import CausalConv1d
from audiovq.layers.convnext import ConvNeXtBlock, ConvNeXtStack
from audiovq.layers.pixelcnn import GatedPixelCNN
from audiovq.layers.spectral import STFT, InverseSTFT, LogMel, mel_averages, mel_filterbank
from audiovq.layers.transformer import CausalTransformer
from audiovq.layers.wavenet.stack import WaveNetStack

__all__ = [
    "STFT",
    "CausalConv1d",
    "CausalTransformer",
    "ConvNeXtBlock",
    "ConvNeXtStack",
    "GatedPixelCNN",
    "InverseSTFT",
    "LogMel",
    "WaveNetStack",
    "mel_averages",
    "mel_filterbank",
]
