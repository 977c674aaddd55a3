"""DeepLabV3+ for few labels: a direct linear head over all backbone stages plus a decoder that corrects it.

    stages ---------------------> DirectHead ------(+)--> logits
       \\-> Aspp -> Decoder -> correction (starts at 0) /
                          \\-> representation head (training only)

Chen et al., ECCV 2018, gave encoder, ASPP and the decoder at stride 4. The direct head is ours: it can hold the fast
head's solution exactly, and the correction's last layer starts at zero, so deep training starts where the fast head
stands instead of at a random decoder.

Two deviations, for small batches: GroupNorm instead of BatchNorm outside the backbone (a batch of one is normal
here), and a wide local mean instead of ASPP's global one, so that a tile of an image sees what the image would see.

Letters: B images, C classes, D representation, H W input pixels, h w cells at output stride 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.backbones import build_backbone
from recolabel_worker.reco.config import MAX_CLASSES, InvalidArgument

if TYPE_CHECKING:
    from recolabel_worker.reco.fast_head import FastHead

Stages = tuple[Tensor, Tensor, Tensor, Tensor]
"""Backbone features at strides 4, 8, 16 and 16, each (B, channels, height, width)."""

REPRESENTATION_PREFIX = "representation_head."
"""Parameters with this prefix exist in training only and never leave in an exported network."""

_CONTEXT_CELLS = 5  # window of the local means at stride 16: 80 input pixels


class NetworkOutput(NamedTuple):
    """What training looks at."""

    logits: Tensor  # (B, C, h, w)
    representation: Tensor  # (B, D, h, w)


def local_mean(x: Tensor, cells: int) -> Tensor:
    """Mean over a square window; cells beyond the border do not count."""
    return F.avg_pool2d(x, cells, stride=1, padding=cells // 2, count_include_pad=False)


def direct_features(stages: Stages) -> tuple[Tensor, ...]:
    """The maps that the direct head reads: every stage, and the deep ones once more with their surroundings.

    Measured on road scenes with 120 clicks: the two context maps and the smoothed first stage give the linear head two
    points of mIoU over the bare stages.
    """
    fine, middle, deep, deepest = stages
    return (
        local_mean(fine, 3),
        middle,
        deep,
        deepest,
        local_mean(deep, _CONTEXT_CELLS),
        local_mean(deepest, _CONTEXT_CELLS),
    )


class DirectHead(nn.Module):
    """One linear layer over standardised stage features, brought to stride 4. Holds the fast head's solution."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, stage_channels: Sequence[int], num_classes: int) -> None:
        super().__init__()
        fine, middle, deep, deepest = stage_channels
        self.group_channels = (fine, middle, deep, deepest, deep, deepest)
        width = sum(self.group_channels)
        self.weight = nn.Parameter(torch.zeros(num_classes, width))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def forward(self, stages: Stages) -> Tensor:
        """Give (B, C, h, w) logits at the resolution of the first stage."""
        # A 1x1 layer and bilinear upsampling commute, so only C channels are ever brought to stride 4.
        size = stages[0].shape[-2:]
        scaled_weight = self.weight / self.deviation
        bias = self.bias - scaled_weight @ self.mean
        logits = bias[None, :, None, None]
        for part, group in zip(
            torch.split(scaled_weight, list(self.group_channels), dim=1), direct_features(stages), strict=True
        ):
            logits = logits + upsample(F.conv2d(group, part[:, :, None, None].to(group.dtype)), size)
        return logits


