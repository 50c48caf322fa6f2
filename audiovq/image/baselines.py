"""The two baselines of the paper's VQ-VAE (arXiv 1711.00937, section 4.1): a VAE with Gaussian latents, and VIMCO.

VIMCO learns discrete latents by sampling. Both baselines use the encoder and decoder of the VQ-VAE.
"""

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from audiovq.image.encoder import ConvEncoder
from audiovq.image.likelihood import full_precision
from audiovq.image.model import Bound, Decoder, ImageModel

LN2 = math.log(2)


class GaussianVAE(ImageModel):
    """A diagonal Gaussian posterior at each place, the prior N(0, I) (Kingma and Welling 2014, arXiv 1312.6114).

    Args:
        encoder: images -> `[B, 2 D, H', W']`, the posterior's means and the logarithms of its standard deviations.
        decoder: p(x | z), z `[B, D, H', W']`.
    """

    MAX_LOG_STD = 10.0  # and -10 at the other end: beyond, a bad step in training overflows

    encoder: ConvEncoder

    def __init__(self, encoder: ConvEncoder, decoder: Decoder) -> None:
        super().__init__(encoder, decoder)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """q(z | x) of images: mean and log standard deviation, `[B, D, H', W']` each."""
        mean, log_std = full_precision(self.encoder(x)).chunk(2, dim=1)
        return mean, log_std.clamp(-self.MAX_LOG_STD, self.MAX_LOG_STD)

    def bound(self, x: Tensor, *, kl_weight: float = 1.0) -> Bound:
        """See `ImageModel`: one sample of z, and KL(q || p) in closed form.

        The loss is (-ln p(x | z) + kl_weight * KL) / (C H W), a mean over items.
        """
        mean, log_std = self.posterior(x)
        reconstruction = self.decoder.bits(x, mean + log_std.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1 - 2 * log_std).flatten(1).sum(1) / LN2
        loss = (reconstruction + kl_weight * kl).mean() * LN2 / x[0].numel()
        return Bound(reconstruction, kl, loss)

    def latents(self, x: Tensor) -> Tensor:
        """The posterior's mean."""
        return self.posterior(x)[0]


