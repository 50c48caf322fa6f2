"""What every quantizer promises, whatever its kind: layouts, masks, padding, precision, forward = decode(encode)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from audiovq.modelfolder import StoredModel, fill_model
from audiovq.quantize import (
    FSQ,
    LFQ,
    GroupedVQ,
    Quantizer,
    ResidualVQ,
    SimVQ,
    SplitVQ,
    VectorQuantizer,
    num_weights,
    training_state,
)

DIM = 12
KINDS: dict[str, Callable[[int], Quantizer]] = {
    "ema": lambda c: VectorQuantizer(DIM, 40, channel_dim=c),
    "loss": lambda c: VectorQuantizer(DIM, 40, channel_dim=c, update="loss"),
    "projected": lambda c: VectorQuantizer(DIM, 40, codebook_dim=5, channel_dim=c),
    "cosine": lambda c: VectorQuantizer(DIM, 40, channel_dim=c, distance="cosine"),
    "cosine-loss": lambda c: VectorQuantizer(DIM, 40, channel_dim=c, distance="cosine", update="loss"),
    "rotation": lambda c: VectorQuantizer(DIM, 40, channel_dim=c, gradient="rotation"),
    "residual-rotation": lambda c: ResidualVQ.of(DIM, 3, 40, channel_dim=c, gradient="rotation"),
    "residual-cosine": lambda c: ResidualVQ.of(DIM, 3, 40, channel_dim=c, distance="cosine"),
    "residual": lambda c: ResidualVQ.of(DIM, 3, (40, 30, 20), channel_dim=c),
    "residual-dropout": lambda c: ResidualVQ.of(DIM, 3, 40, level_dropout=True, channel_dim=c),
    "residual-projected-once": lambda c: ResidualVQ.of(DIM, 3, 40, codebook_dim=6, channel_dim=c),
    "residual-projected-levels": lambda c: ResidualVQ(
        [VectorQuantizer(DIM, 40, codebook_dim=4) for _ in range(3)], channel_dim=c
    ),
    "fsq": lambda c: FSQ(DIM, [5, 4, 3], channel_dim=c),
    "residual-fsq": lambda c: ResidualVQ([FSQ(4, [5] * 4), FSQ(4, [5] * 4, scale=0.25)], dim=DIM, channel_dim=c),
    "simvq": lambda c: SimVQ(DIM, 40, channel_dim=c),
    "simvq-projected": lambda c: SimVQ(DIM, 40, codebook_dim=5, channel_dim=c),
    "residual-simvq": lambda c: ResidualVQ([SimVQ(6, 40) for _ in range(3)], dim=DIM, channel_dim=c),
    "lfq": lambda c: LFQ(DIM, DIM, channel_dim=c),
    "lfq-projected": lambda c: LFQ(DIM, 6, channel_dim=c),
    "residual-lfq": lambda c: ResidualVQ([LFQ(6, 6, scale=0.5**i) for i in range(3)], dim=DIM, channel_dim=c),
    "grouped": lambda c: GroupedVQ([VectorQuantizer(5, 40), VectorQuantizer(7, 30)], channel_dim=c),
    "grouped-residual": lambda c: GroupedVQ([ResidualVQ.of(6, 3, 40) for _ in range(2)], channel_dim=c),
    "grouped-dropout": lambda c: GroupedVQ([ResidualVQ.of(4, 2, 40, level_dropout=True) for _ in "abc"], channel_dim=c),
    "grouped-mixed": lambda c: GroupedVQ([FSQ(3, [5] * 3), ResidualVQ.of(4, 2, 20), LFQ(6, 4)], dim=DIM, channel_dim=c),
    "split": lambda c: SplitVQ(
        [ResidualVQ.of(DIM, 1, 40, codebook_dim=4), ResidualVQ.of(DIM, 3, 30, codebook_dim=4)], channel_dim=c
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def trained(kind: str, channel_dim: int = 1) -> Quantizer:
    """A quantizer of this kind after a few steps, in eval mode."""
    torch.manual_seed(1)
    quantizer = KINDS[kind](channel_dim)
    for _ in range(6):
        quantizer(torch.randn(8, DIM, 25).movedim(1, channel_dim))
    return quantizer.eval()


def codes_axis(quantizer: Quantizer) -> tuple[int, ...]:
    return () if quantizer.num_quantizers == 1 else (quantizer.num_quantizers,)


@pytest.mark.parametrize("missing", ["codebook_sizes", "_quantize", "_assign", "_lookup"])
def test_a_kind_that_lacks_a_part_of_the_contract_is_refused(missing: str) -> None:
    parts = {name: getattr(FSQ, name) for name in ("codebook_sizes", "_quantize", "_assign", "_lookup")}
    kind = type("Kind", (Quantizer,), {name: part for name, part in parts.items() if name != missing})
    with pytest.raises(TypeError, match=missing):
        kind(DIM, DIM, 1)


@every_kind
def test_weights_are_all_that_is_saved_but_averages(kind: str) -> None:
    """Whatever a codebook is called, and whether it is a parameter or a buffer."""
    model = nn.Sequential(nn.Linear(3, 5), KINDS[kind](1))
    saved = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    averages = {name for name in saved if ".ema_" in name}
    assert num_weights(model) == sum(value.numel() for name, value in saved.items() if name not in averages)
    assert training_state(model).keys() == averages


@every_kind
def test_training_goes_on_from_a_state_without_averages(kind: str) -> None:
    model = nn.Sequential(trained(kind))
    released = {name: value for name, value in model.state_dict().items() if name not in training_state(model)}
    other = nn.Sequential(KINDS[kind](1))
    fill_model(other, StoredModel(Path("a test"), {}, copy.deepcopy(released)))
    z = torch.randn(2, DIM, 15)
    assert torch.equal(other.eval()[0].encode(z), model[0].encode(z))
    for name, value in training_state(other).items():
        assert torch.equal(other.state_dict()[name], value), name
    assert other.train()(z).loss.isfinite()


@every_kind
def test_forward_equals_decode_of_encode_to_the_last_bit(kind: str) -> None:
    quantizer = trained(kind)
    z = torch.randn(3, DIM, 17)
    out = quantizer(z)
    codes = quantizer.encode(z)
    assert torch.equal(out.codes, codes)
    assert torch.equal(out.z_q, quantizer.decode(codes))
    assert out.z_q.shape == z.shape
    assert codes.shape == (3, *codes_axis(quantizer), 17)
    assert codes.dtype == torch.int64


@every_kind
def test_codes_stay_below_the_sizes_that_the_quantizer_states(kind: str) -> None:
    quantizer = trained(kind)
    codes = quantizer.encode(torch.randn(3, DIM, 200) * 3)
    by_level = codes.unsqueeze(1) if codes.ndim == 2 else codes
    assert len(quantizer.codebook_sizes) == quantizer.num_quantizers == by_level.shape[1]
    for level, size in enumerate(quantizer.codebook_sizes):
        assert 0 <= by_level[:, level].min() < by_level[:, level].max() < size


@pytest.mark.parametrize("kind", ["ema", "loss", "residual", "residual-dropout", "grouped", "grouped-residual"])
def test_quantizing_beats_silence(kind: str) -> None:
    """A few steps bring z_q nearer to z than 0 is. (Projections and FSQ's bound would need an encoder that learns.)"""
    quantizer = trained(kind)
    z = torch.randn(4, DIM, 50)
    assert (quantizer(z).z_q - z).square().mean() < 0.9 * z.square().mean()


@every_kind
def test_channels_first_last_and_images_are_one_path(kind: str) -> None:
    first, last = trained(kind), KINDS[kind](-1).eval()
    last.load_state_dict(first.state_dict())
    z = torch.randn(2, DIM, 4, 6)
    image = first(z)
    sequence = first(z.flatten(2))
    channels_last = last(z.movedim(1, -1))
    levels = codes_axis(first)
    assert image.codes.shape == (2, *levels, 4, 6)
    assert channels_last.codes.shape == (2, 4, 6, *levels)
    assert torch.equal(image.codes.flatten(-2), sequence.codes)
    assert torch.equal(image.z_q.flatten(2), sequence.z_q)
    assert torch.equal(channels_last.z_q.movedim(-1, 1), image.z_q)
    assert torch.equal(last.decode(channels_last.codes), channels_last.z_q)
    assert torch.equal(first.decode(image.codes), image.z_q)


@every_kind
def test_padding_has_code_minus_one_and_is_silent(kind: str) -> None:
    quantizer = trained(kind)
    z = torch.randn(2, DIM, 10)
    mask = torch.ones(2, 10, dtype=torch.bool)
    mask[1, 4:] = False
    whole, masked = quantizer(z), quantizer(z.masked_fill(~mask.unsqueeze(1), float("nan")), mask)
    assert (masked.codes.movedim(-1, 1)[~mask] == -1).all()
    assert (masked.z_q.movedim(1, -1)[~mask] == 0).all()
    assert torch.equal(masked.codes.movedim(-1, 1)[mask], whole.codes.movedim(-1, 1)[mask])
    assert torch.equal(masked.z_q.movedim(1, -1)[mask], whole.z_q.movedim(1, -1)[mask])
    assert torch.equal(quantizer.decode(masked.codes), masked.z_q)
    assert torch.equal(quantizer.encode(z, mask=mask), masked.codes)
    assert masked.loss.isfinite()


@every_kind
def test_a_mask_that_keeps_all_changes_nothing(kind: str) -> None:
    plain, masked = trained(kind).train(), trained(kind).train()
    z = torch.randn(2, DIM, 30)
    torch.manual_seed(5)
    expected = plain(z)
    torch.manual_seed(5)
    out = masked(z, torch.ones(2, 30, dtype=torch.bool))
    assert torch.equal(out.codes, expected.codes)
    assert torch.equal(out.z_q, expected.z_q)
    torch.testing.assert_close(out.loss, expected.loss)
    for name, value in masked.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name


@every_kind
def test_what_stands_in_padding_never_reaches_state_or_gradients(kind: str) -> None:
    def step(filling: float) -> tuple[Tensor, dict[str, Tensor], list[Tensor | None]]:
        quantizer = trained(kind).train()
        torch.manual_seed(7)
        z = torch.randn(2, DIM, 30)
        mask = torch.rand(2, 30) > 0.4
        z = z.masked_fill(~mask.unsqueeze(1), filling).requires_grad_()
        out = quantizer(z, mask)
        (out.loss + out.z_q.square().sum()).backward()
        return z.grad, quantizer.state_dict(), [parameter.grad for parameter in quantizer.parameters()]

    grad, state, grads = step(0.0)
    for filling in (100.0, float("nan")):
        other_grad, other_state, other_grads = step(filling)
        assert torch.equal(other_grad, grad)
        assert all(torch.equal(value, state[name]) for name, value in other_state.items())
        torch.testing.assert_close(other_grads, grads, rtol=0, atol=0)


@every_kind
@pytest.mark.parametrize("wrong", [-2, "size"])
def test_codes_out_of_range_are_refused(kind: str, wrong: int | str) -> None:
    quantizer = trained(kind)
    codes = quantizer.encode(torch.randn(2, DIM, 9))
    value = quantizer.codebook_sizes[-1] if wrong == "size" else wrong
    codes.view(2, -1, 9)[1, -1, 3] = value
    with pytest.raises(ValueError, match=f"code {value} at level {quantizer.num_quantizers - 1}"):
        quantizer.decode(codes)


@every_kind
def test_other_wrong_inputs_are_refused(kind: str) -> None:
    quantizer = trained(kind)
    z = torch.randn(2, DIM, 9)
    with pytest.raises(ValueError, match="set channel_dim or dim"):
        quantizer(z.transpose(1, 2))
    with pytest.raises(ValueError, match=r"mask is \[2, 8\], want \[2, 9\]"):
        quantizer(z, torch.ones(2, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match="want integers"):
        quantizer.decode(quantizer.encode(z).float())
    for n in (0, -1, quantizer.num_quantizers + 1):
        with pytest.raises(ValueError, match="num_quantizers"):
            quantizer.encode(z, n)
        with pytest.raises(ValueError, match="num_quantizers"):
            quantizer(z, num_quantizers=n)


@every_kind
def test_small_integer_types_decode(kind: str) -> None:
    quantizer = trained(kind)
    codes = quantizer.encode(torch.randn(2, DIM, 9))
    for dtype in (torch.int32, torch.int16):
        assert torch.equal(quantizer.decode(codes.to(dtype)), quantizer.decode(codes))


@every_kind
def test_autocast_changes_nothing(kind: str) -> None:
    quantizer = trained(kind)
    z = torch.randn(4, DIM, 300)
    expected = quantizer(z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = quantizer(z)
        assert torch.equal(quantizer.encode(z), expected.codes)
        assert torch.equal(quantizer.decode(out.codes), expected.z_q)
    assert torch.equal(out.codes, expected.codes)
    assert torch.equal(out.z_q, expected.z_q)
    torch.testing.assert_close(out.loss, expected.loss)


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_cast_of_the_model_leaves_the_state_in_float32(kind: str, dtype: torch.dtype) -> None:
    quantizer = trained(kind)
    before = copy.deepcopy(quantizer.state_dict())
    model = nn.Sequential(quantizer).to(dtype)
    z = torch.randn(3, DIM, 20).to(dtype)
    out = model(z)
    assert out.z_q.dtype == dtype
    assert torch.equal(quantizer.decode(quantizer.encode(z)), out.z_q)
    for name, value in quantizer.state_dict().items():
        if "project" not in name:
            assert value.dtype == before[name].dtype
            assert torch.equal(value, before[name]), name


@every_kind
def test_one_vector_of_nan_leaves_the_others_alone(kind: str) -> None:
    quantizer = trained(kind).train()
    clean = copy.deepcopy(quantizer)
    z = torch.randn(2, DIM, 15)
    mask = torch.ones(2, 15, dtype=torch.bool)
    mask[1, 3] = False
    torch.manual_seed(9)
    expected = clean(z, mask)
    channels = slice(None) if kind.startswith("grouped") else 0  # each group judges its own channels
    z[1, channels, 3] = float("nan")
    torch.manual_seed(9)
    out = quantizer(z)
    assert torch.equal(out.z_q.movedim(1, -1)[mask], expected.z_q.movedim(1, -1)[mask])
    for name, value in quantizer.state_dict().items():
        torch.testing.assert_close(value, clean.state_dict()[name], rtol=0, atol=0)
    codes = quantizer.eval().encode(z)
    assert (codes >= 0).all()


@every_kind
def test_a_saved_state_gives_the_same_codes_elsewhere(kind: str) -> None:
    quantizer = trained(kind)
    other = KINDS[kind](1).eval()
    other.load_state_dict(copy.deepcopy(quantizer.state_dict()))
    z = torch.randn(2, DIM, 15)
    assert torch.equal(other.encode(z), quantizer.encode(z))
    assert torch.equal(other(z).z_q, quantizer(z).z_q)


@every_kind
def test_one_row_without_other_axes_is_a_batch_of_rows(kind: str) -> None:
    quantizer = trained(kind)
    z = torch.randn(6, DIM)
    assert torch.equal(quantizer.decode(quantizer.encode(z)), quantizer(z).z_q)
    assert quantizer.encode(z).shape == (6, *codes_axis(quantizer))


@every_kind
def test_an_empty_batch_passes(kind: str) -> None:
    quantizer = trained(kind)
    out = quantizer(torch.zeros(0, DIM, 7))
    assert out.z_q.shape == (0, DIM, 7)
    assert quantizer.decode(out.codes).shape == (0, DIM, 7)


class _Encode(nn.Module):
    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer

    def forward(self, z: Tensor) -> Tensor:
        return self.quantizer.encode(z)


class _Decode(_Encode):
    def forward(self, codes: Tensor) -> Tensor:
        return self.quantizer.decode(codes)


@pytest.mark.parametrize(
    "kind",
    ["ema", "projected", "residual-projected-once", "residual-fsq", "simvq", "residual-lfq", "grouped-mixed", "split"],
)
def test_encode_and_decode_export_with_any_length(kind: str) -> None:
    quantizer = trained(kind)
    frames = torch.export.Dim("frames", min=2, max=4096)
    z = torch.randn(1, DIM, 20)
    codes = quantizer.encode(z)
    encode = torch.export.export(_Encode(quantizer), (z,), dynamic_shapes=({2: frames},))
    decode = torch.export.export(_Decode(quantizer), (codes,), dynamic_shapes=({codes.ndim - 1: frames},))
    longer = torch.randn(1, DIM, 75)
    codes = encode.module()(longer)
    assert torch.equal(codes, quantizer.encode(longer))
    assert torch.equal(decode.module()(codes), quantizer.decode(codes))
