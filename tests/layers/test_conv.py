"""CausalConv1d: what it may see, and that pieces joined equal the whole."""

import pytest
import torch

from audiovq.layers import CausalConv1d

CASES = {
    "plain": {"kernel_size": 3},
    "dilated": {"kernel_size": 3, "dilation": 4},
    "strided": {"kernel_size": 4, "stride": 2},
    "stride equals kernel": {"kernel_size": 3, "stride": 3},
    "looks ahead": {"kernel_size": 7, "lookahead": 2},
    "one tap": {"kernel_size": 1},
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def conv(request):
    torch.manual_seed(0)
    return CausalConv1d(2, 3, **request.param)


def test_one_frame_per_stride(conv):
    assert conv(torch.randn(2, 2, 24)).shape == (2, 3, 24 // conv.stride[0])


def test_later_input_never_changes_earlier_output(conv):
    x = torch.randn(1, 2, 24)
    y = conv(x)
    for t in range(24):
        changed = x.clone()
        changed[..., t:] += 1.0
        same = (conv(changed) == y).all(dim=1)[0]
        last_blind = (t - conv.lookahead) // conv.stride[0]  # frames before this one see samples before t only
        assert same[: max(0, last_blind)].all()
        if last_blind >= 0:
            assert not same[last_blind]  # and the lookahead is really used


@pytest.mark.parametrize("pieces", [[24], [1] * 24, [5, 7, 1, 11], [23, 1]])
def test_pieces_joined_equal_the_whole(conv, pieces):
    x = torch.randn(2, 2, sum(pieces))
    state, outputs = conv.initial_state(2), []
    for piece in x.split(pieces, dim=-1):
        y, state = conv.stream(piece, state)
        outputs.append(y)
    outputs.append(conv.stream(x[..., :0], state, last=True)[0])
    torch.testing.assert_close(torch.cat(outputs, dim=-1), conv(x))


def test_a_stride_beyond_the_kernel_is_refused():
    with pytest.raises(ValueError, match="stride 3"):
        CausalConv1d(1, 1, 2, stride=3)


def test_a_lookahead_beyond_the_kernel_is_refused():
    with pytest.raises(ValueError, match="lookahead 3"):
        CausalConv1d(1, 1, 3, lookahead=3)
