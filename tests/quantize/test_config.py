"""A quantizer's configuration: complete when saved, and with no default of its own where the constructor has one."""

from __future__ import annotations

import ast
import inspect

import pytest

from audiovq.config import defaults
from audiovq.quantize import FSQ, LFQ, ResidualVQ, SimVQ, VectorQuantizer, config
from audiovq.quantize.build import build_quantizer
from audiovq.quantize.config import FSQConfig, LFQConfig, SimVQConfig, StackConfig, VQConfig

KINDS = {VQConfig: VectorQuantizer, FSQConfig: FSQ, SimVQConfig: SimVQ, LFQConfig: LFQ}
SAVED = {
    VQConfig: {
        "kind": "vq",
        "num_quantizers": 1,
        "groups": 1,
        "codebook_size": 512,
        "codebook_dim": None,
        "update": "ema",
        "beta": 0.25,
        "decay": 0.99,
        "kmeans_init": True,
        "restart_threshold": 0.03,
        "distance": "l2",
        "unit_length": True,
        "gradient": "straight-through",
        "level_dropout": False,
    },
    FSQConfig: {"kind": "fsq", "levels": [8, 8, 8], "num_quantizers": 1, "level_dropout": False},
    SimVQConfig: {
        "kind": "simvq",
        "num_quantizers": 1,
        "codebook_size": 1024,
        "codebook_dim": None,
        "beta": 0.25,
        "level_dropout": False,
    },
    LFQConfig: {
        "kind": "lfq",
        "num_quantizers": 1,
        "bits": 10,
        "beta": 0.25,
        "entropy_weight": 0.1,
        "temperature": 1.0,
        "level_dropout": False,
    },
}
every_config = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def literal_defaults(kind: type[StackConfig]) -> set[str]:
    """Options whose default is written out in the body of the class."""
    (body,) = ast.parse(inspect.getsource(kind)).body
    fields = [node for node in body.body if isinstance(node, ast.AnnAssign)]
    return {node.target.id for node in fields if node.value and not isinstance(node.value, ast.Subscript)}


@every_config
def test_no_default_stands_twice(kind: type[StackConfig]) -> None:
    constructor = defaults(KINDS[kind]) | defaults(ResidualVQ)
    fields = {name: field.default for name, field in kind.model_fields.items() if name in constructor}
    assert fields == {name: constructor[name] for name in fields}
    assert fields.keys().isdisjoint(literal_defaults(kind) | literal_defaults(StackConfig))


def test_literal_defaults_are_found() -> None:
    assert literal_defaults(VQConfig) == {"groups", "codebook_size"}


def test_a_stack_has_the_same_defaults_however_it_is_made() -> None:
    assert defaults(ResidualVQ.of).keys() == {"codebook_dim"}
    assert defaults(ResidualVQ)["gradient"] == defaults(VectorQuantizer)["gradient"]


@every_config
def test_what_is_saved_is_complete(kind: type[StackConfig]) -> None:
    assert kind(kind=SAVED[kind]["kind"]).model_dump(mode="json") == SAVED[kind]


def test_every_configuration_is_in_the_union_and_builds() -> None:
    assert set(config.AnyQuantizerConfig.__args__) == set(StackConfig.__subclasses__()) == set(KINDS)
    for kind, saved in SAVED.items():
        built = build_quantizer(kind.model_validate(saved | {"num_quantizers": 2}), 6)
        assert built.num_quantizers == 2
        assert all(isinstance(level, KINDS[kind]) for level in built.levels)
