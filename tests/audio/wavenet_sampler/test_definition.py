"""The sampler draws from the very model that the teacher-forced pass describes."""

import pytest
import torch

from audiovq.audio import sample_wavenet

from ..conftest import WAVENET, make_model

LIKELIHOODS = {"softmax": {"kind": "mu-law"}, "mixture": {"kind": "logistic-mixture", "mixtures": 3}}
SHAPES = {"two taps": {}, "three taps": {"kernel_size": 3, "layers_per_cycle": 3}}


@pytest.mark.parametrize("likelihood", LIKELIHOODS.values(), ids=LIKELIHOODS.keys())
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
@pytest.mark.parametrize("speakers", [[], ["a", "b"]], ids=["no speaker", "speakers"])
def test_teacher_forced_and_sampled_outputs_agree(likelihood, shape, speakers):
    model = make_model(
        decoders={"wavenet": WAVENET | shape | {"likelihood": likelihood}}, speakers=speakers, speaker_dim=3
    )
    decoder = model.decoder("wavenet")
    x = 0.5 * torch.randn(2, 1, 301)
    z_q = model.quantizer.decode(model.encode(x))
    speaker = model.speaker_vector(torch.tensor([1, 0])) if speakers else None
    uniforms = torch.rand(2, 301, dtype=torch.float64)
    _, outputs = sample_wavenet(decoder, z_q, uniforms, speaker, teacher=x)
    torch.testing.assert_close(outputs, decoder(x, z_q, speaker), atol=1e-4, rtol=0)


def test_what_was_sampled_is_what_the_parallel_pass_would_have_drawn():
    model = make_model()
    decoder = model.decoder()
    z_q = torch.randn(1, 8, 20)
    uniforms = torch.rand(1, 160, dtype=torch.float64)
    x, _ = sample_wavenet(decoder, z_q, uniforms)
    outputs = decoder(x, z_q)
    redrawn = decoder.likelihood.sample(outputs[0], uniforms[0])
    assert torch.equal(redrawn, x[0, 0])


def test_a_seed_repeats_and_another_differs():
    model = make_model()
    codes = model.encode(torch.randn(1, 1, 200))
    one, again, other = (model.decode(codes, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_batch_gives_what_each_utterance_gives_alone():
    model = make_model()
    z_q, uniforms = torch.randn(3, 8, 10), torch.rand(3, 80, dtype=torch.float64)
    together, _ = sample_wavenet(model.decoder(), z_q, uniforms)
    alone = torch.cat([sample_wavenet(model.decoder(), z_q[i : i + 1], uniforms[i : i + 1])[0] for i in range(3)])
    assert torch.equal(together, alone)
