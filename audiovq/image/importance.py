"""A tighter bound of -log2 p(x) than the training objective: importance sampling (Burda et al. 2016, arXiv 1509.00519).

    -log2 p(x) <= E[ -log2 1/S sum_s p(x | z_s) p(z_s) / q(z_s) ],    z_s drawn from q,

for any q. More samples make it tighter. Its distance below the one-sample bound is what that bound loses. A single
result may lie below -log2 p(x), by b bits or more with a probability of at most 2^-b.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from audiovq.errors import BadModelError
from audiovq.image.baselines import LN2, GaussianVAE, VimcoVAE, draw_codes, drawn_log_probability, uniform_codes_nats
from audiovq.image.model import ImageModel, ImageVQVAE
from audiovq.quantize import Quantizer

Draws = Iterator[tuple[Tensor, Tensor]]  # z, and ln p(z) - ln q(z) of each item


@torch.no_grad()
def importance_weighted_bits(
    model: ImageModel,
    x: Tensor,
    samples: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Bits of each image `[B, C, H, W]` by the bound above, `[B]` in float64.

    q is the posterior of a `GaussianVAE` or `VimcoVAE`; for an `ImageVQVAE` see `nearby_codes`. Priors are the models'
    own: N(0, I), or uniform codes.

    Args:
        samples: S. With 1, it is the bound that the model itself gives.
        temperature: of `nearby_codes`; to be chosen on other images than those that are reported.
        generator: of the draws.

    Raises:
        BadModelError: the model has no latents: its own bound is exact.
    """
    draws = posterior_draws(model, x, samples, temperature=temperature, generator=generator)
    total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
    for z, log_ratio in draws:
        total = torch.logaddexp(total, log_ratio - LN2 * model.decoder.bits(x, z).double())
    return (math.log(samples) - total) / LN2


def posterior_draws(
    model: ImageModel,
    x: Tensor,
    samples: int,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Draws:
    """The z of the bound above, one draw for each image at a time, with ln p(z) - ln q(z) `[B]`.

    Args and errors as there. A VQ-VAE's first are its own z_q.
    """
    if samples < 1:
        raise ValueError(f"samples is {samples}, want 1 or more")
    if isinstance(model, GaussianVAE):
        return _gaussian_draws(model, x, samples, generator)
    if isinstance(model, VimcoVAE):
        return _vimco_draws(model, x, samples, generator)
    if isinstance(model, ImageVQVAE):
        return _vqvae_draws(model, x, samples, temperature, generator)
    raise BadModelError("this model has no latents; its bits are exact as they are")


def nearby_codes(quantizer: Quantizer, z_e: Tensor, codes: Tensor, temperature: float) -> Tensor:
    """ln q of a posterior around the codes that a quantizer chose: ln softmax(-d^2 / t), `[B, Q, H', W', K]`.

    d^2 is the squared distance of z_e `[B, D, H', W']` to the vector that the decoder would see with code k, the
    place's other codes `[B, Q, H', W']` being as they are. As t goes to 0, the chosen code is certain.
    """
    vectors = _code_vectors(quantizer, z_e.device)  # [Q, K, D]
    rest = (z_e - quantizer.decode(codes)).float()
    log_q = []
    for level, table in enumerate(vectors):
        chosen = codes[:, level]
        apart = torch.cdist(table, table, compute_mode="donot_use_mm_for_euclid_dist").square()
        across = torch.einsum("bdhw,kd->bhwk", rest, table)
        # |rest + e_c - e_k|^2 - |rest|^2. Where a projection or cosines decided, other codes may seem nearer: not here
        excess = apart[chosen] - 2 * (across - across.gather(-1, chosen.unsqueeze(-1)))
        log_q.append((-excess.clamp_min(0) / temperature).log_softmax(-1))
    return torch.stack(log_q, dim=1)


def _code_vectors(quantizer: Quantizer, device: torch.device) -> Tensor:
    """What each code of each level adds to z_q, a sum over levels, up to a constant of the level: `[Q, K, D]`."""
    count, size = quantizer.num_quantizers, quantizer.codebook_size
    codes = torch.zeros(1, count, count, size, dtype=torch.int64, device=device)
    for level in range(count):
        codes[0, level, level] = torch.arange(size, device=device)
    return quantizer.decode(codes)[0].permute(1, 2, 0).float()


def _gaussian_draws(model: GaussianVAE, x: Tensor, samples: int, generator: torch.Generator | None) -> Draws:
    mean, log_std = model.posterior(x)
    device = mean.device if generator is None else generator.device
    for _ in range(samples):
        noise = torch.randn(mean.shape, dtype=mean.dtype, device=device, generator=generator).to(mean.device)
        z = mean + log_std.exp() * noise
        yield z, (0.5 * (noise.square() - z.square()) + log_std).flatten(1).double().sum(1)


def _vimco_draws(model: VimcoVAE, x: Tensor, samples: int, generator: torch.Generator | None) -> Draws:
    log_q = model.posterior(x)
    drawn = draw_codes(log_q, samples, generator)
    prior = -uniform_codes_nats(log_q)
    for codes, log_q_drawn in zip(drawn, drawn_log_probability(log_q, drawn).double(), strict=True):
        yield model.embed(codes), prior - log_q_drawn


def _vqvae_draws(
    model: ImageVQVAE, x: Tensor, samples: int, temperature: float, generator: torch.Generator | None
) -> Draws:
    """The codes that the model chose, and samples - 1 draws of `nearby_codes`: all of them together are draws of the
    mixture of both, with these shares, and its density is what divides.

    The chosen codes are the best known, and a draw may never hit them: with them the bound can't be worse than the
    model's own by more than log2 S bits, even at a bad temperature.
    """
    z_e = model.encoder(x)
    chosen = model.quantizer.encode(z_e)
    log_q = nearby_codes(model.quantizer, z_e, chosen, temperature)
    drawn = torch.cat([chosen.unsqueeze(0), draw_codes(log_q, samples - 1, generator)])
    others = math.log(samples - 1) if samples > 1 else -math.inf
    prior = -uniform_codes_nats(log_q)
    for codes, log_q_drawn in zip(drawn, drawn_log_probability(log_q, drawn).double(), strict=True):
        same = (codes == chosen).flatten(1).all(1)
        density = others + log_q_drawn
        density = torch.where(same, torch.logaddexp(torch.zeros_like(density), density), density) - math.log(samples)
        yield model.quantizer.decode(codes), prior - density
