#!/usr/bin/env python3
"""Spectrograms of a recording and of what codecs make of it, one over the other: the image in a model card.

plot_spectrograms.py RECORDING PICTURE.png [--model NAME] [--bitrates 500 1000 2000] [--row TITLE=SOUND] [--seconds 4]

Rows: the original, those of --row (sound files of the same recording, as other codecs or other weights decoded it), and
the model's at each bitrate.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from audiovq.codec import Codec
from audiovq.data.audio import read_audio
from audiovq.data.resampling import resample


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", default="speech-16k")
    parser.add_argument("--bitrates", type=float, nargs="+", default=[500, 1000, 2000], help="bits/s")
    parser.add_argument("--row", action="append", default=[], metavar="TITLE=SOUND", help="a sound file beside them")
    parser.add_argument("--seconds", type=float, default=4.0, help="of the recording, from its start")
    options = parser.parse_args()

    codec = Codec.from_pretrained(options.model)
    rate = codec.sample_rate
    count = round(options.seconds * rate)
    waveform = mono(options.recording, rate)
    sounds = {"original": waveform[:count]}
    for row in options.row:
        title, _, path = row.partition("=")
        sounds[title] = mono(Path(path), rate)[:count]
    for bitrate in options.bitrates:
        decoded = codec.decode(codec.encode(waveform, rate, bitrate=bitrate))[0]
        sounds[f"{codec.name} {bitrate / 1000:g}k"] = decoded[:count]

    figure = Figure(figsize=(9, 2.1 * len(sounds)), dpi=60)
    for axes, (title, sound) in zip(
        np.atleast_1d(figure.subplots(len(sounds), sharex=True)), sounds.items(), strict=True
    ):
        axes.specgram(sound + 1e-9, NFFT=512, Fs=rate, noverlap=384, vmin=-120, vmax=-30, cmap="magma")
        axes.set_ylabel(f"{title}\nHz")
    axes.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(options.image)


def mono(path: Path, rate: int) -> np.ndarray:
    """The first channel at `rate` Hz."""
    waveform, own_rate = read_audio(path)
    return resample(waveform[:1], own_rate, rate)[0]


if __name__ == "__main__":
    main()
