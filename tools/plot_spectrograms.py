#!/usr/bin/env python3
"""Spectrograms of a recording and of what a model makes of it at several bitrates: the picture in a model card.

plot_spectrograms.py RECORDING PICTURE.png [--model NAME] [--bitrates 500 1000 2000] [--seconds 4]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from audiovq.codec import Codec
from audiovq.data.audio import read_audio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--model", default="speech-16k")
    parser.add_argument("--bitrates", type=float, nargs="+", default=[500, 1000, 2000], help="bits/s")
    parser.add_argument("--seconds", type=float, default=4.0, help="of the recording, from its start")
    options = parser.parse_args()

    codec = Codec.from_pretrained(options.model)
    waveform, rate = read_audio(options.recording)
    waveform = waveform[:1, : round(options.seconds * rate)]
    sounds = {"original": waveform[0]}
    for bitrate in options.bitrates:
        sounds[f"{bitrate / 1000:g} kbit/s"] = codec.decode(codec.encode(waveform, rate, bitrate=bitrate))[0]

    figure = Figure(figsize=(9, 2.1 * len(sounds)), dpi=60)
    for axes, (title, sound) in zip(
        np.atleast_1d(figure.subplots(len(sounds), sharex=True)), sounds.items(), strict=True
    ):
        axes.specgram(sound + 1e-9, NFFT=512, Fs=rate, noverlap=384, vmin=-120, vmax=-30, cmap="magma")
        axes.set_ylabel(f"{title}\nHz")
    axes.set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(options.picture)


if __name__ == "__main__":
    main()
