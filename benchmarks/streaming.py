"""Streams: cost of small pushes against the offline call, and the command line's pipeline against the clock.

    python benchmarks/streaming.py [--model NAME] [--seconds 60] [--json FILE]
    python benchmarks/streaming.py --pipeline 60     # audiovq encode | audiovq decode, fed as a microphone feeds it

The pipeline gets 20 ms of sound every 20 ms. A player that starts `--buffer` seconds after the first sound has come and
plays at the sample rate has a gap where the sound it wants next is not there yet.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import resources

import harness  # before torch: it sets the number of threads
import numpy as np

from audiovq.codec import Codec
from audiovq.data.audio import read_audio
from audiovq.data.pcm import to_int16
from audiovq.data.resampling import resample

PUSHES = (0.02, 0.1, 1.0)  # seconds
WAV_HEADER = 44  # bytes


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the options, measure, print."""
    parser = argparse.ArgumentParser(description="Streams against the offline call, and a pipeline against the clock.")
    parser.add_argument("--model", default="speech-16k", help="a bundled name or a folder (speech-16k)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of sound (60)")
    parser.add_argument("--pipeline", type=float, metavar="SECONDS", help="run the commands for so long instead")
    parser.add_argument("--buffer", type=float, default=0.3, help="seconds that the player waits at first (0.3)")
    harness.add_options(parser, rounds=3)
    options = parser.parse_args(argv)
    facts = harness.machine(options.device)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), "\n")
    if options.pipeline is not None:
        print(pipeline(options.model, options.pipeline, options.buffer))
        return
    harness.pin()
    codec = Codec.from_pretrained(options.model)
    sound = some_speech(options.seconds, codec.sample_rate)
    calls: dict[str, Callable[[], object]] = {"encode, offline": lambda: codec.encode(sound, codec.sample_rate)}
    calls |= {f"encode, {push:g} s": lambda push=push: encoded(codec, sound, push) for push in PUSHES}
    show(harness.compare(calls, rounds=options.rounds), options.seconds)
    streams = {push: in_packets(codec, sound, min(push, 0.1)) for push in PUSHES}
    calls = {"decode, offline": lambda: codec.decode(streams[0.1])}
    calls |= {f"decode, {p:g} s": lambda p=p: decoded(codec, streams[p], p, options.seconds) for p in PUSHES}
    show(harness.compare(calls, rounds=options.rounds), options.seconds)


def encoded(codec: Codec, sound: np.ndarray, push: float) -> None:
    """The sound in pushes of so many seconds; a packet for each, of 0.1 s at most."""
    encoder = codec.encoder_stream(codec.sample_rate, packet_seconds=min(push, 0.1))
    step = round(push * codec.sample_rate)
    for start in range(0, sound.shape[1], step):
        encoder.push(sound[:, start : start + step])
    encoder.flush()


def in_packets(codec: Codec, sound: np.ndarray, seconds: float) -> bytes:
    """A stream with packets of that length."""
    encoder = codec.encoder_stream(codec.sample_rate, packet_seconds=seconds)
    return encoder.push(sound) + encoder.flush()


def decoded(codec: Codec, data: bytes, push: float, seconds: float) -> None:
    """The bytes in as many pushes as the sound has of so many seconds."""
    decoder = codec.decoder_stream()
    step = max(1, round(len(data) * push / seconds))
    for start in range(0, len(data), step):
        decoder.push(data[start : start + step])
    decoder.flush()


def show(timings: dict[str, harness.Timing], seconds: float) -> None:
    """A row for each: CPU time, its ratio to the offline call, and how much faster than the sound it is."""
    rows = [[name, t.ms, t.ratio, 1000 * seconds / t.ms] for name, t in timings.items()]
    print(harness.table(["pushes of", "CPU ms", "x offline", "x real time"], rows), "\n")


def pipeline(model: str, seconds: float, buffer: float) -> str:
    """Encode and decode in two processes, fed by the clock; what a player would have heard."""
    rate, step = 16000, 320
    data = to_int16(some_speech(seconds, rate))[0].astype("<i2").tobytes()
    command = [sys.executable, "-m", "audiovq"]
    first = subprocess.Popen(
        [*command, "encode", "--raw", str(rate), "-q", "--model", model, "-", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    second = subprocess.Popen(
        [*command, "decode", "-q", "--model", model, "-", "-"], stdin=first.stdout, stdout=subprocess.PIPE
    )
    assert first.stdin is not None
    assert first.stdout is not None
    assert second.stdout is not None
    first.stdout.close()
    arrived: list[tuple[float, int]] = []  # time, bytes of sound so far

    def listen() -> None:
        total = -WAV_HEADER
        while part := os.read(second.stdout.fileno(), 1 << 16):  # type: ignore[union-attr]
            total += len(part)
            if total > 0:
                arrived.append((time.monotonic(), total))

    listener = threading.Thread(target=listen)
    listener.start()
    # both are loaded and have begun to speak before the clock starts, as a call is answered before one speaks
    warm = 2 * rate * 2
    first.stdin.write(bytes(warm))
    first.stdin.flush()
    while not arrived:
        time.sleep(0.01)
    time.sleep(3.0)
    quiet = arrived[-1][1]
    began, longest_late = time.monotonic(), 0.0
    for i in range(0, len(data), 2 * step):
        due = began + i / (2 * rate)
        time.sleep(max(0.0, due - time.monotonic()))
        longest_late = max(longest_late, time.monotonic() - due)
        first.stdin.write(data[i : i + 2 * step])
        first.stdin.flush()
    first.stdin.close()
    listener.join()
    first.wait()
    second.wait()
    heard = [(when, total) for when, total in arrived if when > began]
    start = heard[0][0] + buffer  # the player's first sample, number `quiet`
    gaps, before = [], quiet
    for when, total in heard:
        missing = when - (start + (before - quiet) / (2 * rate))  # it wanted this block's first sample by then
        if missing > 0:
            gaps.append(f"{missing:.3f} s at {when - began:.1f} s")
            start += missing
        before = total
    # a sample's way through: when it came out less when it went in
    blocks = itertools.pairwise(heard)
    waits = [when - (began + (before - warm) / (2 * rate)) for (_, before), (when, _) in blocks]
    return (
        f"{seconds:g} s of sound, all of it back: {arrived[-1][1] == warm + len(data)}; gaps of a player that waits"
        f" {buffer:g} s: {', '.join(gaps) or 'none'}; a sample's way through both: median {np.median(waits):.3f} s,"
        f" 99 % {np.quantile(waits, 0.99):.3f} s, longest {max(waits):.3f} s;"
        f" the feeder was late by at most {longest_late:.3f} s"
    )


def some_speech(seconds: float, rate: int) -> np.ndarray:
    """The packaged sample, again and again: `[1, T]`."""
    with resources.files("audiovq").joinpath("assets/sample.flac").open("rb") as file:
        waveform, own = read_audio(file)
    sample = resample(waveform[:1], own, rate)
    count = round(seconds * rate)
    return np.tile(sample, (1, -(-count // sample.shape[1])))[:, :count]


if __name__ == "__main__":
    main()
