"""Numbers that are not finite: a step that meets them moves nothing, and no model or run is made of them."""

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from audiovq.audio import AudioVQVAE
from audiovq.errors import BadModelError, TrainingError
from audiovq.modelfolder import write_model_folder
from audiovq.train import run
from audiovq.train.experiment import parse_experiment
from audiovq.train.optimization import SKIPPED_AT_MOST
from audiovq.train.run import train

from .conftest import tiny_config, tiny_tree


class Plant(pl.Callback):
    """Puts a value into the batches of some steps; keeps the state before and after each step."""

    def __init__(self, steps, value=torch.nan, where=(0, 0, 5)):
        self.steps, self.value, self.where = steps, value, where
        self.moved: dict[int, bool] = {}

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.before = {k: v.clone() for k, v in module.state_dict().items()}
        if trainer.global_step in self.steps:
            batch["waveform"][self.where] = self.value

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        after = module.state_dict()
        self.moved[trainer.global_step - 1] = any(not torch.equal(v, after[k]) for k, v in self.before.items())


def planted(monkeypatch, *arguments, **options):
    plant, usual = Plant(*arguments, **options), run.run_callbacks
    monkeypatch.setattr(run, "run_callbacks", lambda *args: [plant, *usual(*args)])
    return plant


def all_finite(folder):
    files = list(folder.rglob("*.safetensors"))
    tensors = [tensor for file in files for tensor in load_file(file).values()]
    return bool(files) and all(bool(tensor.isfinite().all()) for tensor in tensors)


@pytest.mark.parametrize("decoder", ["fast", "wavenet"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e38])
@pytest.mark.parametrize("where", [(0, 0, 5), (slice(None),)], ids=["one sample", "the whole batch"])
@pytest.mark.parametrize("step", [0, 3, 4])  # the codebooks start at step 3
def test_one_bad_batch_is_skipped_and_leaves_everything_as_it_was(
    tiny_pack, tmp_path, monkeypatch, capsys, decoder, value, where, step
):
    plant = planted(monkeypatch, {step}, value, where)
    train(tiny_config(tiny_pack, decoder), tmp_path, device="cpu")
    if not plant.moved[step]:
        assert f"step {step}: the loss" in capsys.readouterr().out
    assert value == 1e38 or not plant.moved[step]  # a loud sample may be bearable to a decoder of classes
    assert all(moved for at, moved in plant.moved.items() if at != step)
    assert all_finite(tmp_path / "models")
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["skipped_steps"] == (not plant.moved[step])
    assert all(v.isfinite().all() for v in checkpoint["state_dict"].values())
    assert (tmp_path / "trained.json").exists()


def test_a_run_that_skips_a_step_is_resumed_exactly(tiny_pack, tmp_path, monkeypatch):
    planted(monkeypatch, {1, 4})
    train(tiny_config(tiny_pack), tmp_path / "whole", device="cpu")
    train(tiny_config(tiny_pack, max_steps=3), tmp_path / "parts", device="cpu")  # its learning rates differ
    train(tiny_config(tiny_pack), tmp_path / "parts", device="cpu")
    counts = [torch.load(tmp_path / n / "checkpoints" / "last.ckpt", weights_only=True) for n in ("whole", "parts")]
    assert [c["skipped_steps"] for c in counts] == [2, 2]


def test_a_few_in_a_row_end_the_run_with_what_to_try(tiny_pack, tmp_path, monkeypatch):
    planted(monkeypatch, set(range(5, 100)))
    tree = tiny_tree(tiny_pack, max_steps=100)
    tree["model"]["quantizer"]["level_dropout"] = False  # a level starts at step 3, the next at step 4
    with pytest.raises(TrainingError, match=r"step 9: .*5th time in a row; lower train\.learning_rate"):
        train(parse_experiment(tree, "tiny"), tmp_path, device="cpu")
    assert not (tmp_path / "trained.json").exists()
    assert all_finite(tmp_path / "models")
    assert SKIPPED_AT_MOST == 5


def test_weights_that_overflow_are_not_exported(tiny_pack, tmp_path):
    with pytest.raises((TrainingError, BadModelError), match=r"lower train\.learning_rate"):
        train(tiny_config(tiny_pack, learning_rate=1e30, warmup_steps=1, max_steps=9), tmp_path, device="cpu")
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("change", ["nan", "inf", "int64", "bool", "complex64", "float64 beyond"])
@pytest.mark.parametrize("part", ["encoder.", "decoders.fast.", "quantizer."])
def test_a_model_that_holds_other_than_finite_floats_is_not_loaded(tiny_pack, tmp_path, change, part):
    model = AudioVQVAE.from_config(tiny_config(tiny_pack).model.model_copy(update={"speakers": ["a", "b"]}))
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    name = next(n for n, t in sorted(tensors.items()) if n.startswith(part) and t.is_floating_point() and t.ndim)
    match change:
        case "nan" | "inf":
            tensors[name].flatten()[0] = float(change)
        case "float64 beyond":
            tensors[name] = torch.full_like(tensors[name], 1e300, dtype=torch.float64)
        case _:
            tensors[name] = tensors[name].to(getattr(torch, change))
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(BadModelError, match=name.replace(".", r"\.")):
        AudioVQVAE.from_pretrained(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 1e6])
def test_nothing_is_written_that_half_precision_does_not_hold(tmp_path, value):
    with pytest.raises(BadModelError, match=r"a\.b"):
        write_model_folder(tmp_path / "m", {}, {"a.b": torch.tensor([1.0, value]), "c": torch.ones(2)})
    assert not (tmp_path / "m").exists()
