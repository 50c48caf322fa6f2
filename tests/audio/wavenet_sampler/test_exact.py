"""In float32 the compiled loop is the parallel pass and the definition, number by number."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiovq.audio.wavenet_sampler import WaveNetSampler

from .conftest import drawn, edge_distance, forced_outputs, make_case, make_decoder, parallel_outputs

TOLERANCE = 1e-4  # of outputs; what is seen is some 1e-6

CONFIGS = st.fixed_dictionaries(
    {
        "likelihood": st.sampled_from(["softmax", "mixture"]),
        "channels": st.integers(1, 40),
        "gate_channels": st.integers(1, 70),
        "skip_channels": st.integers(1, 70),
        "kernel_size": st.sampled_from([2, 3]),
        "dilations": st.lists(st.integers(1, 40), min_size=1, max_size=5).map(tuple),
        "condition_channels": st.integers(1, 20),
        "speaker_dim": st.sampled_from([0, 3]),
        "hop_length": st.integers(1, 50),
        "seed": st.integers(0, 100),
    }
)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(config=CONFIGS, length=st.integers(1, 200), batch_size=st.integers(1, 2))
def test_any_decoders_outputs_are_those_of_the_parallel_pass(config, length, batch_size):
    decoder = make_decoder(**config)
    case = make_case(decoder, length, batch_size=batch_size)
    outputs = forced_outputs(WaveNetSampler(decoder, backend="numba"), case)
    torch.testing.assert_close(outputs, parallel_outputs(decoder, case), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("likelihood", ["softmax", "mixture"])
@pytest.mark.parametrize("speaker_dim", [0, 5], ids=["no speaker", "speaker"])
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_outputs_are_those_of_the_definition(likelihood, speaker_dim, kernel_size):
    decoder = make_decoder(likelihood, speaker_dim=speaker_dim, kernel_size=kernel_size)
    case = make_case(decoder, 300, batch_size=2)
    fast, plain = (forced_outputs(WaveNetSampler(decoder, backend=b), case) for b in ("numba", "torch"))
    torch.testing.assert_close(fast, plain, atol=TOLERANCE, rtol=0)


def test_the_same_uniforms_give_the_same_samples():
    decoder = make_decoder(gain=2.0)
    case = make_case(decoder, 2000)
    ours = drawn(WaveNetSampler(decoder, backend="numba"), case)
    assert_redrawn_by_the_definition(decoder, case, ours, differing=1)


@pytest.mark.slow
def test_the_same_uniforms_give_the_same_samples_for_ten_seconds():
    decoder = make_decoder(channels=32, gate_channels=32, skip_channels=64, dilations=(1, 4, 16, 64), gain=2.0)
    case = make_case(decoder, 160_000)
    ours = drawn(WaveNetSampler(decoder, backend="numba"), case)
    assert_redrawn_by_the_definition(decoder, case, ours, differing=8)


def assert_redrawn_by_the_definition(decoder, case, ours, differing):
    """Given the same past, the definition draws every one of these samples, but where a uniform number falls on a
    step of the CDF, to within float32's rounding of the outputs: there, either class is right."""
    plain = WaveNetSampler(decoder, backend="torch")
    condition = plain.condition(case.z_q, case.speaker)
    again, outputs = plain.sample(condition, case.uniforms, teacher=ours)
    other = (again != ours)[0, 0]
    assert other.sum() <= differing
    assert (edge_distance(outputs[0][other], case.uniforms[0][other]) < 1e-5).all()
    print(f"{int(other.sum())} of {other.numel()} samples drawn on a step of the CDF")


def test_a_mixtures_samples_are_the_same_to_one_step_of_their_quantization():
    decoder = make_decoder("mixture")
    case = make_case(decoder, 1500)
    ours = drawn(WaveNetSampler(decoder, backend="numba"), case)
    plain = WaveNetSampler(decoder, backend="torch")
    again, _ = plain.sample(plain.condition(case.z_q), case.uniforms, teacher=ours)
    assert (again == ours).float().mean() > 0.98
    assert (again - ours).abs().max() <= 1.01 * decoder.likelihood.bin_width


def test_saturated_gates_and_silence_stay_exact():
    decoder = make_decoder(gain=8.0)
    case = make_case(decoder, 200)
    case.waveform.zero_()
    case.z_q.mul_(30)
    outputs, wanted = forced_outputs(WaveNetSampler(decoder, backend="numba"), case), parallel_outputs(decoder, case)
    scale = wanted.abs().max()
    assert scale > 10
    torch.testing.assert_close(outputs / scale, wanted / scale, atol=TOLERANCE, rtol=0)
