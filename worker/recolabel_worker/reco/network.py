"""DeepLabV3+ for few labels: a direct linear head over all backbone stages plus a decoder that corrects it.

    stages ---------------------> DirectHead ------(+)--> logits
       \\-> Aspp -> Decoder -> correction (starts at 0) /
                          \\-> representation head (training only)

Chen et al., ECCV 2018, gave encoder, ASPP and the decoder at stride 4 (`decoder.py`). The direct head is ours: it can
hold the fast head's solution exactly, and the correction's last layer starts at zero, so deep training starts where
the fast head stands instead of at a random decoder.

Outside the backbone GroupNorm is the default instead of BatchNorm: a batch of one is normal here.

Letters: B images, C classes, D representation, H W input pixels, h w cells at output stride 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from recolabel_worker.reco.backbones import build_backbone
from recolabel_worker.reco.config import DECODERS, MAX_CLASSES, NORMS, SIDE_MULTIPLE, Decoder, InvalidArgument, Norm
from recolabel_worker.reco.decoder import Aspp, LightDecoder, PaperAspp, PaperDecoder
from recolabel_worker.reco.layers import conv_norm, local_mean, upsample

if TYPE_CHECKING:
    from recolabel_worker.reco.fast_head import FastHead

Stages = tuple[Tensor, Tensor, Tensor, Tensor]
"""Backbone features at strides 4, 8, 16 and 16, each (B, channels, height, width)."""

REPRESENTATION_PREFIX = "representation_head."
"""Parameters with this prefix exist in training only and never leave in an exported network."""

BUILD_ARGUMENTS = ("backbone", "decoder", "norm")
"""Arguments of `build_network` that make the architecture of an exported network."""

_CONTEXT_CELLS = 5  # window of the local means at stride 16: 80 input pixels
_LIGHT_WIDTH = 128
_PAPER_WIDTH = 256


class NetworkOutput(NamedTuple):
    """What training looks at."""

    logits: Tensor  # (B, C, h, w)
    representation: Tensor  # (B, D, h, w)


def direct_features(stages: Stages) -> tuple[Tensor, ...]:
    """The maps that the direct head reads: every stage, and the deep ones once more with their surroundings.

    Each is (B, channels, height, width) at the stride of its stage: 4, 8, 16, 16, 16, 16.

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


