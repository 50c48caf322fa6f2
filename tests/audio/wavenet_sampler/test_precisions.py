"""bfloat16 and int8 weights: near to float32 within stated bounds, and refused where they can't be had."""

import pytest
import torch

from audiovq.audio.wavenet_sampler import WaveNetSampler, compiled, vector_loop
from audiovq.audio.wavenet_sampler.pack import pack_matrix
from audiovq.errors import ConfigError

from .conftest import forced_outputs, make_case, make_decoder, parallel_outputs
from .test_state import needs_vnni

# Of a random decoder whose logits have a standard deviation of about 1: the largest difference of a logit, and the
# Kullback-Leibler divergence in nats per sample.
BOUNDS = {"bf16": (0.05, 3e-5), "int8": (0.2, 4e-4)}


@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=needs_vnni)])
@pytest.mark.parametrize("seed", range(3))
def test_differences_stay_within_their_bounds(precision, seed):
    decoder = make_decoder(channels=32, gate_channels=32, skip_channels=64, gain=1.5, seed=seed)
    decoder.stack.head[3].weight.data.mul_(8)
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


def test_weights_that_bfloat16_holds_are_exact():
    decoder = make_decoder(kernel_size=3, speaker_dim=2)
    for parameter in decoder.stack.parameters():
        parameter.data.copy_(parameter.bfloat16())
    for layer in decoder.stack.wavenet_layers[:-1]:
        layer.residual.weight.data.zero_()  # its scale is folded into the weights, and rounded with them
    case = make_case(decoder, 200)
    outputs = forced_outputs(WaveNetSampler(decoder, "bf16", backend="numba"), case)
    torch.testing.assert_close(outputs, parallel_outputs(decoder, case), atol=1e-5, rtol=0)


def test_int8_weights_are_a_half_step_off_at_most():
    matrix = torch.randn(32, 8, generator=torch.Generator().manual_seed(0)).numpy()
    weights, consts = pack_matrix(matrix, "int8")
    assert len(weights) == matrix.size
    assert len(consts) == 2 * 4 * len(matrix)


@pytest.mark.parametrize("backend", ["auto", "numba"])
def test_int8_without_vnni_is_refused_with_what_to_choose(monkeypatch, backend):
    monkeypatch.setattr(vector_loop, "HAS_VNNI", False)
    with pytest.raises(ConfigError, match=r"VNNI.*bf16 or fp32"):
        WaveNetSampler(make_decoder(), "int8", backend=backend)


def test_unknown_words_are_refused():
    with pytest.raises(ConfigError, match="fp32, bf16, int8"):
        WaveNetSampler(make_decoder(), "fp16")
    with pytest.raises(ConfigError, match="backend"):
        WaveNetSampler(make_decoder(), backend="cuda")


def test_reduced_precision_is_not_for_the_plain_sampler():
    with pytest.raises(ConfigError, match="needs the compiled sampler"):
        WaveNetSampler(make_decoder(), "bf16", backend="torch")


def test_where_vector_code_does_not_compile_plain_loops_do_the_same(monkeypatch, recwarn):
    def refuse(*_):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(compiled.VectorLoop, "run", refuse)
    decoder = make_decoder()
    case = make_case(decoder, 100)
    sampler = WaveNetSampler(decoder)
    assert sampler.backend == "numba"
    assert "plain loops" in sampler.backend_reason
    torch.testing.assert_close(forced_outputs(sampler, case), parallel_outputs(decoder, case), atol=1e-4, rtol=0)
