"""Configuration: typed, frozen, and strict about what it does not know."""

import re

import pytest
import yaml

from audiovq.errors import ConfigError
from audiovq.train.experiment import load_experiment
from audiovq.train.image.config import ImageExperimentConfig
from audiovq.train.prior.config import load_prior_config
from audiovq.train.speech.config import SpeechExperimentConfig

from .conftest import tiny_tree


@pytest.fixture
def path(tiny_pack, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_tree(tiny_pack)))
    return path


def test_overrides_replace_one_key_with_its_type(path):
    config = load_experiment(path, ["train.max_steps=9", "data.train.0.weight=2.5", "objective.bypass=0"])
    assert (config.train.max_steps, config.data.train[0].weight, config.objective.bypass) == (9, 2.5, 0.0)


def test_files_of_changes_are_laid_over_one_another(path, tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("model: {quantizer: {beta: 0.5, codebook_size: 16}}\ntrain: {max_steps: 7}")
    two.write_text("model: {quantizer: {codebook_size: 32}}")
    config = load_experiment(path, ["train.max_steps=9"], changes=[one, two])
    quantizer = config.model.quantizer
    assert (quantizer.beta, quantizer.codebook_size, quantizer.num_quantizers) == (0.5, 32, 2)
    assert config.train.max_steps == 9


def test_a_change_of_kind_leaves_nothing_of_the_other(path, tmp_path):
    change = tmp_path / "fsq.yaml"
    change.write_text("model: {quantizer: {kind: fsq, levels: [3, 3]}}")
    config = load_experiment(path, changes=[change])
    assert config.model.quantizer.levels == [3, 3]
    assert config.model.quantizer.num_quantizers == 1  # the default, not the 2 of the other kind
    change.write_text("model: {quantizer: {kind: vq, codebooks: 3}}")
    with pytest.raises(ConfigError, match=r"fsq.yaml: model\.quantizer.*codebooks: unknown key"):
        load_experiment(path, changes=[change])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.max_step=9", "train.max_step: unknown key"),
        ("model.encoder.chanels=9", r"model\.encoder.*chanels: unknown key"),
        ("train.max_steps=many", r"train\.max_steps"),
        ("train.max_steps", "want key=value"),
        ("data.train.7.weight=1", r"there is no data\.train\.7"),
        ("model.default_num_quantizers=3", "between 1 and num_quantizers = 2"),
        ("model.decoders={}", "at least one"),
        ("data.augment.noise.snr=1", r"data\.augment\.noise\.snr: unknown key"),
    ],
)
def test_a_wrong_key_or_value_is_named(path, override, message):
    with pytest.raises(ConfigError, match=message):
        load_experiment(path, [override])


def test_files_that_are_no_configuration_are_named(tmp_path):
    (tmp_path / "a.yaml").write_text("- 1")
    (tmp_path / "b.yaml").write_text("a: [")
    for name in ("a.yaml", "b.yaml", "missing.yaml"):
        with pytest.raises(ConfigError, match=name):
            load_experiment(tmp_path / name)


def test_a_config_is_frozen(path):
    with pytest.raises(ValueError, match="frozen"):
        load_experiment(path).train.max_steps = 3


def test_every_recipe_configuration_is_valid(request):
    paths = sorted(request.config.rootpath.glob("egs/*/*/conf/*.yaml"))
    priors = [path for path in paths if path.name == "prior.yaml"]
    assert {type(load_experiment(path)) for path in paths if path not in priors} == {
        SpeechExperimentConfig,
        ImageExperimentConfig,
    }
    for path in priors:  # their kind is the shared script's default: grids of images, sequences of sound
        images = "recipes/image.sh" in (path.parents[1] / "run.sh").read_text()
        load_prior_config("pixelcnn" if images else "transformer", path)


def test_every_change_fits_the_configuration_it_is_laid_over(request):
    """Over vqvae.yaml, unless its first line names what comes before: `# After vqvae_32.yaml, a.yaml: ...`."""
    paths = sorted(request.config.rootpath.glob("egs/*/vqvae/conf/changes/*.yaml"))
    assert paths
    for path in paths:
        first = path.read_text().splitlines()[0]
        before = re.findall(r"\w+\.yaml", first.partition(":")[0]) if first.startswith("# After") else []
        base = next(
            (path.parents[1] / name for name in before if (path.parents[1] / name).exists()),
            path.parents[1] / "vqvae.yaml",
        )
        load_experiment(base, changes=[*(path.parent / name for name in before if name != base.name), path])
