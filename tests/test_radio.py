"""docs/radio.md: bursts carry what they say, and lose no more than themselves."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiovq.data.audio import read_audio

DOCUMENT = (Path(__file__).parents[1] / "docs" / "radio.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
RATE = 16000


@pytest.fixture(scope="module")
def radio() -> dict[str, Any]:
    """What the page defines."""
    names: dict[str, Any] = {}
    exec("".join(BLOCKS), names)
    return names


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    waveform, rate = read_audio(Path(str(resources.files("audiovq") / "assets" / "sample.flac")))
    assert rate == RATE
    return waveform[0, : 3 * RATE]


def test_the_table_is_what_fits(radio):
    rows = re.findall(r"^\| +(\d+) \| +([\d.]+) s \| +([\d.]+) s \| +([\d.]+) s \|$", DOCUMENT, re.MULTILINE)
    assert len(rows) == 3
    for burst, *seconds in rows:
        frames = [radio["frames_in"](int(burst), levels) for levels in (1, 2, 4)]
        assert [f"{count / radio['codec'].frame_rate:.2f}" for count in frames] == seconds


@pytest.mark.parametrize(("levels", "burst_bytes"), [(1, 50), (2, 51), (4, 200)])
def test_bursts_in_any_order_give_the_codes_back(radio, speech, levels, burst_bytes):
    codes = radio["codec"].encode(speech, RATE, num_quantizers=levels).codes
    bursts = radio["send"](speech, RATE, levels, burst_bytes)
    assert max(map(len, bursts)) <= burst_bytes
    np.testing.assert_array_equal(radio["from_bursts"](bursts[::-1], levels, burst_bytes, codes.shape[2]), codes)


def test_a_burst_that_is_lost_or_damaged_costs_itself_only_and_is_bridged(radio, speech):
    bursts = radio["send"](speech, RATE)
    step = radio["frames_in"](50, 1)
    damaged = bytearray(bursts[2])
    damaged[20] ^= 1
    came = [bursts[0], bytes(damaged), *bursts[3:]]  # number 1 is lost
    codes = radio["from_bursts"](came, 1, 50, 150)
    whole = radio["from_bursts"](bursts, 1, 50, 150)
    assert (codes[:, :, step : 3 * step] == -1).all()
    np.testing.assert_array_equal(
        np.delete(codes, slice(step, 3 * step), 2), np.delete(whole, slice(step, 3 * step), 2)
    )
    heard = radio["hear"](came, 3.0)
    assert heard.shape == (1, 3 * RATE)
    assert np.abs(heard[:, step * 320 : step * 320 + RATE // 10]).max() > 0.01  # goes on
    assert not heard[:, step * 320 + RATE // 2 : 3 * step * 320].any()  # and has faded


def test_a_live_link_hears_what_a_recording_does(radio, speech):
    bursts = radio["send"](speech, RATE)
    step = radio["frames_in"](50, 1)
    came = [bursts[0], *bursts[2:]]  # number 1 is lost
    codes = radio["from_bursts"](came, 1, 50, 150)
    stream = radio["codec"].sound_stream(radio["codec"].header(None, 1))
    pieces = [stream.push(codes[:, :, first : first + step]) for first in range(0, 150, step)]
    heard = np.concatenate([*pieces, stream.flush()], axis=1)
    np.testing.assert_allclose(heard, radio["hear"](came, 3.0), atol=1e-5)


class RunLengths:
    """A coder as bursts want it: a byte for the length of each run of one code, two for the code."""

    def encode(self, codes: np.ndarray) -> bytes:
        row = codes.reshape(-1)
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        runs = zip(row[starts], np.diff(starts, append=len(row)), strict=True)
        return b"".join(bytes([count]) + int(code).to_bytes(2, "big") for code, count in runs)

    def decode(self, data: bytes, channels: int, levels: int, frames: int) -> np.ndarray:
        runs = [(data[i], int.from_bytes(data[i + 1 : i + 3], "big")) for i in range(0, len(data), 3)]
        row = np.concatenate([np.full(count, code) for count, code in runs])
        return row.reshape(channels, levels, frames)


@pytest.mark.parametrize("levels", [1, 2])
def test_entropy_coded_bursts_are_filled_and_give_the_codes_back(radio, levels):
    codes = np.random.default_rng(0).integers(0, 8, (1, levels, 400)).repeat(2, axis=2)
    bursts = list(radio["to_coded_bursts"](codes[0], 60, RunLengths()))
    assert max(map(len, bursts)) <= 60
    assert np.mean([len(burst) for burst in bursts[:-1]]) > 54
    found = radio["from_coded_bursts"](bursts[::-1], levels, 800, RunLengths())
    np.testing.assert_array_equal(found, codes)
    lost = radio["from_coded_bursts"]([bursts[0], bursts[1][:-1] + b"!", *bursts[2:]], levels, 800, RunLengths())
    begin, end = bursts[0][3], bursts[0][3] + bursts[1][3]
    assert (lost[:, :, begin:end] == -1).all()
    np.testing.assert_array_equal(np.delete(lost, slice(begin, end), 2), np.delete(codes, slice(begin, end), 2))


def test_noise_is_no_burst(radio):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, 50, np.uint8).tobytes() for _ in range(20)] + [b"", bytes(2), bytes(50)]
    assert (radio["from_bursts"](noise, 1, 50, 100) == -1).all()
    assert (radio["from_coded_bursts"](noise, 1, 100, RunLengths()) == -1).all()
