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


def test_noise_is_no_burst(radio):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, 50, np.uint8).tobytes() for _ in range(20)]
    assert (radio["from_bursts"](noise, 1, 50, 100) == -1).all()
