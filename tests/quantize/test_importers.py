"""EnCodec, DAC and Mimi codebooks: same codes for the same latents, same vectors for the same codes.

State dicts are written here by hand, in the layouts the packages save, and compared with a plain restatement of each
package's rule; where a package is installed, a randomly initialised module of it is imported too.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiovq.quantize import Quantizer, dac_quantizer, encodec_quantizer, mimi_quantizer

State = dict[str, Tensor]
B, FRAMES = 2, 60


def residual(x: Tensor, levels: list[Callable[[Tensor], tuple[Tensor, Tensor]]]) -> tuple[Tensor, Tensor]:
    """x [N, D], levels that give codes [N] and vectors [N, D] -> codes [N, Q] and the sum of the vectors."""
    codes, total = [], torch.zeros_like(x)
    for level in levels:
        code, vector = level(x - total)
        codes.append(code)
        total = total + vector
    return torch.stack(codes, dim=1), total


def euclidean(codebook: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def level(x: Tensor) -> tuple[Tensor, Tensor]:
        codes = (x.unsqueeze(1) - codebook).square().sum(dim=2).argmin(dim=1)
        return codes, codebook[codes]

    return level


def check(quantizer: Quantizer, z: Tensor, codes: Tensor, z_q: Tensor) -> None:
    """The quantizer gives these codes [B, Q, F] for z [B, C, F], and these vectors for the codes."""
    quantizer.eval()
    assert torch.equal(quantizer.encode(z), codes)
    torch.testing.assert_close(quantizer.decode(codes), z_q, rtol=1e-4, atol=1e-5)
    assert torch.equal(quantizer(z).z_q, quantizer.decode(codes))


def check_missing_keys(importer: Callable[[State], Quantizer], state: State, optional: tuple[str, ...] = ()) -> None:
    for key in state:
        if not key.endswith(optional):
            with pytest.raises(ValueError, match=key.replace(".", r"\.")):
                importer({name: value for name, value in state.items() if name != key})


def rows(z: Tensor) -> Tensor:
    return z.movedim(1, -1).flatten(0, 1)


def unrows(x: Tensor) -> Tensor:
    return x.view(B, FRAMES, -1).movedim(-1, 1)


# EnCodec.

ENCODEC_LAYOUTS = ["quantizer.vq.layers.{}._codebook.", "vq.layers.{}._codebook.", "quantizer.layers.{}.codebook."]


def encodec_state(layout: str, levels: int = 3) -> State:
    state: State = {"encoder.layers.0.conv.weight": torch.randn(3)}
    for i in range(levels):
        prefix = layout.format(i)
        state[prefix + "inited"] = torch.tensor([1.0])
        state[prefix + "cluster_size"] = torch.rand(20) * 50
        state[prefix + "embed"] = torch.randn(20, 6) / (i + 1)
        state[prefix + "embed_avg"] = torch.randn(20, 6)
    return state


@pytest.mark.parametrize("layout", ENCODEC_LAYOUTS)
def test_encodec_layout(layout: str) -> None:
    state = encodec_state(layout)
    z = torch.randn(B, 6, FRAMES)
    codes, z_q = residual(rows(z), [euclidean(state[layout.format(i) + "embed"]) for i in range(3)])
    check(encodec_quantizer(state), z, unrows(codes), unrows(z_q))


def test_encodec_codebooks_go_on_learning_from_where_they_are() -> None:
    """A step on the codes' own vectors leaves the codebook in place: the averages belong to it."""
    state = encodec_state(ENCODEC_LAYOUTS[0], levels=1)
    quantizer = encodec_quantizer(state)
    embed = state["quantizer.vq.layers.0._codebook.embed"]
    quantizer.train()(embed.t().unsqueeze(0))
    torch.testing.assert_close(quantizer.levels[0].codebook, embed)
    assert torch.equal(
        quantizer.levels[0].ema_counts, 0.99 * state["quantizer.vq.layers.0._codebook.cluster_size"] + 0.01
    )


def test_encodec_state_that_does_not_fit_is_refused() -> None:
    state = encodec_state(ENCODEC_LAYOUTS[0])
    del state["encoder.layers.0.conv.weight"]
    check_missing_keys(encodec_quantizer, state, optional=("inited", "embed_avg"))
    with pytest.raises(ValueError, match=r"no quantizer.*layers\.0\._codebook\.embed"):
        encodec_quantizer({"encoder.weight": torch.zeros(1)})
    state["quantizer.vq.layers.1._codebook.inited"].zero_()
    with pytest.raises(ValueError, match=r"layers\.1\._codebook\.inited is 0"):
        encodec_quantizer(state)


# DAC.


