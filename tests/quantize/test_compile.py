"""torch.export with any length and torch.compile in one graph: the search, encode and decode."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from audiovq.quantize import Quantizer, ResidualVQ, VectorQuantizer, nearest
from audiovq.quantize.search.nearest import search_table

DIM = 6


class Search(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("codebook", torch.randn(600, DIM))

    def forward(self, z: Tensor) -> Tensor:
        return nearest(z.movedim(1, -1).flatten(0, -2) * 2, self.codebook) + 1


class Encode(nn.Module):
    def __init__(self, quantizer: Quantizer) -> None:
        super().__init__()
        self.quantizer = quantizer.eval()

    def forward(self, z: Tensor) -> Tensor:
        return self.quantizer.encode(z)


class Forward(Encode):
    def forward(self, z: Tensor) -> Tensor:
        return self.quantizer(z).z_q


def vq() -> VectorQuantizer:
    quantizer = VectorQuantizer(DIM, 40)
    quantizer(torch.randn(4, DIM, 25))
    return quantizer


def rvq() -> ResidualVQ:
    quantizer = ResidualVQ.of(DIM, 3, 40, codebook_dim=4)
    for _ in range(3):
        quantizer(torch.randn(4, DIM, 25))
    return quantizer


MODULES: dict[str, Callable[[], nn.Module]] = {
    "nearest": Search,
    "VectorQuantizer.encode": lambda: Encode(vq()),
    "ResidualVQ.encode": lambda: Encode(rvq()),
    "VectorQuantizer.forward": lambda: Forward(vq()),
    "ResidualVQ.forward": lambda: Forward(rvq()),
}


@pytest.mark.parametrize("name", ["nearest", "VectorQuantizer.forward", "ResidualVQ.forward"])
def test_export_takes_any_length(name: str) -> None:
    """encode and decode of every kind of quantizer: test_contract.py."""
    module = MODULES[name]()
    frames = torch.export.Dim("frames", min=2, max=4096)
    exported = torch.export.export(module, (torch.randn(1, DIM, 20),), dynamic_shapes=({2: frames},)).module()
    for length in (2, 75, 700):
        z = torch.randn(1, DIM, length)
        assert torch.equal(exported(z), module(z))


def assert_one_graph_that_sees_changes(name: str, backend: str) -> None:
    """Of any length, equal to the module itself, before and after its codebooks were written to."""
    torch._dynamo.reset()
    module = MODULES[name]()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend=backend)
    with torch.no_grad():
        for length in (20, 75):
            z = torch.randn(2, DIM, length)
            before = compiled(z)
            assert torch.equal(before, module(z))
        for tensor in module.buffers():
            if tensor.ndim == 2:
                tensor.copy_(tensor.flip(0) + 1)
        assert not torch.equal(compiled(z), before)
        assert torch.equal(compiled(z), module(z))


@pytest.mark.parametrize("name", ["nearest", "VectorQuantizer.encode", "ResidualVQ.encode"])
def test_it_is_one_graph(name: str) -> None:
    assert_one_graph_that_sees_changes(name, "aot_eager")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="the compiler behind torch.compile needs g++")
@pytest.mark.parametrize("name", MODULES)
def test_it_compiles_into_one_graph(name: str) -> None:
    from torch._inductor import config  # imports the compiler

    # Graphs cached on disk are not keyed on what our operators' fake kernels say.
    with config.patch(force_disable_caches=True):
        assert_one_graph_that_sees_changes(name, "inductor")


def test_the_operators_keep_the_rules_of_torch() -> None:
    x, table = torch.randn(7, DIM), search_table(torch.randn(5, DIM))
    torch.library.opcheck(torch.ops.audiovq.search_table.default, (torch.randn(5, DIM),))
    torch.library.opcheck(torch.ops.audiovq.search.default, (x, table))
