"""AudioVQVAE: codes and sound, speakers, and the model folder."""

import json

import pytest
import torch
from safetensors.torch import load_file

from audiovq.audio import AudioVQVAE
from audiovq.errors import BadModelError, ConfigError
from audiovq.modelfolder import read_model

from .conftest import FRAME, make_model


def test_codes_and_sound_have_the_stated_shapes(codec_model):
    codes = codec_model.encode(0.1 * torch.randn(2, 1, 1000))
    assert codes.shape == (2, 4, 32)
    assert codes.dtype == torch.int64
    for levels in (1, 2, 4):
        assert codec_model.decode(codes[:, :levels]).shape == (2, 1, 1024)


def test_any_number_of_levels_is_a_prefix_of_the_codes(codec_model):
    x = 0.1 * torch.randn(1, 1, 640)
    assert torch.equal(codec_model.encode(x, 2), codec_model.encode(x)[:, :2])


def test_every_level_of_a_residual_fsq_brings_the_latent_closer():
    model = make_model(quantizer={"kind": "fsq", "levels": [5] * 8, "num_quantizers": 3})
    z = torch.randn(1, 8, 200, generator=torch.Generator().manual_seed(0))
    codes = model.quantizer.encode(z)
    full = model.quantizer.decode(codes)
    errors = [(model.quantizer.decode(codes[:, :q]) - full).square().mean().item() for q in (1, 2)]
    assert errors[1] < 0.2 * errors[0]
    assert all(len(codes[:, q].unique()) > 20 for q in range(3))  # no level says the same of everything


def test_nothing_gives_nothing(codec_model):
    codes = codec_model.encode(torch.zeros(2, 1, 0))
    assert codes.shape == (2, 4, 0)
    assert codec_model.decode(codes).shape == (2, 1, 0)


def test_sound_depends_on_codes_within_the_stated_context_only(codec_model):
    left, right = codec_model.decoder_context()
    codes = torch.zeros(1, 4, 60, dtype=torch.int64)
    changed = codes.clone()
    changed[..., 30] = 5
    with torch.inference_mode():
        hop = codec_model.hop_length
        moved = (codec_model.decode(codes) != codec_model.decode(changed)).reshape(60, hop).any(dim=1).nonzero()
    assert moved.min() >= 30 - right
    assert moved.max() <= 30 + left


def test_the_speaker_changes_the_sound_and_not_the_codes():
    model = make_model(decoders={"fast": FRAME}, speakers=["ann", "bob"], speaker_dim=4)
    codes = model.encode(0.1 * torch.randn(1, 1, 640))
    ann, bob = (model.decode(codes, speaker=torch.tensor([i])) for i in (0, 1))
    assert not torch.allclose(ann, bob)
    with pytest.raises(ValueError, match="speaker"):
        model.decode(codes)


def test_a_model_may_carry_two_decoders_over_the_same_codes():
    wavenet = {"kind": "wavenet", "channels": 4, "gate_channels": 4, "skip_channels": 4, "layers_per_cycle": 2}
    model = make_model(decoders={"fast": FRAME, "wavenet": wavenet})
    codes = model.encode(0.1 * torch.randn(1, 1, 160))
    assert model.decoder_names == ["fast", "wavenet"]
    assert model.decoder_context("wavenet") is None
    assert not torch.equal(model.decode(codes), model.decode(codes, decoder="wavenet"))
    with pytest.raises(BadModelError, match=r"no decoder .flow.*fast, wavenet"):
        model.decode(codes, decoder="flow")


