#!/usr/bin/env python3
"""A made-up corpus in VCTK's layout, 0.80 or 0.92, with the quirks of the real releases and of real copies of them.

    fake_vctk.py OUT --layout 0.80|0.92 [--depth 0|1|2] [--utterances 20] [--broken true|false]

The voices are synthesized (pulses and noise through formants), so that something can be trained on them: ten speakers,
about a second an utterance, 48 kHz. The same arguments give the same bytes. What the tree holds is returned by
`write_fake_vctk`, which counts while it writes and knows nothing of the programs under test.

Quirks: s5 (0.92 only); p280 and p315 without mic2; p280 not in 0.80's speaker-info; p315 without text; p362 and p226
with text but no audio for some numbers; p287_012 without mic2; p376 with three utterances; stray files; empty, CRLF
and multi-line txt; stereo and 24-bit audio; with `broken`, audio that is garbage, of zero bytes, or without samples.
"""

from __future__ import annotations

import argparse
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import lfilter

RATE = 48000
SYNTHESIS_RATE = 16000  # a third of the work
TOP_FOLDERS = {"0.80": ("VCTK-Corpus", "VCTK-Corpus"), "0.92": ("DS_10283_3443", "VCTK-Corpus-0.92")}  # outermost first
WAV_FOLDER = {"0.80": "wav48", "0.92": "wav48_silence_trimmed"}

# age, gender, accent, region and comment as in speaker-info, pitch in Hz, length of the vocal tract relative to a man's
SPEAKERS = {
    "p225": ("23", "F", "English", "Southern  England", "", 210, 0.85),
    "p226": ("22", "M", "English", "Surrey", "", 110, 1.0),
    "p232": ("23", "M", "English", "Southern  England", "", 125, 0.97),
    "p257": ("24", "F", "English", "Southern  England", "", 190, 0.88),
    "p280": ("25", "F", "French", "France", "(mic2 files unavailable)", 200, 0.83),
    "p287": ("23", "M", "English", "York", "", 98, 1.04),
    "p315": ("18", "M", "American", "New  England", "(mic2 files unavailable)", 118, 1.02),
    "p362": ("29", "F", "American", "", "", 220, 0.87),
    "p376": ("22", "M", "Indian", "", "", 140, 0.98),
    "s5": ("18", "F", "British", "", "", 230, 0.82),
}
NO_MIC2 = {"p280", "p315"}
NO_AUDIO = {"p362_004", "p362_005", "p362_011", "p226_009"}  # their text is there
NO_AUDIO_MIC2 = {"p287_012"}
SHORT = {"p376": 3}
STEREO, DEEP = "p226_003", "p226_005"  # two channels; 24 bits
GARBAGE, ZERO_BYTES, NO_SAMPLES = "p257_006", "p257_007", "p257_008"

# read by every speaker, as VCTK's first 24 are
COMMON = ("please call stella", "ask her to bring", "six spoons of snow", "five thick slabs", "we also need a snake")
WORDS = ("the", "rain", "over", "hills", "makes", "silver", "a", "moon", "finds", "every", "old", "house", "we", "sing")

VOWELS = {"a": (730, 1090, 2440), "e": (530, 1840, 2480), "i": (270, 2290, 3010), "o": (570, 840, 2410)}
VOWELS |= {"u": (300, 870, 2240)}
HISSING = "sfhcxzkt"


@dataclass
class FakeVCTK:
    """What was written: `root` holds wav48* and txt; ids are utterances; `unreadable` are among the audio's."""

    root: Path
    audio: dict[str, list[str]] = field(default_factory=lambda: {"mic1": [], "mic2": []})
    texts: dict[str, str] = field(default_factory=dict)  # as one line, without the empty ones
    unreadable: set[str] = field(default_factory=set)


