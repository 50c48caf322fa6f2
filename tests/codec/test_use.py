"""What the Python API takes, and where it may be used: the codes are always the same."""

import copy
import multiprocessing
import pickle

import numpy as np
import pytest
import torch

from audiovq import Codec
from audiovq.audio import AudioModelConfig, AudioVQVAE
from audiovq.errors import BadAudioError, ConfigError

from .conftest import FAST, RATE, SAMPLING, make_codec, sound

QUANTIZERS = {
    "vq": {"kind": "vq", "codebook_size": 32, "num_quantizers": 2, "kmeans_init": False},
    "cosine": {"kind": "vq", "codebook_size": 32, "distance": "cosine", "kmeans_init": False},
    "grouped": {"kind": "vq", "codebook_size": 32, "codebook_dim": 4, "groups": 2, "kmeans_init": False},
    "fsq": {"kind": "fsq", "levels": [8, 5, 5], "num_quantizers": 2},
    "lfq": {"kind": "lfq", "bits": 8},
    "simvq": {"kind": "simvq", "codebook_size": 64},
}


class Encoding(torch.utils.data.Dataset):
    """As users write it: a codec in a data set."""

    def __init__(self, codec):
        self.codec = codec

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.from_numpy(self.codec.encode(sound(0.5 + index), RATE).codes)


@pytest.mark.parametrize("config", [FAST, SAMPLING], ids=["fast", "wavenet"])
@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))], ids=["copy", "deepcopy", "pickle"]
)
def test_a_codec_is_copied_and_pickled(config, again):
    codec = make_codec(config)
    wave = sound(0.3)
    encoded = codec.encode(wave, RATE)
    wanted = codec.decode(encoded)  # a sampler is made
    other = again(codec)
    np.testing.assert_array_equal(other.encode(wave, RATE).codes, encoded.codes)
    np.testing.assert_array_equal(other.decode(encoded), wanted)


def test_a_codec_works_in_processes_that_load_data():
    data = Encoding(make_codec(FAST))
    loader = torch.utils.data.DataLoader(
        data, batch_size=None, num_workers=1, multiprocessing_context=multiprocessing.get_context("spawn")
    )
    for index, codes in enumerate(loader):
        assert torch.equal(codes, data[index])


@pytest.mark.parametrize("rate", [16000.0, np.float32(16000), np.int64(16000), np.uint16(16000), torch.tensor(16000)])
def test_rates_are_whole_numbers_of_any_type(rate):
    codec = make_codec(FAST)
    encoded = codec.encode(sound(0.3), rate)
    assert encoded.header == codec.encode(sound(0.3), 16000).header
    assert type(encoded.header.sample_rate) is int


@pytest.mark.parametrize("rate", [16000.5, float("nan"), float("inf"), -16000.0, 1e300, "fast", None, [16000, 8000]])
def test_other_rates_are_refused(rate):
    with pytest.raises(BadAudioError, match="whole number"):
        make_codec(FAST).encode(sound(0.1), rate)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_any_float_type_are_taken(dtype):
    codec = make_codec(FAST)
    wave = torch.from_numpy(sound(0.5)).to(dtype).requires_grad_()
    wanted = codec.encode(wave.detach().float().numpy(), RATE).codes
    np.testing.assert_array_equal(codec.encode(wave, RATE).codes, wanted)


def test_what_float32_does_not_hold_is_refused_and_what_is_far_too_loud_is_warned_of():
    codec = make_codec(FAST)
    with pytest.raises(BadAudioError, match="infinity"):
        codec.encode(np.full(1000, 1e300), RATE)
    with pytest.warns(UserWarning, match=r"take peaks at [0-9.]+, \d+ dB above full scale.*divide"):
        codec.encode(32768 * sound(0.3), RATE, name="take")


def test_bytes_are_decoded():
    codec = make_codec(FAST)
    data = codec.compress(sound(0.5), RATE)
    for given in (data, bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(codec.decode(given), codec.decompress(data)[0])


def test_a_start_past_the_end_is_said():
    codec = make_codec(FAST)
    with pytest.warns(UserWarning, match=r"start 5 s is past its end at 0\.50 s"):
        assert codec.decode(codec.compress(sound(0.5), RATE), start=5.0).shape == (1, 0)


@pytest.mark.parametrize("device", [torch.device("cpu"), "cpu", "auto"])
def test_devices_are_names_or_torchs_own(tmp_path, device):
    make_codec(FAST).model.save_pretrained(tmp_path)
    assert Codec.from_pretrained(tmp_path, device).device.type in ("cpu", "cuda")


@pytest.mark.parametrize("device", [torch.device("meta"), "mps", "cpu:x", "tpu", ""])
def test_other_devices_are_refused(tmp_path, device):
    make_codec(FAST).model.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="device"):
        Codec.from_pretrained(tmp_path, device)


@pytest.mark.parametrize("config", [*(FAST | {"quantizer": q} for q in QUANTIZERS.values()), SAMPLING], ids=str)
@pytest.mark.parametrize("default", [torch.float64, torch.bfloat16], ids=str)
def test_codes_and_sound_do_not_depend_on_torchs_default_type_or_autocast(tmp_path, config, default):
    torch.manual_seed(0)
    AudioVQVAE.from_config(AudioModelConfig.model_validate(config)).save_pretrained(tmp_path)
    early, wave = Codec.from_pretrained(tmp_path, "cpu"), sound(0.4)
    encoded = early.encode(wave, RATE)
    wanted = early.decode(encoded)
    torch.set_default_dtype(default)
    try:
        late = Codec.from_pretrained(tmp_path, "cpu")
        assert torch.get_default_dtype() == default
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for codec in (early, late):
                np.testing.assert_array_equal(codec.encode(wave, RATE).codes, encoded.codes)
                np.testing.assert_array_equal(codec.decode(encoded), wanted)
    finally:
        torch.set_default_dtype(torch.float32)
