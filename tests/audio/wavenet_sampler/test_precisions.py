"""bfloat16 and int8 weights: near to float32 within stated bounds, and refused where they can't be had."""

import numpy as np
import pytest
import torch

from audiovq.audio.wavenet_sampler import WaveNetSampler, compiled, pack, vector_loop
from audiovq.audio.wavenet_sampler.pack import pack_matrix
from audiovq.errors import ConfigError
from audiovq.simd.vectors import LANES

from .conftest import forced_outputs, make_case, make_decoder, parallel_outputs
from .test_state import needs_int8

# Of a random decoder whose logits have a standard deviation of about 1: the largest difference of a logit, and the
# Kullback-Leibler divergence in nats per sample.
BOUNDS = {"bf16": (0.05, 3e-5), "int8": (0.2, 4e-4)}


@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=needs_int8)])
@pytest.mark.parametrize("seed", range(3))
def test_differences_stay_within_their_bounds(precision, seed):
    decoder = make_decoder(channels=32, gate_channels=32, skip_channels=64, gain=1.5, seed=seed)
    decoder.stack.output.weight.data.mul_(8)
    case = make_case(decoder, 800)
    exact = parallel_outputs(decoder, case)
    assert 0.5 < exact.std() < 2
    outputs = forced_outputs(WaveNetSampler(decoder, precision, backend="numba"), case)
    largest, divergence = BOUNDS[precision]
    assert 1e-4 < (outputs - exact).abs().max() < largest
    p, q = exact.log_softmax(-1), outputs.log_softmax(-1)
    kl = (p.exp() * (p - q)).sum(-1).mean()
    print(f"{precision} max |d| {(outputs - exact).abs().max():.3f} KL {kl:.1e} nats std {exact.std():.2f}")
    assert kl < divergence


def test_bfloat16_weights_are_a_half_step_off_at_most():
    random = np.random.default_rng(0)
    matrix = (random.standard_normal((4 * LANES, 64)) * 10.0 ** random.integers(-6, 3, 64)).astype(np.float32)
    matrix[:, 0], matrix[:, 1] = 0.0, -0.0
    weights, _ = pack_matrix(matrix, "bf16")
    pairs = np.frombuffer(weights, np.uint32).reshape(64, 2, LANES)
    even, odd = (pairs << 16).view(np.float32), pairs.view(np.float32)
    packed = np.stack([even, odd], 2).reshape(64, 4 * LANES).T
    step = np.ldexp(1.0, np.frexp(np.maximum(np.abs(matrix), 1e-30))[1] - 8)
    off = np.abs(packed - matrix) / step
    assert off.max() <= 0.75
    assert (off <= 0.5001).mean() > 0.99  # all but odd ones just under a power of two


@pytest.mark.parametrize("limit", [None, 128])
def test_int8_weights_are_a_half_step_off_at_most_and_keep_to_the_limit_of_pairs(limit, monkeypatch):
    monkeypatch.setattr(pack, "PAIR_LIMIT", limit)
    matrix = np.random.default_rng(0).standard_normal((2 * LANES, 8)).astype(np.float32)
    matrix[0] = 0
    weights, consts = pack_matrix(matrix, "int8")
    integers = np.frombuffer(weights, np.int8).reshape(2, 2 * LANES, 4).transpose(1, 0, 2).reshape(2 * LANES, 8)
    start, steps = np.frombuffer(consts, np.int32).reshape(2, 2, LANES).transpose(1, 0, 2).reshape(2, 2 * LANES)
    steps = steps.view(np.float32)
    assert (np.abs(integers * steps[:, None] - matrix) <= steps[:, None] * 0.5001).all()
    np.testing.assert_array_equal(start, -128 * integers.sum(1, dtype=np.int32))
    magnitudes = np.abs(integers.astype(np.int32))
    assert magnitudes.max() > 60
    if limit:
        assert 120 < (magnitudes[:, ::2] + magnitudes[:, 1::2]).max() <= limit


@pytest.mark.parametrize("backend", ["auto", "numba"])
def test_int8_without_instructions_for_it_is_refused_with_what_to_choose(monkeypatch, backend):
    monkeypatch.setattr(vector_loop.byte_products, "AVAILABLE", False)
    with pytest.raises(ConfigError, match=r"AVX2.*bf16 or fp32"):
        WaveNetSampler(make_decoder(), "int8", backend=backend)


def test_unknown_words_are_refused():
    with pytest.raises(ConfigError, match="fp32, bf16, int8"):
        WaveNetSampler(make_decoder(), "fp16")
    with pytest.raises(ConfigError, match="backend"):
        WaveNetSampler(make_decoder(), backend="cuda")


def test_reduced_precision_is_not_for_the_definition():
    with pytest.raises(ConfigError, match="needs the compiled sampler"):
        WaveNetSampler(make_decoder(), "bf16", backend="torch")


def test_where_the_loop_does_not_compile_the_definition_does_the_same_and_says_so(monkeypatch, recwarn):
    def refuse(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(compiled.VectorLoop, "run", refuse)
    decoder = make_decoder()
    case = make_case(decoder, 100)
    sampler = WaveNetSampler(decoder)
    assert sampler.backend == "torch"
    assert "no such instruction" in sampler.backend_reason
    assert any("slower" in str(warning.message) for warning in recwarn)
    with pytest.raises(ConfigError, match="no such instruction"):
        WaveNetSampler(decoder, "bf16")
    torch.testing.assert_close(forced_outputs(sampler, case), parallel_outputs(decoder, case), atol=1e-4, rtol=0)
