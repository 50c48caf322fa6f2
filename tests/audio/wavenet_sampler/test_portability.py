"""The same source on other instruction sets, without numba, on a read-only disk, and its speed as a ratio."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
import torch

from audiovq.audio.wavenet_sampler import WaveNetSampler, compiled

from .conftest import make_case, make_decoder

EXACT_HERE = """
    import torch
    from audiovq.audio import LogisticMixture, MuLawSoftmax, WaveNetDecoder
    from audiovq.audio.wavenet_sampler import WaveNetSampler
    from audiovq.simd import byte_products
    from audiovq.simd.vectors import LANES
    torch.manual_seed(0)
    for likelihood in (MuLawSoftmax(20, levels=256), LogisticMixture(20, mixtures=3, sample_bits=16)):
        decoder = WaveNetDecoder(8, hop_length=16, likelihood=likelihood, channels=20, gate_channels=37,
            skip_channels=30, kernel_size=2, dilations=(1, 3, 8, 16), condition_channels=6, speaker_dim=0).eval()
        x, z_q = 2 * torch.rand(9, 1, 200) - 1, torch.randn(9, 8, 13)
        uniforms = torch.rand(9, 200, dtype=torch.float64)
        with torch.inference_mode():
            exact = decoder(x, z_q)
        for precision, bound in (("fp32", 1e-4), ("bf16", 0.02), ("int8", 0.2))[: 3 if byte_products.AVAILABLE else 2]:
            sampler = WaveNetSampler(decoder, precision, backend="numba")
            assert not sampler.backend_reason
            _, outputs = sampler.sample(sampler.condition(z_q), uniforms, teacher=x)
            assert (outputs - exact).abs().max() < bound, precision
    print(LANES, byte_products.AVAILABLE)
"""
INSTRUCTION_SETS = {  # what numba is told of the processor, and the width of its vectors
    "avx2": ("haswell", "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+sse4.2,+popcnt,+lzcnt,+movbe", "8 True"),
    "ssse3": ("core2", "+sse,+sse2,+sse3,+ssse3", "4 True"),
    "sse2": ("x86-64", "+sse,+sse2", "4 False"),
}


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", INSTRUCTION_SETS)
def test_other_instruction_sets_are_exact_too(name, tmp_path):
    cpu, features, expected = INSTRUCTION_SETS[name]
    if os.uname().machine != "x86_64":
        pytest.skip("these are instruction sets of x86-64")
    done = python(EXACT_HERE, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=features, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected


def test_numba_is_not_imported_before_a_sampler_is_made():
    code = "import sys, audiovq.audio.wavenet_sampler; assert not {'numba', 'llvmlite'} & set(sys.modules)"
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_without_numba_the_definition_draws_and_says_so_once():
    done = python("""
        import sys, warnings
        sys.modules["numba"] = None  # as if it were not there
        import torch
        from audiovq.audio import MuLawSoftmax, WaveNetDecoder
        from audiovq.audio.wavenet_sampler import WaveNetSampler
        decoder = WaveNetDecoder(2, hop_length=4, likelihood=MuLawSoftmax(4, levels=256), channels=4, gate_channels=4,
            skip_channels=4, kernel_size=2, dilations=(1, 2), condition_channels=2, speaker_dim=0)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            samplers = [WaveNetSampler(decoder) for _ in range(2)]
        assert [s.backend for s in samplers] == ["torch"] * 2
        assert len(said) == 1, said
        waveform, _ = samplers[0].sample(torch.zeros(1, 2, 2), torch.rand(1, 8, dtype=torch.float64))
        assert waveform.shape == (1, 1, 8)
        print(said[0].message)
    """)
    assert done.returncode == 0, done.stderr
    assert "slower" in done.stdout
    assert "numba" in done.stdout


def test_a_long_compilation_is_told_and_a_short_one_is_not(monkeypatch, caplog):
    caplog.set_level("INFO")
    with compiled._told("compiling"):
        pass
    assert not caplog.records
    monkeypatch.setattr(compiled, "PATIENCE", 0.01)
    with compiled._told("compiling"):
        time.sleep(0.3)
    assert caplog.messages == ["compiling"]


@pytest.mark.slow
def test_compiled_code_is_found_again_by_the_next_process(tmp_path):
    code = """
        from audiovq.audio import MuLawSoftmax, WaveNetDecoder
        from audiovq.audio.wavenet_sampler import WaveNetSampler
        likelihood = MuLawSoftmax(4, levels=256)
        WaveNetSampler(WaveNetDecoder(2, hop_length=4, likelihood=likelihood, channels=4, gate_channels=4,
            skip_channels=4, kernel_size=2, dilations=(1, 2), condition_channels=2, speaker_dim=0))
        from audiovq.audio.wavenet_sampler.loop import run
        print(sum(run.stats.cache_hits.values()), sum(run.stats.cache_misses.values()))
    """
    first, second = (python(code, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.stdout.split() == ["0", "1"], first.stderr
    assert second.stdout.split() == ["1", "0"], second.stderr


@pytest.mark.slow
def test_the_compiled_loop_is_many_times_as_fast_as_the_definition():
    """A ratio in one run, by CPU time, alternating: autovectorised code has been seen to fall to a tenth."""
    decoder = make_decoder(
        channels=64, gate_channels=64, skip_channels=128, dilations=tuple(2**i for i in range(10)), hop_length=64
    )
    case = make_case(decoder, 3000)
    samplers = [WaveNetSampler(decoder, backend=backend) for backend in ("numba", "torch")]
    condition = samplers[0].condition(case.z_q)

    def rate(sampler, length):
        begin = time.thread_time()
        sampler.sample(condition, case.uniforms[:, :length])
        return length / (time.thread_time() - begin)

    fast, slow = (
        torch.tensor([[rate(s, n) for s, n in zip(samplers, (3000, 100), strict=True)] for _ in range(7)])
        .median(0)
        .values
    )
    print(f"{fast:.0f} samples/s, the definition {slow:.0f}: {fast / slow:.1f} times")
    assert fast / slow > 20
