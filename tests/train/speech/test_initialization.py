"""Starting from a released model: what is kept rests to the last bit, what is trained moves, mistakes are named."""

import pytest
import torch

from audiovq.audio import AudioVQVAE
from audiovq.errors import ConfigError
from audiovq.quantize import ResidualVQ
from audiovq.train.experiment import parse_experiment
from audiovq.train.run import train
from audiovq.train.speech.module import AudioVQVAEModule
from audiovq.train.speech.objectives import fixed_latents

from ..conftest import FRAME, WAVENET, tiny_config, tiny_tree


@pytest.fixture(scope="module")
def released(tiny_pack, tmp_path_factory):
    """A model folder with the decoder `fast`, after a few steps."""
    return train(tiny_config(tiny_pack), tmp_path_factory.mktemp("released"), device="cpu") / "latest"


@pytest.fixture
def tree(tiny_pack, released):
    """A run that adds `wavenet` to it and trains nothing else."""
    tree = tiny_tree(tiny_pack, "wavenet")
    tree["model"]["speakers"] = ["a", "b"]
    tree["model"]["decoders"] = {"fast": FRAME, "wavenet": WAVENET}
    tree["objective"] = {"kind": "likelihood"}
    return tree | {"init": {"model": str(released), "train": ["decoders.wavenet"]}}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_new_decoder_is_trained_and_all_else_stays_as_released(tree, released, tmp_path, precision):
    tree["train"] |= {"precision": precision, "weight_decay": 0.5}
    folder = train(parse_experiment(tree, "tiny"), tmp_path, device="cpu")
    before, after = (AudioVQVAE.from_pretrained(x) for x in (released, folder / "latest"))
    kept = before.state_dict()
    assert kept
    for name, value in kept.items():
        assert torch.equal(after.state_dict()[name], value), name
    torch.manual_seed(0)
    untrained = AudioVQVAE.from_config(after.config).decoders["wavenet"].state_dict()
    trained = after.decoders["wavenet"].state_dict()
    assert not any(torch.equal(trained[name], untrained[name]) for name in trained if name.endswith("taps.weight"))
    waveform = torch.randn(1, 1, 320)
    assert torch.equal(before.encode(waveform), after.encode(waveform))


def test_the_examples_are_of_the_decoder_that_is_trained(tree, tmp_path, monkeypatch):
    heard, decode = [], AudioVQVAE.decode

    def note(*args, decoder=None, **options):
        heard.append(decoder)
        return decode(*args, decoder=decoder, **options)

    monkeypatch.setattr(AudioVQVAE, "decode", note)
    train(parse_experiment(tree, "tiny"), tmp_path, device="cpu")
    assert heard == ["wavenet", "wavenet"]  # one a validation


def test_the_optimizer_holds_only_what_is_trained(tree):
    module = AudioVQVAEModule(parse_experiment(tree, "tiny"))
    held = {id(p) for group in module.configure_optimizers()["optimizer"].param_groups for p in group["params"]}
    assert held == {id(p) for p in module.model.decoders["wavenet"].parameters()}


def test_weight_decay_leaves_codebooks_alone(tiny_pack):
    module = AudioVQVAEModule(tiny_config(tiny_pack))
    module.model.quantizer = ResidualVQ.of(8, 1, 16, update="loss", kmeans_init=False)
    groups = module.configure_optimizers()["optimizer"].param_groups
    decayed = {id(p) for group in groups for p in group["params"] if group["weight_decay"]}
    assert decayed
    assert not decayed & {id(p) for p in module.model.quantizer.parameters()}


def test_what_is_kept_rests_in_eval_mode_through_training_mode(tree):
    module = AudioVQVAEModule(parse_experiment(tree, "tiny")).train()
    assert module.model.decoders["wavenet"].training
    assert not any(x.training for x in module.model.quantizer.modules())
    assert not any(x.training for x in module.model.encoder.modules())


def test_a_resumed_run_repeats_the_uninterrupted_one(tree, tmp_path):
    from ..test_run import losses, stop_at

    tree["train"]["precision"] = "bf16-mixed"
    config = parse_experiment(tree, "tiny")
    train(config, tmp_path / "whole", device="cpu")
    stop_at(4, config, tmp_path / "parts")
    train(config, tmp_path / "parts", device="cpu")
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_training_draws_how_many_levels_are_heard_and_validation_hears_all(tree):
    module = AudioVQVAEModule(parse_experiment(tree, "tiny"))
    model, waveform = module.model, torch.randn(64, 1, 512)
    codes = model.encode(waveform)
    assert torch.equal(fixed_latents(model, waveform, training=False), model.quantizer.decode(codes))
    one, two = model.quantizer.decode(codes[:, :1]), model.quantizer.decode(codes)
    drawn = fixed_latents(model, waveform, training=True)
    of_one, of_two = ((drawn == x).flatten(1).all(1) for x in (one, two))
    assert (of_one | of_two).all()
    assert of_one.sum() > 10
    assert of_two.sum() > 10


def test_without_a_choice_everything_goes_on_from_the_released_weights(tiny_pack, released):
    tree = tiny_tree(tiny_pack) | {"init": {"model": str(released)}}
    tree["model"]["speakers"] = ["a", "b"]
    module = AudioVQVAEModule(parse_experiment(tree, "tiny"))
    assert all(p.requires_grad for p in module.model.parameters())
    for name, value in AudioVQVAE.from_pretrained(released).state_dict().items():
        assert torch.equal(module.model.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["init"].update(train=["decoder"]), "no part 'decoder', only encoder, quantizer, decoders.fast"),
        (lambda t: t["init"].update(train=["quantizer"]), "no decoders.wavenet; it must be among init.train"),
        (lambda t: t["init"].update(train=["decoders.wavenet", "encoder"]), None),
        (lambda t: t["objective"].update(kind="spectral", decoder="fast"), "must hold decoders.fast"),
        (lambda t: t["model"]["encoder"].update(dilations=[1, 3]), r"model\.encoder: differs"),
        (lambda t: t["model"]["quantizer"].update(beta=1.0), r"model\.quantizer: differs"),
        (lambda t: t["model"]["decoders"].update(fast=FRAME | {"lookahead": 0}), r"decoders\.fast: differs"),
        (lambda t: t["model"].update(speakers=["b", "a"]), r"model\.speakers: differs"),
        (
            lambda t: (t["init"].pop("train"), t["model"]["quantizer"].update(codebook_size=16)),
            r"quantizer\..* is \(16, 8\), in .* \(8, 8\)",
        ),
        (lambda t: t["init"].update(model="no/such/folder/at/all"), "no/such/folder"),
    ],
)
def test_a_mistake_is_named(tree, change, message):
    change(tree)
    if message is None:  # training an encoder whose quantizer rests is allowed
        AudioVQVAEModule(parse_experiment(tree, "tiny"))
        return
    from audiovq.errors import AudioVQError

    with pytest.raises(AudioVQError, match=message):
        AudioVQVAEModule(parse_experiment(tree, "tiny"))


def test_an_empty_list_of_trained_parts_is_refused(tree):
    tree["init"]["train"] = []
    with pytest.raises(ConfigError, match=r"init\.train"):
        parse_experiment(tree, "tiny")