class DeepLabV3Plus(nn.Module):
    """The network: `forward` gives logits alone, `forward_training` the representation as well."""

    def __init__(
        self,
        backbone: nn.Module,
        stage_channels: tuple[int, int, int, int],
        num_classes: int,
        *,
        backbone_name: str,
        decoder: Decoder = "light",
        norm: Norm = "group",
        representation_dim: int = 256,
        for_training: bool = True,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone_name = backbone_name
        self.backbone = backbone
        self.direct = DirectHead(stage_channels, num_classes)
        self.for_training = for_training
        self.decoder_name: Decoder = decoder
        self.norm: Norm = norm
        fine, _, deep, deepest = stage_channels
        if decoder == "light":
            width = _LIGHT_WIDTH
            self.aspp: nn.Module = Aspp(deep + deepest, width, norm=norm)
            self.decoder: nn.Module = LightDecoder(width, fine, width, norm=norm)
            self.refine: nn.Module = nn.Identity()
            self.correction = nn.Conv2d(width, num_classes, 1)
            filtered = conv_norm(width, width, 1, norm=norm)
        else:
            width = _PAPER_WIDTH
            self.aspp = PaperAspp(deepest, width, norm=norm)
            self.decoder = PaperDecoder(fine, norm=norm)
            joined = width + PaperDecoder.FINE_WIDTH
            self.refine = conv_norm(joined, width, 3, norm=norm)
            self.correction = nn.Conv2d(width, num_classes, 1)
            filtered = conv_norm(joined, width, 3, norm=norm)
        if for_training:
            self.representation_head = nn.Sequential(filtered, nn.Conv2d(width, representation_dim, 1))
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(_bias_of(self.correction))

    def forward(self, images: Tensor) -> Tensor:
        """Give (B, C, h, w) logits at stride 4 of (B, 3, H, W) float RGB in 0..255, H and W multiples of 16.

        `predict` takes images of any size.

        Raises:
            InvalidArgument: the images are not as said.
        """
        stages = self.stages(images)
        logits: Tensor = self.direct(stages) + self.correction_from(stages)
        return logits

    def forward_training(self, images: Tensor) -> NetworkOutput:
        """As `forward`, with the (B, D, h, w) representation beside the logits; of a network built for training."""
        stages = self.stages(images)
        decoded = self.decode(stages)
        return NetworkOutput(
            logits=self.direct(stages) + self.correction(self.refine(decoded)),
            representation=self.representation_head(decoded),
        )

    def stages(self, images: Tensor) -> Stages:
        """Backbone features at strides 4, 8, 16, 16 of (B, 3, H, W) float RGB in 0..255; H and W multiples of 16.

        In eval mode they are the mean of what the backbone sees in the images and in their mirror images.

        Raises:
            InvalidArgument: the images are not as said.
        """
        _check_images(images)
        if self.training:
            found: Stages = self.backbone(images)
            return found
        seen, mirrored = self.backbone(images), self.backbone(images.flip(3))
        fine, middle, deep, deepest = ((stage + other.flip(3)) / 2 for stage, other in zip(seen, mirrored, strict=True))
        return fine, middle, deep, deepest

    def decode(self, stages: Stages) -> Tensor:
        """Decoder features (B, channels, h, w) at stride 4: what correction and representation head share."""
        decoded: Tensor = self.decoder(self.aspp(stages[2], stages[3]), stages[0])
        return decoded

    def correction_from(self, stages: Stages) -> Tensor:
        """What the decoder adds to the direct head's logits, (B, C, h, w)."""
        corrected: Tensor = self.correction(self.refine(self.decode(stages)))
        return corrected

    def freeze_stages(self, count: int) -> None:
        """Hold the first `count` stages of the backbone fixed, 0 to 4: they get no gradient.

        Raises:
            InvalidArgument: there are not that many.
        """
        if count not in range(5):
            raise InvalidArgument("count", f"is 0 to 4 stages, not {count!r}.")
        freeze = self.backbone.freeze_stages
        assert callable(freeze)
        freeze(count)

    @property
    def has_correction(self) -> bool:
        """Whether the decoder has learnt anything yet; a fresh one adds exactly nothing."""
        return bool(self.correction.weight.any()) or bool(_bias_of(self.correction).any())

    @property
    def build_arguments(self) -> dict[str, Any]:
        """What `build_network` needs besides the number of classes to build this architecture again; for JSON."""
        # A trunk of another library knows its configuration; with that nothing has to be fetched.
        return {
            "backbone": getattr(self.backbone, "name", self.backbone_name),
            "decoder": self.decoder_name,
            "norm": self.norm,
        }

    def start_at_random(self) -> None:
        """Give up the direct head and begin at a random last layer, as a network without a fast head does.

        Random numbers come from torch's global generator.
        """
        with torch.no_grad():
            self.direct.weight.zero_()
            self.direct.bias.zero_()
        self.correction.reset_parameters()

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
    num_classes: int,
    *,
    backbone: str = "efficientnet-lite0",
    pretrained: bool | None = None,
    weights: Path | str | None = None,
    weights_sha256: str | None = None,
    decoder: Decoder = "light",
    norm: Norm = "group",
    for_training: bool = True,
) -> DeepLabV3Plus:
    """Build the network; a fresh one says every class with the same probability.

    Random layers come from torch's global generator: seed it, or fork it, where bits matter.

    Args:
        backbone: "efficientnet-lite0", "resnet50", "resnet101", or "hf:MODEL" with a folder or hub name of the
            `transformers` package.
        pretrained: start from ImageNet weights. Left out: where they can be had without `weights`, so not for ResNets.
        weights: a file of ImageNet weights of the backbone, .safetensors or what torch.save wrote of tensors.
        weights_sha256: what that file has to have.
        decoder: "light", or the paper's head sizes, "paper".
        norm: of decoder and heads, "group" or "batch".
        for_training: without it there is no representation head: the network of an exported model.

    Raises:
        InvalidArgument: the argument that it names is not allowed, or the weights are not the backbone's.
        FileNotFoundError: pretrained weights are wanted and not installed.
    """
    is_whole = isinstance(num_classes, Integral) and not isinstance(num_classes, bool)
    if not is_whole or not 1 <= num_classes <= MAX_CLASSES:
        raise InvalidArgument("num_classes", f"has to be 1 to {MAX_CLASSES}, not {num_classes!r}.")
    if decoder not in DECODERS:
        raise InvalidArgument("decoder", f"is one of {', '.join(DECODERS)}, not {decoder!r}.")
    if norm not in NORMS:
        raise InvalidArgument("norm", f"is one of {', '.join(NORMS)}, not {norm!r}.")
    trunk = build_backbone(backbone, pretrained=pretrained, weights=weights, weights_sha256=weights_sha256)
    channels = trunk.stage_channels
    assert isinstance(channels, tuple)
    network = DeepLabV3Plus(
        trunk,
        channels,
        int(num_classes),
        backbone_name=backbone,
        decoder=decoder,
        norm=norm,
        for_training=for_training,
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def load_warm(network: DeepLabV3Plus, tensors: Mapping[str, Tensor], class_mapping: Sequence[int | None]) -> None:
    """Fill a network from an earlier version whose classes may have been fewer or in another order.

    Args:
        tensors: the earlier version's `export_state_dict`, of the same backbone, decoder and norm.
        class_mapping: for each class of `network` its index in the earlier version, None for a new class.

    Raises:
        InvalidArgument: a tensor is missing, not finite or of another shape, or an index is out of range.
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
        if not bool(tensors[name].isfinite().all()):
            raise InvalidArgument("warm_start", f"holds numbers in {name!r} that are not finite; its training broke.")
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


def _match_classes(given: Tensor, target: Tensor, class_mapping: Sequence[int | None], name: str) -> Tensor:
    if given.shape[1:] != target.shape[1:]:
        raise InvalidArgument("warm_start", f"{name!r} is {tuple(given.shape)}, not {tuple(target.shape)}.")
    rows = torch.zeros_like(target)
    for new, old in enumerate(class_mapping):
        if old is None:
            continue
        if not isinstance(old, int) or not 0 <= old < len(given):
            raise InvalidArgument("class_mapping", f"names class {old!r} of an earlier version with {len(given)}.")
        rows[new] = given[old]
    return rows


def _check_images(images: Tensor) -> None:
    # At other sides a stride rounds, and what stages, logits and labels say of a place is no longer of one place.
    is_batch = images.ndim == 4 and images.shape[1] == 3 and images.is_floating_point()
    if not is_batch or any(not side or side % SIDE_MULTIPLE for side in images.shape[2:]):
        raise InvalidArgument(
            "images",
            f"have to be (B, 3, H, W) float, H and W multiples of {SIDE_MULTIPLE}, not {tuple(images.shape)} "
            f"{images.dtype}; `predict` takes any size.",
        )


def _bias_of(layer: nn.Conv2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
