"""ResNet-50 and ResNet-101 as trunks at output stride 16, the encoder of the ReCo paper.

He et al., CVPR 2016, with the stride of a bottleneck in its 3x3 layer; the last group is dilated instead of strided
(Chen et al., 2017). Parameter names are torchvision's, so its weight files load without a map.
Letters: B images, H W input pixels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
_EXPANSION = 4
_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_DEVIATION = (58.395, 57.12, 57.375)


def imagenet_standardised(images: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in 0..255 -> by the mean and deviation that ImageNet trainings agree upon."""
    mean = torch.tensor(_IMAGENET_MEAN, dtype=images.dtype, device=images.device)
    deviation = torch.tensor(_IMAGENET_DEVIATION, dtype=images.dtype, device=images.device)
    return (images - mean[:, None, None]) / deviation[:, None, None]


class _Bottleneck(nn.Module):
    """Narrow, filter, widen, with a shortcut that is projected where shapes change."""

    def __init__(self, inputs: int, width: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        outputs = width * _EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu(self.bn1(self.conv1(x)))
        wide = F.relu(self.bn2(self.conv2(wide)))
        wide = self.bn3(self.conv3(wide))
        return F.relu(wide + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """Trunk without the classifier: 256 channels at 1/4, 512 at 1/8, 1024 at 1/16, 2048 at 1/16."""

    stage_channels = (256, 512, 1024, 2048)

    def __init__(self, depth: Literal[50, 101]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        first, second, third, fourth = _DEPTHS[depth]
        self.layer1 = _group(64, 64, first, stride=1)
        self.layer2 = _group(256, 128, second, stride=2)
        self.layer3 = _group(512, 256, third, stride=2)
        self.layer4 = _group(1024, 512, fourth, stride=1, dilation=2)  # stride 2 in the classifier
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the stages of (B, 3, H, W) RGB in 0..255, H and W multiples of 16."""
        x = F.relu(self.bn1(self.conv1(imagenet_standardised(images))))
        fine = self.layer1(F.max_pool2d(x, 3, stride=2, padding=1))
        middle = self.layer2(fine)
        deep = self.layer3(middle)
        return fine, middle, deep, self.layer4(deep)

    def freeze_stages(self, count: int) -> None:
        """Hold everything up to the first `count` stages fixed; 0 frees all of it. No gradient is computed there."""
        parts = (self.conv1, self.bn1, self.layer1, self.layer2, self.layer3, self.layer4)
        for index, part in enumerate(parts):
            part.requires_grad_(not count or index >= count + 2)


def _group(inputs: int, width: int, depth: int, *, stride: int, dilation: int = 1) -> nn.Sequential:
    # The first block of a dilated group still sees features that were made undilated.
    blocks = [_Bottleneck(inputs, width, stride=stride, dilation=1)]
    blocks += [_Bottleneck(width * _EXPANSION, width, stride=1, dilation=dilation) for _ in range(depth - 1)]
    return nn.Sequential(*blocks)