class VimcoVAE(ImageModel):
    """Independent categorical latents under a uniform prior, learnt by VIMCO (Mnih and Rezende 2016, arXiv 1602.06725).

    The bound is that of S samples h of the posterior, L = ln mean_j f_j with f = p(x, h) / q(h | x). The decoder's
    gradient is that of L; a score function with leave-one-out baselines adds the encoder's.

    Args:
        encoder: images -> `[B, codes * codebook_size, H', W']`, logits.
        decoder: p(x | z), z `[B, latent_dim, H', W']`: the vectors of a place's codes, one after the other.
        latent_dim: channels of z, shared evenly by the codes.
        codes: choices Q at each place.
        codebook_size: K that each is out of.
        samples: S, two or more.
    """

    ROWS = 512  # images in one call of the decoder: it has S times the batch to decode
    NEGLIGIBLE = 2.0**-24  # a share of a float32 sum that rounding swallows

    encoder: ConvEncoder

    def __init__(
        self,
        encoder: ConvEncoder,
        decoder: Decoder,
        *,
        latent_dim: int,
        codes: int,
        codebook_size: int,
        samples: int = 50,
    ) -> None:
        super().__init__(encoder, decoder)
        if samples < 2:
            raise ValueError(f"samples is {samples}; VIMCO needs two or more, as each is the others' baseline")
        if latent_dim % codes:
            raise ValueError(f"latent_dim {latent_dim} can't be shared evenly by {codes} codes")
        self.samples = samples
        self.vectors = nn.Parameter(torch.randn(codes, codebook_size, latent_dim // codes))

    def posterior(self, x: Tensor) -> Tensor:
        """ln q(h | x) of every choice of every code, `[B, Q, H', W', K]`."""
        logits = full_precision(self.encoder(x)).unflatten(1, self.vectors.shape[:2])
        return logits.movedim(2, -1).log_softmax(-1)

    def embed(self, codes: Tensor) -> Tensor:
        """Codes `[B, Q, H', W']` -> z `[B, D, H', W']`."""
        level = torch.arange(len(self.vectors), device=codes.device)[:, None, None]
        return self.vectors[level, codes].permute(0, 1, 4, 2, 3).flatten(1, 2)

    def bound(self, x: Tensor, *, kl_weight: float = 1.0) -> Bound:
        """See `ImageModel`. `reconstruction` is the mean of -log2 p(x | h) by the samples' shares f_j / sum f in the
        bound, `prior` the rest of it. The loss is -L / (C H W), a mean over items.

        Raises:
            ValueError: `kl_weight` is not 1: this bound is no sum of two terms.
        """
        if kl_weight != 1:
            raise ValueError(f"kl_weight is {kl_weight}; VIMCO's bound has no KL term to weigh")
        log_q = self.posterior(x)
        codes = draw_codes(log_q, self.samples)  # [S, B, Q, H', W']
        log_q_drawn = drawn_log_probability(log_q, codes)  # [S, B]
        with torch.no_grad():
            nats = self._nats(x, codes, torch.ones_like(log_q_drawn, dtype=torch.bool)).view(log_q_drawn.shape).double()
            log_f = -nats - uniform_codes_nats(log_q) - log_q_drawn
            share = log_f.softmax(0)
            value = math.log(self.samples) - log_f.logsumexp(0)  # -L, [B]
            reconstruction = (share * nats).sum(0)
        loss = value.mean()
        if torch.is_grad_enabled():
            loss = loss + self._gradient(x, codes, log_q_drawn, log_f, share)
        reconstruction, bits = (term.to(log_q.dtype) / LN2 for term in (reconstruction, value))
        return Bound(reconstruction, bits - reconstruction, loss.to(log_q.dtype) / x[0].numel())

    def latents(self, x: Tensor) -> Tensor:
        """The vectors of each place's likeliest codes."""
        return self.embed(self.posterior(x).argmax(-1))

    def _gradient(self, x: Tensor, codes: Tensor, log_q: Tensor, log_f: Tensor, share: Tensor) -> Tensor:
        """0, with VIMCO's estimate of the gradient of -L, a mean over items.

        Each sample's gradient has its share of f as its weight. Few samples have one that is not negligible once the
        decoder uses its latents, so those alone are decoded a second time, now with a gradient.
        """
        chosen = share > self.NEGLIGIBLE
        decoder_term = (share[chosen] * self._nats(x, codes, chosen)).sum()
        # ln f contains -ln q, hence the share; the score function has the signal
        encoder_term = ((share - learning_signal(log_f)) * log_q).sum()
        surrogate = (decoder_term + encoder_term) / x.shape[0]
        return surrogate - surrogate.detach()

    def _nats(self, x: Tensor, codes: Tensor, chosen: Tensor) -> Tensor:
        """-ln p(x | h) of the samples `[S, B, ...]` that are chosen by `[S, B]` bool, in its order, `[N]`."""
        items = chosen.nonzero()[:, 1]
        parts = []
        for item, of_item in zip(items.split(self.ROWS), codes[chosen].split(self.ROWS), strict=True):
            z = self.embed(of_item)
            if torch.is_grad_enabled() and len(items) > self.ROWS:  # one part's activations at a time
                bits = checkpoint(self.decoder.bits, x[item], z, use_reentrant=False)
            else:
                bits = self.decoder.bits(x[item], z)
            parts.append(bits * LN2)
        return torch.cat(parts)


def learning_signal(log_f: Tensor) -> Tensor:
    """What each sample adds to the bound: ln mean f, less the same with f_j replaced by the geometric mean of the
    others. ln f `[S, B]` -> `[S, B]`, without gradient."""
    log_f = log_f.detach()
    others = (log_f.sum(0) - log_f) / (len(log_f) - 1)
    replaced = log_f.unsqueeze(0).repeat(len(log_f), 1, 1)  # [j, S, B]
    replaced.diagonal(dim1=0, dim2=1).copy_(others.T)
    return log_f.logsumexp(0) - replaced.logsumexp(1)


@torch.no_grad()
def draw_codes(log_q: Tensor, samples: int, generator: torch.Generator | None = None) -> Tensor:
    """Draws of independent categorical variables: ln q `[B, Q, H', W', K]` -> int64 `[S, B, Q, H', W']`."""
    device = log_q.device if generator is None else generator.device
    cdf = log_q.exp().cumsum(-1)
    uniform = torch.rand(*cdf.shape[:-1], samples, dtype=cdf.dtype, device=device, generator=generator).to(cdf.device)
    codes = torch.searchsorted(cdf, uniform * cdf[..., -1:], right=True).clamp_max(cdf.shape[-1] - 1)
    return codes.movedim(-1, 0)


def drawn_log_probability(log_q: Tensor, codes: Tensor) -> Tensor:
    """ln q `[B, Q, H', W', K]` of draws `[S, B, Q, H', W']`, whole items: `[S, B]`."""
    return log_q.gather(-1, codes.movedim(0, -1)).movedim(-1, 0).flatten(2).sum(2)


def uniform_codes_nats(log_q: Tensor) -> float:
    """-ln p of an item's codes under the uniform prior; `log_q` `[B, Q, H', W', K]` says how many there are."""
    return log_q[0, ..., 0].numel() * math.log(log_q.shape[-1])
