"""docs/quantizers.md: its example runs and learns, and its overrides are valid."""

import re

import pytest
import torch
import torch.nn.functional as F

from audiovq.audio import AudioVQVAE
from audiovq.train.experiment import load_experiment


@pytest.fixture(scope="module")
def document(request) -> str:
    return (request.config.rootpath / "docs" / "quantizers.md").read_text(encoding="utf-8")


def test_the_example_trains_an_autoencoder(document):
    (example,) = re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL)
    assert len(example.strip().splitlines()) <= 15
    smooth = [F.interpolate(torch.rand(8, 3, 4, 4), size=32, mode="bilinear") for _ in range(450)]
    seen = {"batches": smooth}
    exec(compile(example, "docs/quantizers.md", "exec"), seen)
    assert seen["codes"].shape == (8, 8, 8)
    assert len(seen["codes"].unique()) > 100
    z_q = seen["quantizer"].decode(seen["codes"])
    assert torch.equal(z_q, seen["quantizer"](seen["encoder"](seen["images"])).z_q)
    error = (seen["decoder"](z_q) - seen["images"]).square().mean()
    assert error < 0.25 * seen["images"].var()


def test_every_override_builds_a_model(document, request):
    overrides = re.findall(r"-o '(model\.quantizer=.*?)'", document)
    assert len(overrides) >= 5
    for override in overrides:
        config = load_experiment(request.config.rootpath / "egs/fsdd/vqvae/conf/vqvae.yaml", [override])
        quantizer = AudioVQVAE.from_config(config.model).quantizer.train()
        for _ in range(quantizer.num_quantizers):
            codes = quantizer(torch.randn(2, config.model.latent_dim, 50)).codes
        assert codes.shape == (2, quantizer.num_quantizers, 50)
