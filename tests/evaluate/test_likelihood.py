"""Likelihoods against the decoder's own, and what is done with the codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiovq.data.corpus.pack import pack
from audiovq.errors import BadDataError, BadModelError
from audiovq.evaluate.likelihood import derangement, fit_frames, measure_likelihood


def bits_alone(model, corpus, i, donor=None):
    """Mean bits of utterance i by the plain calls: no batch, no padding."""
    waveform = torch.from_numpy(corpus.read(i)).view(1, 1, -1)
    speaker = torch.tensor([model.speakers.index(corpus.utterances[i].speaker)])
    with torch.inference_mode():
        codes = model.encode(waveform)
        if donor is not None:
            codes = fit_frames(model.encode(torch.from_numpy(corpus.read(donor)).view(1, 1, -1))[0], codes.shape[-1])[
                None
            ]
        z_q = model.quantizer.decode(codes)
        return model.decoders["wavenet"].bits(waveform, z_q, model.speaker_vector(speaker))[0].double().sum().item()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_own_codes_give_the_decoders_own_bits(model, corpus, batch_size):
    found = measure_likelihood(model, corpus, batch_size=batch_size)
    alone = [bits_alone(model, corpus, i) for i in range(len(corpus))]
    np.testing.assert_allclose(found.bits, alone, rtol=1e-5)
    assert found.reconstruction_bits == pytest.approx(sum(alone) / sum(u.num_samples for u in corpus.utterances))
    assert found.interval[0] <= found.reconstruction_bits <= found.interval[1]


def test_shuffled_codes_are_those_of_the_derangement(model, corpus):
    donors = derangement(len(corpus))
    found = measure_likelihood(model, corpus, "shuffled", batch_size=4)
    alone = [bits_alone(model, corpus, i, int(donors[i])) for i in range(len(corpus))]
    np.testing.assert_allclose(found.bits, alone, rtol=1e-5)
    assert not np.allclose(found.bits, measure_likelihood(model, corpus).bits, rtol=1e-4)


def test_no_codes_is_zero_z_q_and_costs_no_code_bits(model, corpus):
    found = measure_likelihood(model, corpus, "none")
    waveform = torch.from_numpy(corpus.read(0)).view(1, 1, -1)
    speaker = model.speaker_vector(torch.tensor([0]))
    with torch.inference_mode():
        bits = model.decoders["wavenet"].bits(waveform, torch.zeros(1, 8, -(-waveform.shape[-1] // 16)), speaker)
    assert found.bits[0] == pytest.approx(bits.double().sum().item(), rel=1e-5)
    assert found.elbo_bits == found.reconstruction_bits


def test_elbo_adds_log2_k_per_hop(model, corpus):
    found = measure_likelihood(model, corpus)
    assert found.elbo_bits - found.reconstruction_bits == pytest.approx(math.log2(16) / 16)


@pytest.mark.parametrize("count", [2, 3, 10, 301])
def test_derangement_moves_everything_and_is_a_permutation(count):
    target = derangement(count)
    assert sorted(target) == list(range(count))
    assert not (target == np.arange(count)).any()
    assert (derangement(count) == target).all()


def test_derangement_of_one_is_refused():
    with pytest.raises(BadDataError, match="two"):
        derangement(1)


def test_codes_are_cut_or_repeated():
    codes = torch.arange(3).view(1, 3)
    assert fit_frames(codes, 2).tolist() == [[0, 1]]
    assert fit_frames(codes, 7).tolist() == [[0, 1, 2, 0, 1, 2, 0]]


def test_wrong_rate_decoder_and_speaker_are_named(model, corpus, data_dir, tmp_path, monkeypatch):
    with pytest.raises(BadModelError, match=r"'fast'.*wavenet"):
        measure_likelihood(model, corpus, decoder="fast")
    with pytest.raises(BadDataError, match="16000 Hz"):
        measure_likelihood(model, pack(data_dir, tmp_path / "16k", 16000, min_seconds=0))
    monkeypatch.setattr(model, "speakers", ["ann", "bob"])
    with pytest.raises(BadModelError, match="no speaker 'cyd'; choose from ann, bob"):
        measure_likelihood(model, corpus)
