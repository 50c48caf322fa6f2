#!/usr/bin/env python3
"""From a trained decoder with a source to the model that is released: sharpening, evenness of its noise, levels.

    local/finish.py MODEL DATA OUT --mean-with OTHER --share 0.25 --sharpening 0.2 --evenness 0.5
        --tolerance-db 1.0 --tilt-db 2

A sharpened envelope, and a decoder that is not sure of what it says, are softer than the recording in some bands, the
more so the fewer levels of codes it is given. For each number of levels, what the mean power about a bin lacks over the
tolerance, over the utterances of DATA (a data directory or a pack), is added to the envelope (`SourceDecoder.balance`).
One level alone says little of what lies above 1 kHz; `--tilt-db` makes that softer against what lies below. No weight
is touched.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from audiovq.audio import AudioVQVAE, SourceDecoder
from audiovq.audio.source_decoder import smoothing_matrix
from audiovq.data.corpus.open import open_corpus

SMOOTHING_BINS = 10  # about a bin: powers are compared over a band, in which what is loud counts
NATS_PER_DB = math.log(10) / 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder or a bundled name")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mean-with", metavar="OTHER", help="the same model at another time of its training")
    parser.add_argument("--share", type=float, default=0.5, help="of OTHER's weights in the mean with MODEL's")
    parser.add_argument("--sharpening", type=float, required=True, help="0 for none")
    parser.add_argument("--evenness", type=float, default=0.0, help="of the noise's magnitudes, 0 to 1")
    parser.add_argument("--tolerance-db", type=float, required=True, help="what a level may lack")
    parser.add_argument(
        "--tilt-db", type=float, default=0.0, help="at one level: 0-1 kHz louder by half of it, the rest softer"
    )
    parser.add_argument("--most", type=int, default=80, help="utterances")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = AudioVQVAE.from_pretrained(options.model)
    decoder = model.decoder()
    if not isinstance(decoder, SourceDecoder) or model.config is None:
        parser.error(f"{options.model}: its first decoder has no source")
    if options.mean_with:
        other = dict(AudioVQVAE.from_pretrained(options.mean_with).decoder().named_parameters())
        with torch.no_grad():
            for weight_name, weight in decoder.named_parameters():
                weight.lerp_(other[weight_name], options.share)
    decoder.sharpening, decoder.evenness = options.sharpening, options.evenness
    decoder.balance.zero_()
    corpus = open_corpus(options.data, model.sample_rate)
    step = max(1, len(corpus) // options.most)
    sounds = [torch.from_numpy(corpus.read(i))[None, None] for i in range(0, len(corpus), step)]
    tolerance = options.tolerance_db * NATS_PER_DB
    for levels in range(model.min_quantizers, model.num_quantizers + 1):
        lack = measure(model, decoder, sounds, levels)
        if levels == 1 and options.tilt_db:
            decoder.balance[0] = lack + tilt(decoder.bins, model.sample_rate) * options.tilt_db * NATS_PER_DB
        else:
            decoder.balance[levels - 1] = lack - lack.clamp(-tolerance, tolerance)
        print(f"{levels} levels: lacked {lack.mean() / NATS_PER_DB:.2f} dB in the mean of bins")
    name = model.decoder_names[0]
    finish = {"sharpening": options.sharpening, "evenness": options.evenness}
    part = model.config.decoders[name].model_copy(update=finish)
    model.config = model.config.model_copy(update={"decoders": {**model.config.decoders, name: part}})
    model.save_pretrained(options.out)


def tilt(bins: int, sample_rate: int) -> Tensor:
    """A half up to 500 Hz, minus a half from 1.5 kHz on: `[bins]`."""
    frequency = torch.linspace(0, sample_rate / 2, bins)
    return 0.5 - ((frequency - 500) / 1000).clamp(0, 1)


@torch.inference_mode()
def measure(model: AudioVQVAE, decoder: SourceDecoder, sounds: list[Tensor], levels: int) -> Tensor:
    """What the envelope of each bin lacks, nats: `[bins]`."""
    totals = torch.zeros(2, decoder.bins, dtype=torch.float64)
    for sound in sounds:
        output = model.decode(model.encode(sound, levels))[..., : sound.shape[-1]]
        whole = sound.shape[-1] // decoder.filter.hop_length * decoder.filter.hop_length
        for row, signal in enumerate((sound, output)):
            totals[row] += decoder.filter.stft(signal[:, 0, :whole]).abs().square().double().sum((0, 1))
    totals = totals @ smoothing_matrix(decoder.bins, SMOOTHING_BINS).double()
    return (0.5 * (totals[0] / totals[1]).log()).float()


if __name__ == "__main__":
    main()