def write_fake_vctk(
    out: Path, layout: str = "0.92", *, depth: int = 0, utterances: int = 20, broken: bool = True
) -> FakeVCTK:
    """Write the tree below `out`, `depth` folders (0 to 2) down; `utterances` a speaker, at least 13 for all quirks."""
    fake = FakeVCTK(out.joinpath(*TOP_FOLDERS[layout][2 - depth :]))
    speakers = [s for s in SPEAKERS if s != "s5" or layout == "0.92"]
    for speaker in speakers:
        for number in range(1, SHORT.get(speaker, utterances) + 1):
            utterance, words = f"{speaker}_{number:03d}", sentence(speaker, number)
            if speaker != "p315":
                _write_text(fake, speaker, utterance, words)
            if utterance not in NO_AUDIO:
                _write_audio(fake, layout, speaker, utterance, synthesize(speaker, number, words, layout), broken)
    _write_speaker_info(fake.root, speakers, layout)
    _write_strays(fake.root, layout)
    return fake


def sentence(speaker: str, number: int) -> str:
    """The words of an utterance: the first numbers are the same for all speakers."""
    if number <= len(COMMON):
        return COMMON[number - 1]
    return " ".join(_generator(speaker, number).choice(WORDS, 4))


def synthesize(speaker: str, number: int, words: str, layout: str) -> NDArray[np.float64]:
    """`[T]` at 48 kHz: a letter is 50 to 80 ms of a vowel, a hiss or a murmur; 0.80 has silence and hum around it."""
    generator = _generator(speaker, number)
    *_, pitch, tract = SPEAKERS[speaker]
    edge = 0.4 if layout == "0.80" else 0.06
    letters = ["", *words, ""]
    seconds = [edge, *(generator.uniform(0.05, 0.08, len(words))), edge]
    ends = np.round(np.cumsum(seconds) * SYNTHESIS_RATE).astype(int)
    total = int(ends[-1])
    time = np.arange(total) / SYNTHESIS_RATE
    f0 = pitch * (1.1 - 0.2 * time / time[-1] + 0.04 * np.sin(2 * np.pi * 3.1 * time + number))
    pulses = np.diff(np.floor(np.cumsum(f0 / SYNTHESIS_RATE)), prepend=0.0)
    source = lfilter([1.0], [1.0, -0.96], pulses - pulses.mean())
    noise = generator.standard_normal(total)
    sounds = {v: _formants(source, [f / tract for f in formants]) for v, formants in VOWELS.items()}
    sounds |= {"hiss": 0.15 * lfilter([1.0, -0.9], [1.0], noise), "murmur": _formants(source, [250 / tract]) * 0.3}
    gains = {name: np.zeros(total) for name in sounds}
    for letter, start, end in zip(letters, np.concatenate([[0], ends[:-1]]), ends, strict=True):
        name = letter if letter in VOWELS else "hiss" if letter in HISSING else "murmur"
        if letter.strip():
            gains[name][start:end] = 1.0
    speech = sum(uniform_filter1d(gains[name], SYNTHESIS_RATE // 50) * sounds[name] for name in sounds)
    speech *= 0.3 / np.abs(speech).max()
    hum = 0.002 * np.sin(2 * np.pi * 50 * time) if layout == "0.80" else 0.0
    return soxr.resample(speech + hum + 0.0003 * noise, SYNTHESIS_RATE, RATE)


def _formants(source: NDArray[np.float64], frequencies: list[float]) -> NDArray[np.float64]:
    for frequency in frequencies:
        radius = np.exp(-np.pi * 90.0 / SYNTHESIS_RATE)
        poles = [1.0, -2 * radius * np.cos(2 * np.pi * frequency / SYNTHESIS_RATE), radius**2]
        source = lfilter([sum(poles)], poles, source)
    return source / np.sqrt(np.mean(source**2))


def _generator(speaker: str, number: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(speaker.encode()), number])


def _write_text(fake: FakeVCTK, speaker: str, utterance: str, words: str) -> None:
    words = words.capitalize() + "."
    content = {"p225_002": "", "p225_003": f"{words}\r\n", "p226_004": words.replace(" ", "\n") + "\n\n"}
    content |= {"p232_005": f" \t{words} \t\n"}
    path = fake.root / "txt" / speaker / f"{utterance}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content.get(utterance, words + "\n"), encoding="utf-8", newline="")
    if utterance != "p225_002":
        fake.texts[utterance] = words


def _write_audio(
    fake: FakeVCTK, layout: str, speaker: str, utterance: str, sound: NDArray[np.float64], broken: bool
) -> None:
    folder = fake.root / WAV_FOLDER[layout] / speaker
    folder.mkdir(parents=True, exist_ok=True)
    mics = ["mic1"] if layout == "0.80" or speaker in NO_MIC2 or utterance in NO_AUDIO_MIC2 else ["mic1", "mic2"]
    for mic in mics:
        path = folder / (f"{utterance}.wav" if layout == "0.80" else f"{utterance}_{mic}.flac")
        fake.audio[mic].append(utterance)
        if broken and utterance in (GARBAGE, ZERO_BYTES, NO_SAMPLES):
            fake.unreadable.add(utterance)
            if utterance == NO_SAMPLES and layout == "0.80":
                soundfile.write(path, np.zeros(0), RATE)
            else:  # FLAC can't be without samples
                path.write_bytes(b"" if utterance == ZERO_BYTES else b"<html>404 Not Found</html>")
            continue
        heard = sound if mic == "mic1" else 0.8 * lfilter([1.0, 0.3], [1.0], sound)  # another place, another colour
        frames = np.stack([heard, 0.5 * heard], axis=1) if utterance == STEREO else heard
        soundfile.write(path, frames, RATE, subtype="PCM_24" if utterance == DEEP else "PCM_16")


def _write_speaker_info(root: Path, speakers: list[str], layout: str) -> None:
    lines = ["ID  AGE  GENDER  ACCENTS  REGION " + ("COMMENTS " if layout == "0.92" else "")]
    for speaker in speakers:
        age, gender, accent, region, comment, *_ = SPEAKERS[speaker]
        if layout == "0.92":
            lines.append(f"{speaker}  {age}  {gender}    {accent}    {region}  {comment}")
        elif speaker != "p280":
            lines.append(f"{speaker.removeprefix('p')}  {age}  {gender}    {accent}    {region}")
    (root / "speaker-info.txt").write_text("\n".join(lines) + "\n")


def _write_strays(root: Path, layout: str) -> None:
    wav = root / WAV_FOLDER[layout]
    suffix = ".wav" if layout == "0.80" else "_mic1.flac"
    strays = [wav / ".DS_Store", wav / "log.txt", wav / "p225/.DS_Store", wav / f"p225/._p225_001{suffix}"]
    strays += [wav / f"p225/copy of p225_001{suffix}", root / "txt/.DS_Store", root / "txt/log.txt"]
    strays += [root / "txt/p225/._p225_001.txt", root / "README.txt", root / "._speaker-info.txt"]
    for stray in strays:
        stray.write_bytes(b"\x00\x05\x16\x07 stray")
    (wav / "empty").mkdir()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write into; it is made")
    parser.add_argument("--layout", choices=("0.80", "0.92"), default="0.92", help="release [%(default)s]")
    parser.add_argument("--depth", type=int, choices=(0, 1, 2), default=0, help="folders around it [%(default)s]")
    parser.add_argument("--utterances", type=int, default=20, help="a speaker; p376 has 3 [%(default)s]")
    parser.add_argument("--broken", choices=("true", "false"), default="true", help="unreadable audio [%(default)s]")
    options = parser.parse_args()
    fake = write_fake_vctk(
        options.out,
        options.layout,
        depth=options.depth,
        utterances=options.utterances,
        broken=options.broken == "true",
    )
    counts = {mic: len(ids) for mic, ids in fake.audio.items()}
    print(f"{fake.root}: audio {counts}, {len(fake.texts)} texts, {len(fake.unreadable)} unreadable")


if __name__ == "__main__":
    main()
