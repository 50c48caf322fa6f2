#!/usr/bin/env python3
"""From a trained decoder with a source to the model that is released: how far it sharpens, and levels made right.

    local/finish.py MODEL DATA OUT --sharpening 0.3

A sharpened envelope, and a decoder that is not sure of what it says, are softer than the recording in some bands. The
mean power of every bin, over the utterances of DATA (a data directory or a pack) at the default bitrate, is brought to
the recordings' by the biases of the spectrum's head. No other weight is touched.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from audiovq.audio import AudioVQVAE, SourceDecoder
from audiovq.audio.source_decoder import smoothing_matrix
from audiovq.data.corpus import open_corpus

ROUNDS = 3  # each corrects what the one before left
SMOOTHING_BINS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder or a bundled name")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sharpening", type=float, required=True, help="0 for none")
    parser.add_argument("--share", type=float, default=1.0, help="of what a level lacks in dB, how much is given")
    parser.add_argument("--most", type=int, default=150, help="utterances")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = AudioVQVAE.from_pretrained(options.model)
    decoder = model.decoder()
    if not isinstance(decoder, SourceDecoder) or model.config is None:
        parser.error(f"{options.model}: its first decoder has no source")
    decoder.sharpening = options.sharpening
    corpus = open_corpus(options.data, model.sample_rate)
    step = max(1, len(corpus) // options.most)
    sounds = [torch.from_numpy(corpus.read(i))[None, None] for i in range(0, len(corpus), step)]
    given = torch.zeros(decoder.bins)
    for number in range(ROUNDS):
        lack = measure(model, decoder, sounds)
        target = options.share * (lack + given)
        correct(decoder, target - given)
        given = target
        print(f"round {number + 1}: lacks {lack.abs().mean() * 8.686:.2f} dB in the mean of bins")
    changed = {"sharpening": options.sharpening}
    part = model.config.decoders[model.decoder_names[0]].model_copy(update=changed)
    model.config = model.config.model_copy(update={"decoders": {**model.config.decoders, model.decoder_names[0]: part}})
    model.save_pretrained(options.out)


@torch.inference_mode()
def measure(model: AudioVQVAE, decoder: SourceDecoder, sounds: list[Tensor]) -> Tensor:
    """What the envelope of each bin lacks, nats: `[bins]`."""
    totals = torch.zeros(2, decoder.bins, dtype=torch.float64)
    for sound in sounds:
        output = model.decode(model.encode(sound, model.default_num_quantizers))[..., : sound.shape[-1]]
        whole = sound.shape[-1] // decoder.filter.hop_length * decoder.filter.hop_length
        for row, signal in enumerate((sound, output)):
            totals[row] += decoder.filter.stft(signal[:, 0, :whole]).abs().square().double().sum((0, 1))
    ratio = 0.5 * (totals[0] / totals[1]).log()
    return ratio.float() @ smoothing_matrix(decoder.bins, SMOOTHING_BINS)


@torch.no_grad()
def correct(decoder: SourceDecoder, nats: Tensor) -> None:
    """Raise the envelope of each bin."""
    decoder.spectrum_head.bias.view(-1, 2, decoder.bins)[:, 0] += nats


if __name__ == "__main__":
    main()