def test_a_wavenet_is_sampled_with_its_present_weights_in_the_precision_asked_for():
    model = make_model()
    codes = model.encode(0.1 * torch.randn(1, 1, 400))

    def decode(**options) -> torch.Tensor:
        return model.decode(codes, generator=torch.Generator().manual_seed(0), **options)

    before, uniforms = decode(), torch.rand(1, 400, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(decode(precision="fp32"), before)
    sampler = model.sampler(precision="bf16")
    expected, _ = sampler.sample(sampler.condition(model.quantizer.decode(codes), None), uniforms)
    assert torch.equal(decode(precision="bf16"), expected)
    with torch.no_grad():
        model.decoder().stack.output.bias[0] += 20
    assert not torch.equal(decode(), before)


def test_a_precision_that_there_is_not_is_refused(codec_model):
    codes = codec_model.encode(0.1 * torch.randn(1, 1, 400))
    assert codec_model.sampler() is None
    with pytest.raises(ConfigError, match="decoder 'fast' is no WaveNet"):
        codec_model.decode(codes, precision="int8")
    with pytest.raises(ConfigError, match="fp64"):
        make_model().sampler(precision="fp64")


def test_a_saved_model_gives_the_same_codes_and_sound(codec_model, tmp_path):
    codec_model.half().float()  # what float16 on disk will keep
    codec_model.save_pretrained(tmp_path / "m")
    loaded = AudioVQVAE.from_pretrained(tmp_path / "m")
    assert not loaded.training
    assert loaded.default_num_quantizers == 2
    again = AudioVQVAE.from_pretrained(tmp_path / "m")
    x = 0.1 * torch.randn(1, 1, 3200)
    assert torch.equal(loaded.encode(x), again.encode(x))
    assert (loaded.encode(x) == codec_model.encode(x)).float().mean() > 0.95  # the codebook, too, is float16 on disk
    assert torch.equal(loaded.decode(loaded.encode(x)), again.decode(loaded.encode(x)))


def test_weights_are_float16_and_without_training_state(codec_model, tmp_path):
    codec_model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert {v.dtype for v in tensors.values() if v.is_floating_point()} == {torch.float16}
    assert not [k for k in tensors if "ema" in k]
    loaded = AudioVQVAE.from_pretrained(tmp_path)
    level = loaded.quantizer.levels[0]
    assert torch.equal(level.ema_sums, level.codebook)  # as if each code had been used once
    assert level.ema_counts.tolist() == [1.0] * 16


def test_the_fingerprint_is_of_config_and_weights(codec_model, tmp_path):
    codec_model.save_pretrained(tmp_path)
    first = read_model(tmp_path).fingerprint
    codec_model.save_pretrained(tmp_path)
    assert read_model(tmp_path).fingerprint == first
    assert len(first) == 32
    config = json.loads((tmp_path / "config.json").read_text())
    config["default_num_quantizers"] = 3
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert read_model(tmp_path).fingerprint != first
    codec_model.save_pretrained(tmp_path)
    with torch.no_grad():
        codec_model.encoder.project.bias[0] += 1
    codec_model.save_pretrained(tmp_path)
    assert read_model(tmp_path).fingerprint != first


@pytest.mark.parametrize(
    ("tensor", "same"),
    [("decoders.fast.head.bias", True), ("encoder.project.bias", False), ("quantizer.levels.0.codebook", False)],
)
def test_codes_are_known_by_encoder_and_quantizer(codec_model, tmp_path, tensor, same):
    codec_model.save_pretrained(tmp_path)
    before = read_model(tmp_path).codes_fingerprint, read_model(tmp_path).fingerprint
    assert len(before[0]) == 32
    with torch.no_grad():
        codec_model.state_dict()[tensor].view(-1)[0] += 1
    codec_model.save_pretrained(tmp_path)
    assert (read_model(tmp_path).codes_fingerprint == before[0]) is same
    assert read_model(tmp_path).fingerprint != before[1]


def test_the_encoder_s_configuration_is_part_of_what_codes_mean(codec_model, tmp_path):
    codec_model.save_pretrained(tmp_path)
    first = read_model(tmp_path).codes_fingerprint
    config = json.loads((tmp_path / "config.json").read_text())
    for key, value, same in (("default_num_quantizers", 1, True), ("sample_rate", 11025, False)):
        (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
        assert (read_model(tmp_path).codes_fingerprint == first) is same


def test_bad_folders_are_refused_in_one_line(codec_model, tmp_path):
    with pytest.raises(BadModelError, match="not a model folder"):
        AudioVQVAE.from_pretrained(tmp_path / "missing")
    with pytest.raises(BadModelError, match=r"no config\.json"):
        AudioVQVAE.from_pretrained(tmp_path)
    codec_model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04broken")
    with pytest.raises(BadModelError, match="damaged"):
        AudioVQVAE.from_pretrained(tmp_path)
    codec_model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"speakrs": []}))
    with pytest.raises(BadModelError, match="speakrs"):
        AudioVQVAE.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"latent_dim": 9}))
    with pytest.raises(BadModelError, match="disagree"):
        AudioVQVAE.from_pretrained(tmp_path)
