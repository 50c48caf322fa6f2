"""Neural codecs whose weights the user has: what they need is said, and what they write holds their codes."""

import os
from pathlib import Path

import numpy as np
import pytest

from audiovq.evaluate.neural_peers import coded
from audiovq.evaluate.peers import MissingPeerError, make_peer


def test_codes_are_written_in_their_bits_and_read_back():
    def analyse(waveform):
        return np.stack([np.arange(len(waveform) // 10) % 16, np.arange(len(waveform) // 10) % 5])

    seen = []

    def synthesize(codes):
        seen.append(codes)
        return np.zeros(10 * codes.shape[1], np.float32)

    coder = coded("toy", 16000, 2, 4, analyse, synthesize)
    sound = np.zeros(1003, np.float32)
    data = coder.encode(sound, "")
    assert coder.payload_bits(data) == 100 * 8
    assert len(data) == 4 + 100
    assert coder.decode(data).shape == (1000,)
    np.testing.assert_array_equal(seen[0], analyse(sound))


@pytest.mark.parametrize("spec", ["lyra:3.2", "encodec:1.5", "dac:0.5", "mimi:1.1"])
def test_without_weights_it_is_said_how_to_name_them(spec, tmp_path):
    with pytest.raises(MissingPeerError, match=r"--weights \w+=DIR"):
        make_peer(spec, 16000)
    with pytest.raises(MissingPeerError, match=spec):
        make_peer(spec, 16000, {spec.partition(":")[0]: tmp_path})


def test_an_unknown_mode_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"lyra:MODE, with a mode of 3\.2, 6, 9\.2"):
        make_peer("lyra:1", 16000)


def test_the_original_is_a_row_of_its_own():
    sound = (np.arange(1000) % 50 / 50).astype(np.float32)
    coder = make_peer("original", 16000)
    np.testing.assert_allclose(coder.decode(coder.encode(sound, "")), sound, atol=1 / 32768)


CONFIGS = {
    "encodec:24": ("Encodec", {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16}),
    "dac:1": ("Dac", {"encoder_hidden_size": 8, "decoder_hidden_size": 32, "n_codebooks": 4, "sampling_rate": 16000}),
    "mimi:1.1": (
        "Mimi",
        {"num_filters": 4, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
         "num_key_value_heads": 2, "head_dim": 16, "codebook_dim": 16, "vector_quantization_hidden_dimension": 16,
         "upsample_groups": 32},
    ),
}  # fmt: skip


@pytest.mark.parametrize("spec", CONFIGS)
def test_networks_of_transformers_code_and_decode(spec, tmp_path):
    transformers = pytest.importorskip("transformers")
    kind, options = CONFIGS[spec]
    config = getattr(transformers, f"{kind}Config")(**options)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    coder = make_peer(spec, 16000, {spec.partition(":")[0]: tmp_path})
    seconds = 2.0
    sound = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * coder.rate)).astype(np.float32)
    data = coder.encode(sound, "")
    decoded = coder.decode(data)
    assert abs(len(decoded) - len(sound)) < 0.1 * coder.rate
    assert np.isfinite(decoded).all()
    wanted = {"encodec:24": 24.0, "dac:1": 1.0, "mimi:1.1": 1.1}[spec]
    assert coder.payload_bits(data) / seconds / 1000 == pytest.approx(wanted, rel=0.1)  # some drop their edges


def test_lyra_codes_speech(tmp_path):
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")
    folder = os.environ.get("LYRA_WEIGHTS")
    if folder is None:
        pytest.skip("LYRA_WEIGHTS does not name the folder of Lyra's .tflite files")
    coder = make_peer("lyra:3.2", 16000, {"lyra": Path(folder)})
    sound = 0.1 * np.sin(np.arange(16000) / 10).astype(np.float32)
    data = coder.encode(sound, "")
    assert coder.payload_bits(data) == 3200
    assert coder.decode(data).shape == (16000,)
    assert coder.encode(sound, "") == data  # the state of a stream does not outlive it