class Aspp(nn.Module):
    """Light atrous spatial pyramid pooling at stride 16: one 1x1, two dilated depthwise branches, a local mean."""

    def __init__(self, inputs: int, width: int, dilations: Sequence[int] = (3, 6)) -> None:
        super().__init__()
        self.reduce = _conv_norm(inputs, width, 1)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=d, dilation=d, groups=width, bias=False) for d in dilations
        )
        self.merge = _conv_norm(width * (len(dilations) + 2), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        around = local_mean(x, 2 * _CONTEXT_CELLS + 1)
        merged: Tensor = self.merge(torch.cat([x, around, *(branch(x) for branch in self.branches)], dim=1))
        return merged


class Decoder(nn.Module):
    """ASPP output upsampled to stride 4, joined with fine features, filtered twice."""

    def __init__(self, deep: int, fine: int, width: int, fine_width: int = 32) -> None:
        super().__init__()
        self.reduce_fine = _conv_norm(fine, fine_width, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(deep + fine_width, deep + fine_width, 3, padding=1, groups=deep + fine_width, bias=False),
            _conv_norm(deep + fine_width, width, 1),
        )

    def forward(self, deep: Tensor, fine: Tensor) -> Tensor:
        joined = torch.cat([upsample(deep, fine.shape[-2:]), self.reduce_fine(fine)], dim=1)
        mixed: Tensor = self.mix(joined)
        return mixed


class DeepLabV3Plus(nn.Module):
    """The network: `forward` gives logits alone, `forward_training` the representation as well."""

    def __init__(
        self,
        backbone: nn.Module,
        stage_channels: tuple[int, int, int, int],
        num_classes: int,
        *,
        backbone_name: str,
        width: int = 128,
        representation_dim: int = 256,
        for_training: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone_name = backbone_name
        self.backbone = backbone
        self.direct = DirectHead(stage_channels, num_classes)
        self.aspp = Aspp(stage_channels[2] + stage_channels[3], width)
        self.decoder = Decoder(width, stage_channels[0], width)
        self.correction = nn.Conv2d(width, num_classes, 1)
        if for_training:
            self.representation_head = nn.Sequential(
                _conv_norm(width, width, 1), nn.Conv2d(width, representation_dim, 1)
            )
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(_bias_of(self.correction))

    def forward(self, images: Tensor) -> Tensor:
        """Give (B, C, h, w) logits at stride 4 of (B, 3, H, W) RGB in 0..255, H and W multiples of 16."""
        stages = self.stages(images)
        logits: Tensor = self.direct(stages) + self.correction(self.decode(stages))
        return logits

    def forward_training(self, images: Tensor) -> NetworkOutput:
        """As `forward`, with the (B, D, h, w) representation beside the logits."""
        stages = self.stages(images)
        decoded = self.decode(stages)
        return NetworkOutput(
            logits=self.direct(stages) + self.correction(decoded),
            representation=self.representation_head(decoded),
        )

    def stages(self, images: Tensor) -> Stages:
        """Backbone features at strides 4, 8, 16, 16."""
        found: Stages = self.backbone(images)
        return found

    def decode(self, stages: Stages) -> Tensor:
        """Decoder features (B, width, h, w) at stride 4."""
        decoded: Tensor = self.decoder(self.aspp(torch.cat([stages[2], stages[3]], dim=1)), stages[0])
        return decoded

    def correction_from(self, stages: Stages) -> Tensor:
        """What the decoder adds to the direct head's logits, (B, C, h, w)."""
        corrected: Tensor = self.correction(self.decode(stages))
        return corrected

    def freeze_stages(self, count: int) -> None:
        """Hold the first `count` stages of the backbone fixed, 0 to 4."""
        freeze = self.backbone.freeze_stages
        assert callable(freeze)
        freeze(count)

    @property
    def has_correction(self) -> bool:
        """Whether the decoder has learnt anything yet; a fresh one adds exactly nothing."""
        return bool(self.correction.weight.any()) or bool(_bias_of(self.correction).any())

    def start_from(self, head: FastHead) -> None:
        """Take over the fast head's solution: from now on the network computes what the head computes.

        Raises:
            InvalidArgument: the head knows another number of classes.
        """
        if head.weight.shape != self.direct.weight.shape:
            raise InvalidArgument(
                "head", f"has weights {tuple(head.weight.shape)}, this network {tuple(self.direct.weight.shape)}."
            )
        with torch.no_grad():
            for name in ("weight", "bias", "mean", "deviation"):
                target = getattr(self.direct, name)
                target.copy_(getattr(head, name).to(target))


def build_network(
    num_classes: int, *, backbone: str = "efficientnet-lite0", pretrained: bool = True, for_training: bool = True
) -> DeepLabV3Plus:
    """Build the network; a fresh one says every class with the same probability.

    Without `for_training` it has no representation head: the network of an exported model.

    Random layers come from torch's global generator: seed it, or fork it, where bits matter.

    Raises:
        InvalidArgument: the number of classes or the backbone's name is not allowed.
        FileNotFoundError: pretrained weights are wanted and not installed.
    """
    if not 1 <= num_classes <= MAX_CLASSES:
        raise InvalidArgument("num_classes", f"has to be 1 to {MAX_CLASSES}, not {num_classes!r}.")
    trunk = build_backbone(backbone, pretrained=pretrained)
    channels = trunk.stage_channels
    assert isinstance(channels, tuple)
    network = DeepLabV3Plus(trunk, channels, num_classes, backbone_name=backbone, for_training=for_training)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def load_warm(network: DeepLabV3Plus, tensors: Mapping[str, Tensor], class_mapping: Sequence[int | None]) -> None:
    """Fill a network from an earlier version whose classes may have been fewer or in another order.

    Args:
        tensors: the earlier version's `export_state_dict`.
        class_mapping: for each class of `network` its index in the earlier version, None for a new class.

    Raises:
        InvalidArgument: a tensor is missing, has another shape, or an index is out of range.
    """
    if len(class_mapping) != network.num_classes:
        raise InvalidArgument("class_mapping", f"has {len(class_mapping)} entries for {network.num_classes} classes.")
    own = network.state_dict()
    for name, target in own.items():
        if name.startswith(REPRESENTATION_PREFIX):
            if name in tensors and tensors[name].shape == target.shape:
                own[name] = tensors[name].to(target)
            continue
        if name not in tensors:
            raise InvalidArgument(
                "warm_start", f"lacks the tensor {name!r}; start from the pretrained network instead."
            )
        given = tensors[name].to(target)
        if name in ("direct.weight", "direct.bias", "correction.weight", "correction.bias"):
            own[name] = _match_classes(given, target, class_mapping, name)
        elif given.shape == target.shape:
            own[name] = given
        else:
            raise InvalidArgument("warm_start", f"{name!r} is {tuple(given.shape)}, not {tuple(target.shape)}.")
    network.load_state_dict(own)


def export_state_dict(network: DeepLabV3Plus) -> dict[str, Tensor]:
    """The tensors a model version consists of, on the CPU: everything but the representation head."""
    return {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
        if not name.startswith(REPRESENTATION_PREFIX)
    }


def upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Bilinear, by pixel areas (corners are not aligned)."""
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=False)


def _match_classes(given: Tensor, target: Tensor, class_mapping: Sequence[int | None], name: str) -> Tensor:
    if given.shape[1:] != target.shape[1:]:
        raise InvalidArgument("warm_start", f"{name!r} is {tuple(given.shape)}, not {tuple(target.shape)}.")
    rows = torch.zeros_like(target)
    for new, old in enumerate(class_mapping):
        if old is None:
            continue
        if not 0 <= old < len(given):
            raise InvalidArgument("class_mapping", f"names class {old} of an earlier version with {len(given)}.")
        rows[new] = given[old]
    return rows


def _conv_norm(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.GroupNorm(min(16, outputs), outputs),
        nn.ReLU(inplace=True),
    )


def _bias_of(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
