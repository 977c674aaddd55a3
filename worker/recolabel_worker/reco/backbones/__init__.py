"""Encoder trunks by name. A backbone gives four feature maps, at strides 4, 8, 16 and 16."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from recolabel_worker.reco.backbones.efficientnet_lite import EfficientNetLite0, load_pretrained_lite0
from recolabel_worker.reco.backbones.hugging_face import build_hugging_face
from recolabel_worker.reco.backbones.resnet import ResNet
from recolabel_worker.reco.backbones.weights import load_weights
from recolabel_worker.reco.config import BACKBONES, HUGGING_FACE_PREFIX, InvalidArgument, check_backbone

_CLASSIFIERS = {
    "efficientnet-lite0": ("_conv_head.", "_bn1.", "_fc."),
    "resnet50": ("fc.",),
    "resnet101": ("fc.",),
}
"""Prefixes of the tensors of a published file that a trunk has no place for."""

_logger = logging.getLogger(__name__)


class Backbone(Protocol):
    """What `network.py` asks of a trunk."""

    stage_channels: tuple[int, int, int, int]

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalise (B, 3, H, W) float in 0..255 and return the four stages."""
        ...

    def freeze_stages(self, count: int) -> None:
        """Hold everything up to the first `count` stages fixed, 0 to 4."""
        ...


def build_backbone(
    name: str,
    *,
    pretrained: bool | None = None,
    weights: Path | str | None = None,
    weights_sha256: str | None = None,
) -> nn.Module:
    """Build a trunk: one of BACKBONES, or `hf:MODEL` with a folder or hub name of the `transformers` package.

    Args:
        pretrained: start from ImageNet weights. Left out: where they can be had without `weights`, so not for ResNets.
        weights: a file of ImageNet weights, safetensors or torch; it says `pretrained` by itself.
        weights_sha256: what the file has to have.

    Raises:
        InvalidArgument: no backbone has this name, or the weights are not its own.
        FileNotFoundError: the pretrained weights are not installed.
    """
    check_backbone(name)
    if weights is not None:
        trunk = _fresh(name, pretrained=False)
        load_weights(trunk, weights, sha256=weights_sha256, ignored=_CLASSIFIERS.get(name, ()))
        return trunk
    if weights_sha256 is not None:
        raise InvalidArgument("weights_sha256", "is the sum of a file; name the file as `weights`.")
    if name.startswith("resnet"):
        if pretrained:
            raise InvalidArgument(
                "weights",
                f"has to name a file of ImageNet weights: none is installed for {name}. Or start from random "
                "weights with pretrained=False.",
            )
        if pretrained is None:
            _logger.warning("%s starts from random weights; name a file of ImageNet weights as `weights`.", name)
    # A configuration as JSON describes an architecture, not the weights of anybody's training.
    has_weights = not name.startswith(HUGGING_FACE_PREFIX + "{")
    return _fresh(name, pretrained=has_weights if pretrained is None else pretrained)


def _fresh(name: str, *, pretrained: bool) -> nn.Module:
    if name.startswith(HUGGING_FACE_PREFIX):
        return build_hugging_face(name.removeprefix(HUGGING_FACE_PREFIX), pretrained=pretrained)
    if name.startswith("resnet"):
        return ResNet(50 if name == "resnet50" else 101)
    trunk = EfficientNetLite0()
    if pretrained:
        load_pretrained_lite0(trunk)
    return trunk


__all__ = [
    "BACKBONES",
    "Backbone",
    "EfficientNetLite0",
    "ResNet",
    "build_backbone",
    "load_pretrained_lite0",
    "load_weights",
]
