"""The baseline without a network: it learns, codes at the rate it says, and improves with its levels."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from audiovq.data.corpus.pack import pack
from audiovq.data.kaldi.datadir import DataDir
from audiovq.data.kaldi.utterance import Utterance
from audiovq.errors import BadDataError
from audiovq.evaluate.melrvq import FFT, HOP, NUM_MELS, WINDOW, MelRVQ, griffin_lim, learning_sounds, levels_of
from audiovq.metrics.mel import mel_distance_db


@pytest.fixture(scope="module")
def baseline(sound):
    return MelRVQ.learn([sound(seed=seed, seconds=15) for seed in range(5)], 3)


def test_more_levels_come_nearer_at_the_bitrate_they_say(baseline, sound):
    x = sound(seed=9, seconds=4)
    distances = []
    for levels in (1, 3):
        coder = baseline.coder(levels)
        data = coder.encode(x, "")
        y = coder.decode(data)
        assert y.shape == x.shape
        assert y.dtype == np.float32
        assert coder.payload_bits(data) == 10 * levels * 81  # 321 frames in blocks of 4
        assert len(data) == 4 + -(-coder.payload_bits(data) // 8)
        distances.append(mel_distance_db(x, y, 16000))
    assert distances[1] < distances[0] < 8
    assert baseline.coder(3).name == "mel-RVQ 0.6"


def test_packed_codes_are_the_codes(baseline, sound):
    x = sound(seed=3, seconds=1.03)
    coder = baseline.coder(2)
    np.testing.assert_array_equal(coder.decode(coder.encode(x, "")), baseline.decode(baseline.encode(x, 2), len(x)))


def test_learning_is_repeatable_and_leaves_random_numbers_alone(baseline, sound):
    state = torch.get_rng_state()
    again = MelRVQ.learn([sound(seed=seed, seconds=15) for seed in range(5)], 3)
    assert torch.equal(torch.get_rng_state(), state)
    x = sound(seed=7)
    np.testing.assert_array_equal(again.encode(x, 3), baseline.encode(x, 3))


def test_griffin_lim_of_an_unquantised_spectrum_is_near_the_original(sound):
    from librosa import stft
    from librosa.filters import mel

    x = sound(seconds=2)
    magnitudes = np.abs(stft(x, n_fft=FFT, hop_length=HOP, win_length=WINDOW, pad_mode="constant"))
    log_mel = np.log(np.maximum(mel(sr=16000, n_fft=FFT, n_mels=NUM_MELS) @ magnitudes, 1e-5))
    assert mel_distance_db(x, griffin_lim(torch.from_numpy(log_mel.T), len(x)), 16000) < 1.5


def test_too_little_sound_is_refused(sound):
    with pytest.raises(BadDataError, match="only 21 blocks"):
        MelRVQ.learn([sound()], 1)
    with pytest.raises(BadDataError, match="only 0 blocks"):
        MelRVQ.learn([], 1)


def test_sounds_come_from_a_pack_or_a_data_directory(sound, tmp_path):
    soundfile.write(tmp_path / "a.wav", sound(rate=8000), 8000)
    DataDir((Utterance("a", "ann", str(tmp_path / "a.wav")),)).write(tmp_path / "data")
    pack(tmp_path / "data", tmp_path / "pack", 8000)
    one, other = (next(learning_sounds(tmp_path / name)) for name in ("data", "pack"))
    assert one.shape == other.shape == (16000,)
    assert np.abs(one - other).max() < 1e-3
    with pytest.raises(BadDataError):
        next(learning_sounds(tmp_path / "none"))


@pytest.mark.parametrize(
    ("spec", "levels"), [("melrvq:0.2", 1), ("melrvq:1.0", 5), ("melrvq:3", 15), ("melrvq:10", 50)]
)
def test_bitrates_are_multiples_of_a_level(spec, levels):
    assert levels_of(spec) == levels


@pytest.mark.parametrize(
    "spec", ["melrvq", "melrvq:", "melrvq:1.1", "melrvq:0", "melrvq:-1", "melrvq:11", "melrvq:nan"]
)
def test_other_bitrates_are_refused(spec):
    with pytest.raises(ValueError, match=r"multiple of 0\.2"):
        levels_of(spec)
