"""A linear layer that is as fast as the processor where nothing is learnt."""

import torch
from torch import Tensor, nn

AT_HAND = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class FastLinear(nn.Linear):
    """`nn.Linear`, multiplied by oneDNN in inference on a CPU.

    PyTorch multiplies float32 by MKL, which uses half the width of an AMD processor's vectors: there oneDNN takes less
    than half the time. Sums differ in the last bits, so nothing that codes depend on uses this layer.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: `[..., in_features]` -> `[..., out_features]`."""
        if AT_HAND and self._infers(x):
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x.contiguous(), self.weight, self.bias, "none", [], "")
            return product
        return super().forward(x)

    def _infers(self, x: Tensor) -> bool:
        plain = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32 and x.numel() > 0
        busy = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
        return plain and not busy
