"""The baseline without a network, which a trained codec has to beat: log-mel spectra, residual k-means, Griffin-Lim.

An 80-band log-mel spectrum with a hop of 12.5 ms is cut into blocks of four frames (20 a second). A residual quantizer
of 1024 codes a level codes each block: 200 bits/s per level. 60 rounds of Griffin-Lim find the phases.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.bitstream.packing import pack, unpack
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.resampling import resample
from audiovq.errors import BadDataError
from audiovq.evaluate.roundtrip import Coder
from audiovq.metrics.speech import Waveform
from audiovq.quantize import ResidualVQ

RATE = 16000
HOP, WINDOW, FFT = 200, 800, 1024  # samples
NUM_MELS, BLOCK = 80, 4  # bands; frames
FLOOR = 1e-5  # of a band's magnitude
CODE_BITS = 10
LEVEL_KBPS = RATE / (HOP * BLOCK) * CODE_BITS / 1000
ROUNDS = 60
MAX_BLOCKS = 2**16  # to learn from: 55 minutes


class MelRVQ:
    """The quantizer and what is around it; `learn` makes one.

    Args:
        quantizer: of blocks, `[N, 320, 1]` to codes `[N, Q, 1]`.
    """

    def __init__(self, quantizer: ResidualVQ) -> None:
        self.quantizer = quantizer.eval()

    @classmethod
    @torch.no_grad()
    def learn(cls, waveforms: Iterable[Waveform], num_quantizers: int, *, seed: int = 0) -> MelRVQ:
        """k-means, level by level, on the blocks of waveforms `[T]` at 16 kHz; of more than 2^16, as many drawn evenly.

        Repeatable. BadDataError for fewer blocks than codes.
        """
        blocks = torch.cat([_blocks(waveform) for waveform in waveforms] or [torch.zeros(0, BLOCK * NUM_MELS)])
        if len(blocks) < 2**CODE_BITS:
            seconds = 2**CODE_BITS * BLOCK * HOP / RATE
            raise BadDataError(f"only {len(blocks)} blocks of sound to learn from; give {seconds:.0f} s at least")
        if len(blocks) > MAX_BLOCKS:
            blocks = blocks[torch.linspace(0, len(blocks) - 1, MAX_BLOCKS).round().long()]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            quantizer = ResidualVQ.of(BLOCK * NUM_MELS, num_quantizers, 2**CODE_BITS, restart_threshold=0)
            while not quantizer.ready:  # a step in training mode starts one level, on what those before it leave
                quantizer(blocks.unsqueeze(-1))
        return cls(quantizer)

    @torch.no_grad()
    def encode(self, waveform: Waveform, num_quantizers: int) -> NDArray[np.uint16]:
        """`[T]` -> codes `[Q, blocks]` of the first Q levels."""
        codes = self.quantizer.encode(_blocks(waveform).unsqueeze(-1), num_quantizers)
        return codes[..., 0].T.numpy().astype(np.uint16)

    @torch.no_grad()
    def decode(self, codes: NDArray[Any], length: int) -> Waveform:
        """Codes `[Q, blocks]` -> waveform `[length]`."""
        blocks = self.quantizer.decode(torch.from_numpy(codes.T.astype(np.int64)).unsqueeze(-1))
        return griffin_lim(blocks.reshape(-1, NUM_MELS)[: length // HOP + 1], length)

    def coder(self, num_quantizers: int) -> Coder:
        """The codec of the first levels: a file is the length in 4 bytes, then the codes, packed."""
        widths = [CODE_BITS] * num_quantizers

        def encode(waveform: Waveform, speaker: str) -> bytes:
            return len(waveform).to_bytes(4, "little") + pack(self.encode(waveform, num_quantizers), widths)

        def decode(data: bytes) -> Waveform:
            length = int.from_bytes(data[:4], "little")
            return self.decode(unpack(data[4:], widths, _num_blocks(length)), length)

        def payload_bits(data: bytes) -> int:
            return _num_blocks(int.from_bytes(data[:4], "little")) * num_quantizers * CODE_BITS

        return Coder(f"mel-RVQ {num_quantizers * LEVEL_KBPS:.1f}", RATE, encode, decode, payload_bits, "4-byte header")


def levels_of(spec: str) -> int:
    """How many levels `melrvq:KBPS` asks for; ValueError if KBPS is no multiple of 0.2 from 0.2 to 10."""
    try:
        levels = float(spec.partition(":")[2]) / LEVEL_KBPS
    except ValueError:
        levels = 0.0
    if not 0.5 < levels < 50.5 or abs(levels - round(levels)) > 1e-6:
        raise ValueError(f"{spec!r}: write melrvq:KBPS, a multiple of {LEVEL_KBPS} up to 10, as in melrvq:1.0")
    return round(levels)


def learning_sounds(directory: str | Path) -> Iterator[Waveform]:
    """The waveforms `[T]` of a packed corpus or a Kaldi data directory, at 16 kHz; BadDataError if it is neither."""
    if (Path(directory) / "index.json").exists():
        corpus = PackedCorpus.open(directory)
        for i in range(len(corpus)):
            yield resample(corpus.read(i)[None], corpus.sample_rate, RATE)[0]
    else:
        for utterance in DataDir.read(directory).utterances:
            yield utterance.mono(RATE)


def griffin_lim(log_mel: Tensor, length: int) -> Waveform:
    """Log magnitudes of mel bands `[1 + length // HOP, 80]` -> waveform `[length]` whose spectrum comes near."""
    from librosa import griffinlim

    magnitudes = np.maximum(_inverse_bank() @ np.exp(log_mel.numpy().T), 1e-8)
    waveform = griffinlim(
        magnitudes, n_iter=ROUNDS, hop_length=HOP, win_length=WINDOW, n_fft=FFT, length=length, random_state=0
    )
    return np.asarray(waveform, np.float32)


def _num_blocks(length: int) -> int:
    return -(-(length // HOP + 1) // BLOCK)


def _blocks(waveform: Waveform) -> Tensor:
    """`[T]` -> log-mel blocks `[blocks, 320]`; the last frame is repeated to fill the last block."""
    from librosa import stft

    padded = np.pad(waveform, (0, max(0, FFT - len(waveform))))
    magnitudes = np.abs(stft(padded, n_fft=FFT, hop_length=HOP, win_length=WINDOW, pad_mode="constant"))
    magnitudes = magnitudes[:, : len(waveform) // HOP + 1]
    log_mel = np.log(np.maximum(_bank() @ magnitudes, FLOOR)).T.astype(np.float32)  # [frames, 80]
    full = _num_blocks(len(waveform)) * BLOCK
    log_mel = np.concatenate([log_mel, np.repeat(log_mel[-1:], full - len(log_mel), axis=0)])
    return torch.from_numpy(log_mel.reshape(-1, BLOCK * NUM_MELS))


@lru_cache(maxsize=1)
def _bank() -> NDArray[Any]:
    """`[80, bins]`."""
    from librosa.filters import mel

    return np.asarray(mel(sr=RATE, n_fft=FFT, n_mels=NUM_MELS))


@lru_cache(maxsize=1)
def _inverse_bank() -> NDArray[Any]:
    """`[bins, 80]`."""
    return np.linalg.pinv(_bank())
