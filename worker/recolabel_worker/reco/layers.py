"""Small layers that heads and decoders are made of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.config import Norm

_NORM_GROUPS = 16


def upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bring (B, C, h, w) float to `size`, (height, width): bilinear, by pixel areas (corners are not aligned)."""
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=False)


def local_mean(x: Tensor, cells: int) -> Tensor:
    """Mean of (B, C, h, w) float over a square window of `cells`, odd; cells beyond the border do not count."""
    return F.avg_pool2d(x, cells, stride=1, padding=cells // 2, count_include_pad=False)


def conv_norm(inputs: int, outputs: int, kernel: int, *, dilation: int = 1, norm: Norm = "group") -> nn.Sequential:
    """A convolution that keeps the size, a normalisation, a ReLU: (B, inputs, h, w) to (B, outputs, h, w).

    Args:
        kernel: side of the filter in cells, odd.
        dilation: cells from one tap to the next.
    """
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=dilation * (kernel // 2), dilation=dilation, bias=False),
        PatientBatchNorm(outputs) if norm == "batch" else nn.GroupNorm(min(_NORM_GROUPS, outputs), outputs),
        nn.ReLU(inplace=True),
    )


class PatientBatchNorm(nn.BatchNorm2d):
    """BatchNorm that takes a single value for each channel by its running statistics, where torch would refuse it."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, h, w)."""
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)
