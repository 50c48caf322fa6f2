"""Several streams give what each gives alone: one by one, in lockstep, or in threads."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from audiovq.audio.wavenet_sampler import WaveNetSampler

from .conftest import drawn, forced_outputs, make_case, make_decoder
from .test_state import EACH_PRECISION


def alone(case, row):
    one = slice(row, row + 1)
    speaker = None if case.speaker is None else case.speaker[one]
    return type(case)(case.z_q[one], speaker, case.waveform[one], case.uniforms[one])


@pytest.mark.parametrize("precision", EACH_PRECISION)
def test_a_batch_gives_what_each_stream_gives_alone(precision):
    decoder = make_decoder(dilations=(1, 3, 8, 13, 40), kernel_size=3, speaker_dim=3)
    case = make_case(decoder, 300, batch_size=9)  # eight in lockstep and one
    sampler = WaveNetSampler(decoder, precision, backend="numba")
    together = drawn(sampler, case)
    for row in (0, 7, 8):
        assert torch.equal(together[row : row + 1], drawn(sampler, alone(case, row)))
    assert torch.equal(forced_outputs(sampler, case)[5:6], forced_outputs(sampler, alone(case, 5)))


def test_threads_give_what_one_gives():
    decoder = make_decoder("mixture")
    case = make_case(decoder, 400, batch_size=4)
    sampler = WaveNetSampler(decoder, backend="numba")
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda row: drawn(sampler, alone(case, row)), range(4)))
    assert torch.equal(torch.cat(together), drawn(sampler, case))
