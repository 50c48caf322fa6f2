"""Each kind of quantizer from its part of the configuration: codes, files, and what is refused."""

import pytest
import torch

from audiovq.audio import AudioModelConfig, AudioVQVAE
from audiovq.quantize import FSQ, LFQ, GroupedVQ, ResidualVQ, SimVQ, VectorQuantizer

from .conftest import make_model

QUANTIZERS = {
    "vq": {"kind": "vq", "codebook_size": 16, "kmeans_init": False},
    "vq-residual": {"kind": "vq", "num_quantizers": 3, "codebook_size": 16, "kmeans_init": False},
    "vq-grouped": {"kind": "vq", "num_quantizers": 2, "groups": 2, "codebook_size": 16, "kmeans_init": False},
    "vq-cosine": {"kind": "vq", "codebook_size": 16, "codebook_dim": 4, "distance": "cosine", "kmeans_init": False},
    "vq-rotation": {
        "kind": "vq",
        "num_quantizers": 2,
        "codebook_size": 16,
        "gradient": "rotation",
        "kmeans_init": False,
    },
    "fsq": {"kind": "fsq", "levels": [5, 5, 5], "num_quantizers": 2},
    "simvq": {"kind": "simvq", "codebook_size": 16, "num_quantizers": 2},
    "simvq-low": {"kind": "simvq", "codebook_size": 16, "codebook_dim": 4},
    "lfq": {"kind": "lfq", "bits": 6, "num_quantizers": 2},
}


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_codes_are_batch_levels_frames_and_survive_a_file(kind, tmp_path):
    model = make_model(quantizer=QUANTIZERS[kind])
    waveform = torch.randn(2, 1, 320) * 0.1
    codes = model.encode(waveform)
    assert codes.shape == (2, model.num_quantizers, 40)
    assert len(model.codebook_sizes) == model.num_quantizers
    assert torch.equal(model.quantizer.decode(codes), model.quantizer(model.encoder(waveform)).z_q)
    model.save_pretrained(tmp_path)
    first, second = AudioVQVAE.from_pretrained(tmp_path), AudioVQVAE.from_pretrained(tmp_path)
    assert torch.equal(first.encode(waveform), second.encode(waveform))
    assert first.config == model.config
    assert first.num_parameters() == model.num_parameters()


def test_each_kind_is_what_it_says():
    built = {kind: make_model(quantizer=part).quantizer for kind, part in QUANTIZERS.items()}
    assert isinstance(built["vq-grouped"], GroupedVQ)
    assert [part.dim for part in built["vq-grouped"].parts] == [4, 4]
    assert built["vq-grouped"].num_quantizers == 4
    assert built["vq-cosine"].levels[0].distance == "cosine"
    assert built["vq-rotation"].gradient == "rotation"
    levels = {"vq-residual": VectorQuantizer, "fsq": FSQ, "simvq": SimVQ, "lfq": LFQ}
    for kind, of_level in levels.items():
        assert isinstance(built[kind], ResidualVQ)
        assert {type(level) for level in built[kind].levels} == {of_level}
    assert [level.scale for level in built["fsq"].levels] == [1.0, 0.25]
    assert [level.scale for level in built["lfq"].levels] == [1.0, 0.5]


@pytest.mark.parametrize("kind", ["vq-residual", "simvq", "lfq"])
def test_every_level_brings_the_latent_closer(kind):
    quantizer = make_model(quantizer=QUANTIZERS[kind], latent_dim=6).quantizer
    z = torch.randn(4, 6, 100) * 0.5
    errors = [(quantizer(z, num_quantizers=n).z_q - z).square().mean() for n in range(1, quantizer.num_quantizers + 1)]
    assert errors[-1] < errors[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantizer": QUANTIZERS["vq-grouped"] | {"groups": 3}}, "groups: is 3, must divide latent_dim = 8"),
        ({"quantizer": QUANTIZERS["vq-grouped"] | {"groups": 0}}, "groups: is 0"),
        (
            {"quantizer": QUANTIZERS["vq-grouped"], "default_num_quantizers": 1},
            r"between 2 and groups \* num_quant.* = 4",
        ),
        ({"quantizer": QUANTIZERS["lfq"] | {"codebook_size": 3}}, "codebook_size"),
        ({"quantizer": {"kind": "nonsense"}}, "nonsense"),
    ],
)
def test_what_can_not_be_built_is_refused_with_its_key(changes, message):
    tree = make_model().config.model_dump() | changes
    with pytest.raises(ValueError, match=message):
        AudioModelConfig.model_validate(tree)


def test_a_configuration_from_before_these_options_means_what_it_meant():
    old = {"kind": "vq", "num_quantizers": 2, "codebook_size": 16, "codebook_dim": None, "update": "ema", "beta": 0.25}
    quantizer = make_model(quantizer=old | {"kmeans_init": False}).quantizer
    assert isinstance(quantizer, ResidualVQ)
    assert [(level.distance, level.dim) for level in quantizer.levels] == [("l2", 8)] * 2
    assert quantizer.identity_gradient
