"""Bits per sample of a WaveNet decoder on a pack: with each utterance's own codes, with those of another, or with none.

If own codes are far better than none, the codes carry the sound (no posterior collapse). If they are far better than
others', the codes carry *this* sound (van den Oord et al. 2017, section 3.2: the bound is the reconstruction plus the
codes' cost).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audiovq.audio import AudioVQVAE, WaveNetDecoder
from audiovq.data.corpus.packed import PackedCorpus
from audiovq.errors import BadDataError, BadModelError
from audiovq.metrics.interval import mean_interval

GivenCodes = Literal["own", "shuffled", "none"]


@dataclass(frozen=True)
class LikelihoodScore:
    """Negative log-likelihood of the utterances of a pack.

    Attributes:
        codes: what the decoder was given.
        utterances: their ids.
        bits: summed over each utterance's samples, `[N]`.
        num_samples: of each utterance, `[N]`.
        code_bits: price of the codes under a uniform prior, bits per sample: sum of log2 K over levels / hop_length.
    """

    codes: GivenCodes
    utterances: list[str]
    bits: NDArray[np.float64]
    num_samples: NDArray[np.int64]
    code_bits: float

    @property
    def reconstruction_bits(self) -> float:
        """-log2 p(x | codes, speaker) in bits per sample, averaged over all samples of the pack."""
        return float(self.bits.sum() / self.num_samples.sum())

    @property
    def elbo_bits(self) -> float:
        """Bits per sample that code and sound cost together; without codes, the likelihood itself."""
        return self.reconstruction_bits + self.code_bits

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of `reconstruction_bits`, over utterances."""
        return mean_interval(self.bits / self.num_samples, self.num_samples)


@torch.inference_mode()
def measure_likelihood(
    model: AudioVQVAE,
    corpus: PackedCorpus,
    codes: GivenCodes = "own",
    *,
    decoder: str | None = None,
    batch_size: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> LikelihoodScore:
    """Teacher-forced bits of every sample of `corpus`.

    Args:
        model: with a WaveNet decoder.
        corpus: at the model's rate, of speakers that the model knows if it has a table.
        codes: `own`; `shuffled`: those of another utterance (`derangement`), cut or repeated to the length; `none`: z_q
            is 0, as in a model trained with `objective.codes=none`.
        decoder: name; default: the model's first WaveNet.
        batch_size: utterances at once, which does not change the result.
        progress: called with the utterances done and their number.

    Raises:
        BadModelError: no such WaveNet decoder, or an unknown speaker.
        BadDataError: another rate, or a single utterance to shuffle.
    """
    wavenet = _wavenet(model, decoder)
    speakers = model.speaker_indices(u.speaker for u in corpus.utterances)
    if corpus.sample_rate != model.sample_rate:
        raise BadDataError(
            f"{corpus.path}: packed at {corpus.sample_rate} Hz, the model wants {model.sample_rate}; pack it so"
        )
    donors = derangement(len(corpus)) if codes == "shuffled" else np.arange(len(corpus))
    lengths = np.array([u.num_samples for u in corpus.utterances])
    bits = np.zeros(len(corpus))
    order = np.argsort(lengths, kind="stable")  # like with like, so that little is padding
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        waveform, own = _batch(model, corpus, batch, None if codes == "none" else donors)
        vector = model.speaker_vector(None if speakers is None else speakers[batch])
        per_sample = wavenet.bits(waveform, model.quantizer.decode(own), vector)
        valid = torch.arange(waveform.shape[-1]) < torch.from_numpy(lengths[batch]).unsqueeze(1)
        bits[batch] = (per_sample.double() * valid).sum(1).numpy()
        if progress is not None:
            progress(min(start + batch_size, len(order)), len(order))
    price = 0.0 if codes == "none" else sum(math.log2(size) for size in model.codebook_sizes) / model.hop_length
    return LikelihoodScore(codes, [u.id for u in corpus.utterances], bits, lengths, price)


def _batch(
    model: AudioVQVAE, corpus: PackedCorpus, places: NDArray[np.int64], donors: NDArray[np.int64] | None
) -> tuple[Tensor, Tensor]:
    """Waveforms `[B, 1, T]` of utterances, and codes `[B, Q, F]` of their donors cut or repeated to their lengths.

    -1 stands for no code and decodes to 0; it pads, and it stays where there are no codes at all.
    """
    lengths = [corpus.utterances[i].num_samples for i in places]
    waveform = torch.zeros(len(places), 1, max(lengths))
    codes = torch.full((len(places), model.num_quantizers, -(-max(lengths) // model.hop_length)), -1, dtype=torch.int64)
    for row, (i, length) in enumerate(zip(places.tolist(), lengths, strict=True)):
        waveform[row, 0, :length] = torch.from_numpy(corpus.read(i))
        if donors is not None:
            donor = torch.from_numpy(corpus.read(int(donors[i]))).view(1, 1, -1)
            used = -(-length // model.hop_length)
            codes[row, :, :used] = fit_frames(model.encode(donor)[0], used)
    return waveform, codes


def derangement(count: int, seed: int = 0) -> NDArray[np.int64]:
    """A permutation of range(count) that leaves nothing in place, always the same: a random cycle through all.

    Raises BadDataError for fewer than two.
    """
    if count < 2:
        raise BadDataError(f"{count} utterance(s) can't exchange their codes; two are needed")
    order = np.random.default_rng(seed).permutation(count)
    target = np.empty(count, dtype=np.int64)
    target[order] = np.roll(order, 1)
    return target


def fit_frames(codes: Tensor, frames: int) -> Tensor:
    """Codes `[Q, F]`, F > 0, cut or repeated from the beginning: `[Q, frames]`."""
    return codes.repeat(1, -(-frames // codes.shape[-1]))[:, :frames]


def _wavenet(model: AudioVQVAE, name: str | None) -> WaveNetDecoder:
    if name is None:
        name = next((n for n in model.decoder_names if model.decoder_context(n) is None), None)
    found = model.decoder(name)
    if not isinstance(found, WaveNetDecoder):
        known = ", ".join(model.decoder_names)
        raise BadModelError(f"{model.name}: only a WaveNet has a likelihood, and its decoders are {known}")
    return found
