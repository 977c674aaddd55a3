"""Decoders of DeepLabV3+ at output stride 4: a light one for minutes on a processor, and the paper's.

Both come as a pyramid over the deep stages and a decoder that joins it with the fine one. The light pyramid has a wide
local mean where Chen et al. (ECCV 2018) have a global one, so that a tile of an image sees what the image would see.

Letters: B images, h w cells at output stride 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recolabel_worker.reco.config import Norm
from recolabel_worker.reco.layers import conv_norm, local_mean, upsample

_AROUND_CELLS = 11  # window of the light pyramid's local mean at stride 16: 176 input pixels


class Aspp(nn.Module):
    """Light atrous spatial pyramid pooling at stride 16: one 1x1, two dilated depthwise branches, a local mean."""

    def __init__(self, inputs: int, width: int, *, dilations: Sequence[int] = (3, 6), norm: Norm = "group") -> None:
        super().__init__()
        self.reduce = conv_norm(inputs, width, 1, norm=norm)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=d, dilation=d, groups=width, bias=False) for d in dilations
        )
        self.merge = conv_norm(width * (len(dilations) + 2), width, 1, norm=norm)

    def forward(self, deep: Tensor, deepest: Tensor) -> Tensor:
        """Join (B, channels, height, width) of both stages at stride 16 to (B, `width`, height, width)."""
        x = self.reduce(torch.cat([deep, deepest], dim=1))
        around = local_mean(x, _AROUND_CELLS)
        merged: Tensor = self.merge(torch.cat([x, around, *(branch(x) for branch in self.branches)], dim=1))
        return merged


class LightDecoder(nn.Module):
    """ASPP output upsampled to stride 4, joined with fine features, filtered twice."""

    def __init__(self, deep: int, fine: int, width: int, *, fine_width: int = 32, norm: Norm = "group") -> None:
        super().__init__()
        self.reduce_fine = conv_norm(fine, fine_width, 1, norm=norm)
        self.mix = nn.Sequential(
            nn.Conv2d(deep + fine_width, deep + fine_width, 3, padding=1, groups=deep + fine_width, bias=False),
            conv_norm(deep + fine_width, width, 1, norm=norm),
        )

    def forward(self, deep: Tensor, fine: Tensor) -> Tensor:
        """Give the (B, width, h, w) that both heads read, of ASPP output at stride 16 and the (B, fine, h, w)."""
        joined = torch.cat([upsample(deep, fine.shape[-2:]), self.reduce_fine(fine)], dim=1)
        mixed: Tensor = self.mix(joined)
        return mixed


class PaperAspp(nn.Module):
    """The pyramid at full width over the deepest stage: a 1x1, three dilated 3x3, the mean of the whole image."""

    def __init__(
        self, inputs: int, width: int = 256, *, dilations: Sequence[int] = (6, 12, 18), norm: Norm = "group"
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                conv_norm(inputs, width, 1, norm=norm),
                *(conv_norm(inputs, width, 3, dilation=d, norm=norm) for d in dilations),
            ]
        )
        self.whole = conv_norm(inputs, width, 1, norm=norm)
        self.merge = conv_norm(width * (len(dilations) + 2), width, 1, norm=norm)

    def forward(self, deep: Tensor, deepest: Tensor) -> Tensor:  # noqa: ARG002 - the light pyramid reads both
        """Give (B, `width`, height, width) of the deepest stage, all at stride 16."""
        whole = self.whole(deepest.mean((2, 3), keepdim=True)).expand(-1, -1, *deepest.shape[-2:])
        merged: Tensor = self.merge(torch.cat([*(branch(deepest) for branch in self.branches), whole], dim=1))
        return merged


class PaperDecoder(nn.Module):
    """ASPP output upsampled to stride 4 and joined with 48 channels of the fine stage; each head filters by itself."""

    FINE_WIDTH = 48

    def __init__(self, fine: int, *, norm: Norm = "group") -> None:
        super().__init__()
        self.reduce_fine = conv_norm(fine, self.FINE_WIDTH, 1, norm=norm)

    def forward(self, deep: Tensor, fine: Tensor) -> Tensor:
        """Give the (B, 304, h, w) that both heads read, of ASPP output at stride 16 and the (B, fine, h, w)."""
        return torch.cat([upsample(deep, fine.shape[-2:]), self.reduce_fine(fine)], dim=1)
