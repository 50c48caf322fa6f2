"""Log-mel analysis and inverse STFT: locality, lengths, perfect reconstruction."""

import librosa
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from audiovq.layers import InverseSTFT, LogMel, mel_filterbank


@pytest.mark.parametrize(("window", "hop"), [(640, 160), (512, 128), (320, 160)])
def test_inverse_stft_undoes_the_matching_stft(window, hop):
    torch.manual_seed(0)
    layer = InverseSTFT(window, hop).double()
    x = torch.randn(2, 20 * hop, dtype=torch.float64)
    margin = (window - hop) // 2
    spectrum = torch.stft(
        F.pad(x, (margin, margin)), window, hop, window=layer.window, center=False, return_complex=True
    ).transpose(1, 2)
    y = layer(spectrum)
    assert y.shape == (2, 1, 20 * hop)
    # the first and last samples lie under few windows, whose squares are small: compare where they are not
    torch.testing.assert_close(y[:, 0, margin:-margin], x[:, margin:-margin], atol=1e-9, rtol=1e-9)


def test_inverse_stft_refuses_a_window_that_is_no_multiple_of_the_hop():
    with pytest.raises(ValueError, match="window_length 500"):
        InverseSTFT(500, 160)


def test_log_mel_is_local_and_gives_one_frame_per_hop():
    torch.manual_seed(0)
    mel = LogMel(16000, 20, window_length=512, hop_length=160)
    x = 0.1 * torch.randn(1, 1, 1600)
    y = mel(x)
    assert y.shape == (1, 10, 20)
    changed = x.clone()
    changed[..., 1000:] = 0
    untouched = (1000 - (512 - 160) // 2 - 160) // 160 + 1  # frames whose window ends by sample 1000
    assert torch.equal(mel(changed)[:, :untouched], y[:, :untouched])
    assert not torch.equal(mel(changed)[:, untouched + 1], y[:, untouched + 1])


@pytest.mark.parametrize(("rate", "window", "mels"), [(16000, 512, 80), (24000, 1024, 100), (8000, 256, 32)])
def test_filterbank_is_the_htk_one(rate, window, mels):
    theirs = librosa.filters.mel(sr=rate, n_fft=window, n_mels=mels, htk=True, norm=None).T
    np.testing.assert_allclose(mel_filterbank(rate, window, mels).numpy(), theirs, atol=2e-5)


def test_log_mel_of_silence_is_finite():
    assert LogMel(16000, 80, 512, 160)(torch.zeros(1, 1, 320)).isfinite().all()


def test_log_mel_ignores_autocast():
    mel = LogMel(16000, 20, 512, 160)
    x = 0.1 * torch.randn(1, 1, 1600)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mel(x), mel(x).float())
        inside = mel(x)
    assert torch.equal(inside, mel(x))
