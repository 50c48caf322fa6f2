"""Makes the packaged speech sample, `audiovq/assets/sample.flac`, with the espeak-ng speech synthesizer.

The recording is synthetic so that the repository holds no one's voice; the sentence opens Aesop's "The North Wind and
the Sun", the passage that phoneticians read in every language. The same espeak-ng version gives the same samples.

    python tools/make_sample.py        # needs the espeak-ng command; Debian: apt-get install espeak-ng
"""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import soundfile
import soxr

TEXT = (
    "The north wind and the sun were disputing which was the stronger, "
    "when a traveller came along wrapped in a warm cloak."
)
VOICE = "en-us"
WORDS_PER_MINUTE = 150
SAMPLE_RATE = 16_000  # Hz, the bundled model's
PEAK = 0.5  # of full scale, -6 dBFS
TARGET = Path(__file__).resolve().parent.parent / "audiovq" / "assets" / "sample.flac"


def synthesize(text: str) -> tuple[np.ndarray, int]:
    """Speaks `text`; returns float64 samples `[T]` and their rate in Hz (22,050 for espeak-ng's own voices)."""
    command = ["espeak-ng", "-v", VOICE, "-s", str(WORDS_PER_MINUTE), "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    # Through a pipe espeak-ng can't go back to fill in the lengths of the RIFF header, so read the samples after it.
    rate = int.from_bytes(wav[24:28], "little")
    start = wav.index(b"data") + 8
    samples, _ = soundfile.read(
        io.BytesIO(wav[start:]), samplerate=rate, channels=1, format="RAW", subtype="PCM_16", endian="LITTLE"
    )
    return samples, rate


def main() -> None:
    speech, rate = synthesize(TEXT)
    speech = soxr.resample(speech, rate, SAMPLE_RATE, quality="VHQ")
    speech *= PEAK / np.abs(speech).max()
    TARGET.parent.mkdir(exist_ok=True)
    soundfile.write(TARGET, speech, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    print(f"{TARGET}: {len(speech) / SAMPLE_RATE:.2f} s, {SAMPLE_RATE} Hz, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
