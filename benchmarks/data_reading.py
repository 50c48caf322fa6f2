"""Random seconds of training data: from a pack, and from the audio files, by CPU time.

    python benchmarks/data_reading.py CORPUS [--files 200] [--rounds 9] [--json FILE]

CORPUS is any folder of audio files, such as a copy of VCTK. Copies of some of its recordings are made as 48 kHz flac,
48 kHz wav and 16 kHz flac, and packed at 16 kHz. Every candidate then reads the same random seconds as float32 at
16 kHz, from files that the system has in memory, on one core.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import harness  # before numpy: it sets the number of threads
import numpy as np
import soundfile
import soxr

from audiovq.data.audio import read_audio, write_audio
from audiovq.data.corpus.base import Corpus
from audiovq.data.corpus.direct import DirectCorpus
from audiovq.data.corpus.pack import pack
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.data.resampling import resample

RATE = 16000  # of what training wants
READS = 16  # a call: a batch of as many seconds
TARGET = 15.0  # times the reads per CPU-second of seeking and resampling


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, make the copies, measure, print."""
    parser = argparse.ArgumentParser(description="Random one-second reads per CPU-second.")
    parser.add_argument("corpus", type=Path, help="a folder of audio files")
    parser.add_argument("--files", type=int, default=200, help="recordings to take, spread evenly (200)")
    harness.add_options(parser, rounds=9)
    options = parser.parse_args(argv)
    harness.pin()
    facts = harness.machine(options.device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    with tempfile.TemporaryDirectory() as folder:
        directories, own_rate = make_copies(options.corpus, options.files, Path(folder))
        count = len(DataDir.read(directories["flac 48 kHz"]).utterances)
        print(f"{count} recordings of at least 2 s, {own_rate} of them at 48 kHz in the corpus, the others resampled\n")
        timings = harness.compare(candidates(directories, Path(folder) / "pack"), rounds=options.rounds)
    base = "flac 48 kHz: seek, read, soxr"
    rows = [dict(name=name, reads=READS / timing.ms * 1e3) | asdict(timing) for name, timing in timings.items()]
    slowest = next(row["ratio"] for row in rows if row["name"] == base)
    for row in rows:
        row["times"] = slowest / row["ratio"]  # ratios are to the pack, of the same round
    header = ["one second at 16 kHz from", "reads / CPU-s", "x seek and resample"]
    print(harness.table(header, [[row["name"], row["reads"], row["times"]] for row in rows]))
    times = rows[0]["times"]
    verdict = "met" if times >= TARGET else "MISSED"
    print(f"\ntarget: the pack at least {TARGET:g} x seek and resample: {times:.1f}, {verdict}")
    if options.json:
        harness.write_json(options.json, facts, rows=rows)


def make_copies(corpus: Path, files: int, folder: Path) -> tuple[dict[str, Path], int]:
    """Data directories of the copies, and how many recordings were at 48 kHz already."""
    found = sorted(p for p in corpus.rglob("*") if p.suffix.lower() in (".flac", ".wav"))
    infos = [(path, soundfile.info(path)) for path in found]
    long = [(path, info.samplerate) for path, info in infos if info.frames >= 2 * info.samplerate]
    if not long:
        sys.exit(f"data_reading.py: error: {corpus}: no flac or wav file of 2 s or more under it")
    taken = [long[k * len(long) // files] for k in range(files)] if len(long) > files else long
    kinds = {"flac 48 kHz": ("flac", 48000), "wav 48 kHz": ("wav", 48000), "flac 16 kHz": ("flac", RATE)}
    directories = {}
    for kind, (suffix, rate) in kinds.items():
        (folder / kind / "audio").mkdir(parents=True)
        utterances = []
        for number, (path, _) in enumerate(taken):
            waveform, own = read_audio(path)
            copy = folder / kind / "audio" / f"u{number:05d}.{suffix}"
            write_audio(copy, np.clip(resample(waveform, own, rate), -1, 1), rate)
            utterances.append(Utterance(copy.stem, "s", str(copy)))
        DataDir(tuple(utterances)).write(folder / kind)
        directories[kind] = folder / kind
    return directories, sum(rate == 48000 for _, rate in taken)


def candidates(directories: dict[str, Path], pack_folder: Path) -> dict[str, Callable[[], object]]:
    """Name -> a call that reads a batch of seconds; the pack is the first."""
    packed = pack(directories["flac 48 kHz"], pack_folder, RATE)
    generator = np.random.default_rng(0)
    picked = generator.integers(len(packed), size=4096).tolist()
    places = [(i, int(generator.integers(packed.utterances[i].num_samples - RATE))) for i in picked]
    calls = {"the pack": of_corpus(packed, places)}
    for kind, directory in directories.items():
        calls[f"{kind}: the data directory"] = of_corpus(DirectCorpus(directory, RATE), places)
    paths = {kind: [u.recording for u in DataDir.read(path).utterances] for kind, path in directories.items()}
    calls["flac 48 kHz: seek, read, soxr"] = batches(places, lambda i, s: seek(paths["flac 48 kHz"][i], s, 48000))
    calls["flac 48 kHz: whole file, soxr"] = batches(places, lambda i, s: whole(paths["flac 48 kHz"][i], s, 48000))
    try:
        import kaldiio
    except ImportError:
        print("kaldiio is not installed: left out\n")
    else:
        scp = kaldiio.load_scp(str(directories["flac 16 kHz"] / "wav.scp"))
        ids = list(scp)
        calls["flac 16 kHz: kaldiio.load_scp"] = batches(places, lambda i, s: scp[ids[i]][1][s : s + RATE])
    return calls


def of_corpus(corpus: Corpus, places: list[tuple[int, int]]) -> Callable[[], object]:
    return batches(places, lambda i, start: corpus.read(i, start, RATE))


def batches(places: list[tuple[int, int]], read: Callable[[int, int], object]) -> Callable[[], object]:
    """A call that reads the next few places, round and round."""
    endless = itertools.cycle(places)
    return lambda: [read(i, start) for i, start in itertools.islice(endless, READS)]


def seek(path: str, start: int, rate: int) -> np.ndarray:
    """What a data loader without a pack does; no context around the second, so its ends are slightly off."""
    with soundfile.SoundFile(path) as file:
        file.seek(start * rate // RATE)
        samples = file.read(rate, dtype="float32", always_2d=True)[:, 0]
    return soxr.resample(samples, rate, RATE)


def whole(path: str, start: int, rate: int) -> np.ndarray:
    """What many public loaders do."""
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(samples[:, 0], rate, RATE)[start : start + RATE]


if __name__ == "__main__":
    main()
