"""A state lets sampling stop anywhere and go on: pieces joined equal the whole, bit for bit."""

import io

import numpy as np
import pytest
import torch

from audiovq.audio.wavenet_sampler import PRECISIONS, SamplerState, WaveNetSampler
from audiovq.errors import ModelMismatchError
from audiovq.simd import byte_products

from .conftest import HOP, drawn, make_case, make_decoder

PIECES = (1, 6, 10, 0, 133, 64, 86)  # end within frames, within blocks, and at their ends

needs_int8 = pytest.mark.skipif(not byte_products.AVAILABLE, reason="this processor has no instructions for int8")
EACH_PRECISION = [pytest.param(p, marks=needs_int8 if p == "int8" else ()) for p in PRECISIONS]


def in_pieces(sampler, case, pieces, state=None):
    condition, state = sampler.condition(case.z_q, case.speaker), state or sampler.start(len(case.uniforms))
    joined = []
    for length in pieces:
        at = state.position
        piece, _ = sampler.sample(condition[:, at // HOP :], case.uniforms[:, at : at + length], state)
        joined.append(piece)
    return torch.cat(joined, dim=-1)


@pytest.mark.parametrize("precision", EACH_PRECISION)
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_pieces_joined_equal_the_whole(precision, kernel_size):
    decoder = make_decoder(kernel_size=kernel_size, dilations=(1, 3, 8, 13, 2, 64), speaker_dim=3)
    case = make_case(decoder, sum(PIECES), batch_size=2)
    sampler = WaveNetSampler(decoder, precision, backend="numba")
    assert torch.equal(in_pieces(sampler, case, PIECES), drawn(sampler, case))


def test_pieces_of_the_definition_equal_the_whole():
    decoder = make_decoder()
    case = make_case(decoder, sum(PIECES))
    sampler = WaveNetSampler(decoder, backend="torch")
    assert torch.equal(in_pieces(sampler, case, PIECES), drawn(sampler, case))


def test_progress_is_reported_and_a_long_call_equals_its_pieces():
    decoder = make_decoder(dilations=(1, 8), channels=8, gate_channels=8, skip_channels=8)
    case = make_case(decoder, 9000)
    sampler = WaveNetSampler(decoder, backend="numba")
    seen = []
    whole = drawn(sampler, case, on_progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 9000
    assert len(seen) > 1
    assert torch.equal(in_pieces(sampler, case, (4999, 4001)), whole)


@pytest.mark.parametrize("precision", EACH_PRECISION)
def test_a_state_saved_to_a_file_goes_on_where_it_was(precision):
    decoder = make_decoder("mixture")
    case = make_case(decoder, 200)
    sampler = WaveNetSampler(decoder, precision, backend="numba")
    state, condition = sampler.start(1), sampler.condition(case.z_q)
    first, _ = sampler.sample(condition, case.uniforms[:, :77], state)
    file = io.BytesIO()
    np.savez(file, **state.to_arrays())
    file.seek(0)
    restored = SamplerState.from_arrays(np.load(file))
    rest, _ = sampler.sample(condition[:, 77 // HOP :], case.uniforms[:, 77:], restored)
    assert torch.equal(torch.cat([first, rest], -1), drawn(sampler, case))
    assert restored.position == 200


def test_what_was_saved_does_not_change_with_the_state():
    sampler = WaveNetSampler(make_decoder(), backend="numba")
    case = make_case(sampler.decoder, 40)
    state = sampler.start(1)
    saved = state.to_arrays()
    sampler.sample(sampler.condition(case.z_q), case.uniforms, state)
    assert saved["position"] == 0
    assert not saved["rings"].any()


def test_the_definition_goes_on_from_the_compiled_ones_state_and_back():
    decoder = make_decoder(gain=2.0)
    case = make_case(decoder, 120)
    fast, plain = (WaveNetSampler(decoder, backend=b) for b in ("numba", "torch"))
    state, condition, joined = fast.start(1), fast.condition(case.z_q), []
    for sampler, at in ((fast, 0), (plain, 40), (fast, 80)):
        joined.append(sampler.sample(condition[:, at // HOP :], case.uniforms[:, at : at + 40], state)[0])
    assert torch.equal(torch.cat(joined, -1), drawn(fast, case))


def test_a_state_of_another_decoder_or_precision_or_batch_is_refused():
    decoder = make_decoder()
    sampler = WaveNetSampler(decoder, backend="numba")
    case = make_case(decoder, 16)
    condition = sampler.condition(case.z_q)
    for other in (WaveNetSampler(make_decoder(seed=3)), WaveNetSampler(decoder, "bf16")):
        with pytest.raises(ModelMismatchError, match="another decoder or precision"):
            sampler.sample(condition, case.uniforms, other.start(1))
    with pytest.raises(ModelMismatchError, match="rings"):
        sampler.sample(condition, case.uniforms, sampler.start(2))


def test_arrays_that_are_no_state_are_refused():
    with pytest.raises(ModelMismatchError, match="scales"):
        SamplerState.from_arrays({"identity": np.zeros(1, np.uint8), "rings": np.zeros(1)})


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_more_uniforms_than_the_frames_have_samples_are_refused(backend):
    sampler = WaveNetSampler(make_decoder(), backend=backend)
    condition = torch.zeros(1, 2, 6)
    state = sampler.start(1)
    sampler.sample(condition, torch.rand(1, 5, dtype=torch.float64), state)
    with pytest.raises(ValueError, match="27 samples left"):
        sampler.sample(condition, torch.rand(1, 28, dtype=torch.float64), state)
    with pytest.raises(ValueError, match="shapes"):
        sampler.sample(condition, torch.rand(2, 5, dtype=torch.float64))