def dac_state(form: str, prefix: str = "quantizer.", levels: int = 3) -> State:
    names = {
        "weight_g": (".weight_g", ".weight_v"),
        "parametrizations": (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    }
    state: State = {}
    for i in range(levels):
        start = f"{prefix}quantizers.{i}."
        for name, (wide, narrow) in {"in_proj": (10, 4), "out_proj": (4, 10)}.items():
            g, v = torch.rand(narrow, 1, 1) + 0.5, torch.randn(narrow, wide, 1)
            if form == "plain":
                state[start + name + ".weight"] = g * F.normalize(v.flatten(1), dim=1).unsqueeze(2)
            else:
                state |= dict(zip((start + name + end for end in names[form]), (g, v), strict=True))
            state[start + name + ".bias"] = torch.randn(narrow) * 0.1
        state[start + "codebook.weight"] = torch.randn(20, 4) * (torch.rand(20, 1) + 0.2)  # of different length
    return state


def dac_level(state: State, start: str, form: str) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    def convolution(name: str, x: Tensor) -> Tensor:
        if form == "plain":
            weight = state[f"{start}{name}.weight"]
        else:
            ends = ("weight_g", "weight_v") if form == "weight_g" else [f"{form}.weight.original{i}" for i in (0, 1)]
            g, v = (state[f"{start}{name}.{end}"] for end in ends)
            weight = g * v / v.square().sum(dim=1, keepdim=True).sqrt()
        return F.conv1d(x.t().unsqueeze(0), weight, state[f"{start}{name}.bias"]).squeeze(0).t()

    def level(x: Tensor) -> tuple[Tensor, Tensor]:
        codebook = state[start + "codebook.weight"]
        codes = (F.normalize(convolution("in_proj", x)) @ F.normalize(codebook).t()).argmax(dim=1)
        return codes, convolution("out_proj", codebook[codes])

    return level


@pytest.mark.parametrize("prefix", ["quantizer.", ""])
@pytest.mark.parametrize("form", ["weight_g", "parametrizations", "plain"])
def test_dac_layout(form: str, prefix: str) -> None:
    state = dac_state(form, prefix)
    z = torch.randn(B, 10, FRAMES)
    codes, z_q = residual(rows(z), [dac_level(state, f"{prefix}quantizers.{i}.", form) for i in range(3)])
    check(dac_quantizer(state), z, unrows(codes), unrows(z_q))


@pytest.mark.parametrize("form", ["weight_g", "parametrizations"])
def test_dac_state_that_does_not_fit_is_refused(form: str) -> None:
    check_missing_keys(dac_quantizer, dac_state(form))
    with pytest.raises(ValueError, match=r"no quantizer.*quantizers\.0\.codebook\.weight"):
        dac_quantizer({})


# Mimi.

MIMI_BRANCHES = {
    "moshi": ("quantizer.rvq_first.", "quantizer.rvq_rest.", "vq.layers.{}._codebook.", "embedding_sum"),
    "transformers": (
        "quantizer.semantic_residual_vector_quantizer.",
        "quantizer.acoustic_residual_vector_quantizer.",
        "layers.{}.codebook.",
        "embed_sum",
    ),
}


def mimi_state(package: str, dim: int = 10, projected: bool = True) -> State:
    first, rest, layer, total = MIMI_BRANCHES[package]
    state: State = {}
    for branch, levels in ((first, 1), (rest, 3)):
        if projected:
            state[branch + "input_proj.weight"] = torch.randn(6, dim, 1) / dim**0.5
            state[branch + "output_proj.weight"] = torch.randn(dim, 6, 1) / 6**0.5
        for i in range(levels):
            prefix = branch + layer.format(i)
            state[prefix + ("_initialized" if package == "moshi" else "initialized")] = torch.tensor([1.0])
            state[prefix + "cluster_usage"] = torch.rand(20) * 3 + 0.1
            state[prefix + total] = torch.randn(20, 6) * state[prefix + "cluster_usage"].unsqueeze(1)
    return state


def mimi_rule(state: State, package: str, z: Tensor) -> tuple[Tensor, Tensor]:
    first, rest, layer, total = MIMI_BRANCHES[package]
    all_codes, z_q = [], torch.zeros(())
    for branch, levels in ((first, 1), (rest, 3)):
        starts = [branch + layer.format(i) for i in range(levels)]
        books = [state[start + total] / state[start + "cluster_usage"].unsqueeze(1) for start in starts]
        enter, leave = (state.get(branch + name) for name in ("input_proj.weight", "output_proj.weight"))
        codes, x = residual(rows(z if enter is None else F.conv1d(z, enter)), [euclidean(book) for book in books])
        all_codes.append(codes)
        z_q = z_q + (unrows(x) if leave is None else F.conv1d(unrows(x), leave))
    return unrows(torch.cat(all_codes, dim=1)), z_q


@pytest.mark.parametrize("package", MIMI_BRANCHES)
@pytest.mark.parametrize("case", ["projected", "projected to equal size", "not projected"])
def test_mimi_layout(package: str, case: str) -> None:
    dim = 10 if case == "projected" else 6
    state = mimi_state(package, dim, projected=case != "not projected")
    z = torch.randn(B, dim, FRAMES)
    quantizer = mimi_quantizer(state)
    assert quantizer.codebook_sizes == [20] * 4
    check(quantizer, z, *mimi_rule(state, package, z))
    bare = {name.removeprefix("quantizer."): value for name, value in state.items()}
    check(mimi_quantizer(bare), z, *mimi_rule(state, package, z))


@pytest.mark.parametrize("package", MIMI_BRANCHES)
def test_mimi_state_that_does_not_fit_is_refused(package: str) -> None:
    check_missing_keys(mimi_quantizer, mimi_state(package), optional=("initialized",))
    with pytest.raises(ValueError, match=r"no quantizer.*rvq_first\.vq\.layers\.0\._codebook\.embedding_sum"):
        mimi_quantizer({"rvq.weight": torch.zeros(1)})


def test_half_precision_weights_become_float32() -> None:
    state = {name: value.half() for name, value in mimi_state("moshi").items()}
    z = torch.randn(B, 10, FRAMES)
    check(mimi_quantizer(state), z, *mimi_rule({name: value.float() for name, value in state.items()}, "moshi", z))


# The packages themselves.


def randomised(module: nn.Module) -> nn.Module:
    """Random codebooks in a module that has just been made, which marks them as initialised."""
    for name, buffer in module.named_buffers():
        if name.endswith(("embed", "embed_avg", "embedding_sum", "embed_sum")):
            buffer.normal_()
        elif name.endswith(("cluster_size", "cluster_usage")):
            buffer.uniform_(0.5, 2)
        elif name.endswith(("inited", "initialized")):
            buffer.fill_(1)
    return module.eval()


def test_encodec_package() -> None:
    quantization = pytest.importorskip("encodec.quantization", reason="encodec is not installed")
    theirs = randomised(quantization.ResidualVectorQuantizer(dimension=16, n_q=4, bins=64))
    z = torch.randn(B, 16, FRAMES)
    codes = theirs.encode(z, sample_rate=50)
    check(encodec_quantizer(theirs.state_dict()), z, codes.transpose(0, 1), theirs.decode(codes))


def test_dac_package() -> None:
    quantize = pytest.importorskip("dac.nn.quantize", reason="descript-audio-codec is not installed")
    theirs = quantize.ResidualVectorQuantize(input_dim=16, n_codebooks=4, codebook_size=64, codebook_dim=4).eval()
    z = torch.randn(B, 16, FRAMES)
    with torch.no_grad():
        codes = theirs(z)[1]
        check(dac_quantizer(theirs.state_dict()), z, codes, theirs.from_codes(codes)[0])


def test_moshi_package() -> None:
    quantization = pytest.importorskip("moshi.quantization", reason="moshi is not installed")
    theirs = randomised(
        quantization.SplitResidualVectorQuantizer(
            n_q=4, n_q_semantic=1, dimension=8, input_dimension=16, output_dimension=16, bins=64
        )
    )
    z = torch.randn(B, 16, FRAMES)
    with torch.no_grad():
        codes = theirs.encode(z)
        check(mimi_quantizer(theirs.state_dict()), z, codes, theirs.decode(codes))


@pytest.mark.parametrize("codec", ["encodec", "dac", "mimi"])
def test_transformers_package(codec: str) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    z = torch.randn(B, 16, FRAMES)
    with torch.no_grad():
        if codec == "encodec":
            from transformers.models.encodec.modeling_encodec import EncodecResidualVectorQuantizer

            config = transformers.EncodecConfig(codebook_size=64, codebook_dim=16, target_bandwidths=[1.5])
            theirs = randomised(EncodecResidualVectorQuantizer(config))
            codes = theirs.encode(z)
            check(encodec_quantizer(theirs.state_dict()), z, codes.transpose(0, 1), theirs.decode(codes))
        elif codec == "dac":
            from transformers.models.dac.modeling_dac import DacResidualVectorQuantizer

            config = transformers.DacConfig(n_codebooks=4, codebook_size=64, codebook_dim=4)
            theirs = DacResidualVectorQuantizer(config).eval()
            z = torch.randn(B, config.hidden_size, FRAMES)
            codes = theirs(z)[1]
            check(dac_quantizer(theirs.state_dict()), z, codes, theirs.from_codes(codes)[0])
        else:
            from transformers.models.mimi.modeling_mimi import MimiSplitResidualVectorQuantizer

            config = transformers.MimiConfig(
                codebook_size=64,
                codebook_dim=8,
                vector_quantization_hidden_dimension=8,
                hidden_size=16,
                num_quantizers=4,
            )
            theirs = randomised(MimiSplitResidualVectorQuantizer(config))
            codes = theirs.encode(z).transpose(0, 1)
            check(mimi_quantizer(theirs.state_dict()), z, codes, theirs.decode(codes))
