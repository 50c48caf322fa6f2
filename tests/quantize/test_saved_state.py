"""State saved by an earlier release still loads: key by key, and as the bundled model carries it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from audiovq.audio import AudioVQVAE
from audiovq.quantize import FSQ, Quantizer, ResidualVQ, VectorQuantizer

BUNDLED = Path(__file__).resolve().parents[2] / "audiovq" / "models" / "speech-16k" / "model.safetensors"


def ema(k: int = 8, dim: int = 3) -> dict[str, Tensor]:
    """What `VectorQuantizer(update="ema")` of release 0.1 saves."""
    codebook, counts = torch.randn(k, dim), torch.rand(k) + 1
    return {
        "codebook": codebook,
        "ema_sums": codebook * counts.unsqueeze(1),
        "ema_counts": counts,
        "initialised": torch.tensor(True),
    }


def loss(k: int = 8, dim: int = 3) -> dict[str, Tensor]:
    state = ema(k, dim)
    del state["ema_sums"]
    return state


def linear(into: int, out: int) -> dict[str, Tensor]:
    return {"weight": torch.randn(out, into), "bias": torch.randn(out)}


def nested(**parts: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": value for part, state in parts.items() for name, value in state.items()}


def case(name: str) -> tuple[Quantizer, dict[str, Tensor]]:
    """A quantizer as release 0.1 built it, and its state."""
    projections = nested(project_in=linear(5, 3), project_out=linear(3, 5))
    if name == "ema":
        return VectorQuantizer(3, 8), ema()
    if name == "loss":
        return VectorQuantizer(3, 8, update="loss"), loss()
    if name == "projected":
        return VectorQuantizer(5, 8, codebook_dim=3), {**ema(), **projections}
    if name == "fsq":
        return FSQ(5, [8, 5, 5]), projections
    levels = {f"levels.{i}.{key}": value for i in range(2) for key, value in ema().items()}
    return ResidualVQ.of(5, 2, 8, codebook_dim=3), {**levels, **projections}


@pytest.mark.parametrize("name", ["ema", "loss", "projected", "fsq", "residual"])
def test_the_keys_of_release_0_1_load(name: str) -> None:
    quantizer, state = case(name)
    quantizer.load_state_dict(state)
    assert quantizer.ready
    saved = quantizer.state_dict()
    for key, value in state.items():
        assert torch.equal(saved[key], value), key
    quantizer.eval()
    z = torch.randn(2, quantizer.dim, 30)
    assert torch.equal(quantizer.decode(quantizer.encode(z)), quantizer(z).z_q)
    if name in ("ema", "loss"):
        distance = (z.movedim(1, -1)[..., None, :] - state["codebook"]).square().sum(dim=-1)
        assert torch.equal(quantizer.encode(z), distance.argmin(dim=-1))


@pytest.mark.parametrize("name", ["ema", "loss", "residual"])
def test_training_goes_on_from_a_loaded_state(name: str) -> None:
    quantizer, state = case(name)
    quantizer.load_state_dict(state)
    z = torch.randn(2, quantizer.dim, 1).expand(-1, -1, 20)
    used = [codes.unique() for codes in quantizer(z).codes.view(2, -1, 20).unbind(dim=1)]
    for i, level in enumerate(quantizer.levels if name == "residual" else [quantizer]):
        before = state[f"levels.{i}.codebook" if name == "residual" else "codebook"]
        moved = (level.codebook != before).any(dim=1).nonzero().squeeze(1).tolist()
        assert set(moved) <= set(used[i].tolist())
        if level.update == "ema":
            assert moved


def test_the_bundled_model_loads_and_gives_the_codes_of_its_tensors() -> None:
    model = AudioVQVAE.from_pretrained("speech-16k")
    quantizer = model.quantizer
    tensors = {key: value.double() for key, value in load_file(BUNDLED).items() if key.startswith("quantizer.")}
    z = torch.randn(1, quantizer.dim, 200)
    codes = quantizer.encode(z)

    # The same by hand, in float64.
    x = z[0].t().double() @ tensors["quantizer.project_in.weight"].t() + tensors["quantizer.project_in.bias"]
    for level in range(quantizer.num_quantizers):
        codebook = tensors[f"quantizer.levels.{level}.codebook"]
        expected = torch.cdist(x, codebook, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=1)
        assert (codes[0, level] != expected).double().mean() < 0.01  # rounding decides the closest calls
        x = x - codebook[codes[0, level]]


def test_the_bundled_model_can_be_trained_on() -> None:
    """It is saved without moving averages; a step from there moves the codes that are used, and not far."""
    quantizer = AudioVQVAE.from_pretrained("speech-16k").quantizer.train()
    before = [level.codebook.clone() for level in quantizer.levels]
    z = quantizer.eval().decode(torch.randint(0, 1024, (1, 4, 300)))
    out = quantizer.train()(z, num_quantizers=4)
    assert out.stats["restarted"].sum() == 0
    for level, codebook, codes in zip(quantizer.levels, before, out.codes[0], strict=True):
        unused = torch.ones(1024, dtype=torch.bool)
        unused[codes] = False
        assert torch.equal(level.codebook[unused], codebook[unused])
        assert (level.codebook - codebook).norm() < 0.5 * codebook.norm()
