"""The quantizer as its paper writes it (van den Oord et al. 2017, arXiv 1711.00937): the specification of `vq.py`.

One function for equations 1 to 3, one for appendix A.1. They are slow, know no masks, and do nothing that the paper
does not. `VectorQuantizer` is tested against them and says in its module where it differs.
"""

import torch
from torch import Tensor


def quantize(z_e: Tensor, e: Tensor, beta: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Replace each row of the encoder's output z_e [N, D] by the nearest row of the codebook e [K, D].

    The paper writes eq. 3 for one vector; the losses here are means over all N * D elements.

    Returns:
        z_q [N, D] with the straight-through gradient, codes k [N], codebook loss and commitment loss (scalars).
    """
    distance = torch.stack([(z_e - e_j).square().sum(dim=1) for e_j in e])  # |z_e - e_j|^2 for each j: [K, N]
    k = distance.argmin(dim=0)  # eq. 1: q(z = k | x) = 1 for k = argmin_j |z_e - e_j|
    z_q = e[k]  # eq. 2: z_q = e_k
    codebook_loss = (z_e.detach() - z_q).square().mean()  # eq. 3, second term: |sg[z_e] - e|^2
    commitment = beta * (z_e - z_q.detach()).square().mean()  # eq. 3, third term: beta |z_e - sg[e]|^2
    z_q = z_e + (z_q - z_e).detach()  # section 3.2, straight-through: d z_q / d z_e is the identity
    return z_q, k, codebook_loss, commitment


@torch.no_grad()
def update(z_e: Tensor, k: Tensor, e: Tensor, n: Tensor, m: Tensor, gamma: float) -> None:
    """Move the codebook e [K, D], in place, by the vectors z_e [N, D] that its codes k [N] were chosen for.

    It takes the place of the codebook loss. n [K] and m [K, D] are the moving counts and sums; they start at 1 and e.
    """
    for i in range(len(e)):
        z_i = z_e[k == i]  # the n_i vectors closest to e_i
        n[i] = gamma * n[i] + (1 - gamma) * len(z_i)  # A.1: N_i
        m[i] = gamma * m[i] + (1 - gamma) * z_i.sum(dim=0)  # A.1: m_i
        e[i] = m[i] / n[i]  # A.1: e_i
