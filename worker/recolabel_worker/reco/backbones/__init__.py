"""Encoder trunks by name. A backbone gives four feature maps, at strides 4, 8, 16 and 16."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from recolabel_worker.reco.backbones.efficientnet_lite import EfficientNetLite0, load_pretrained_lite0
from recolabel_worker.reco.config import InvalidArgument

BACKBONES = ("efficientnet-lite0",)


class Backbone(Protocol):
    """What `network.py` asks of a trunk."""

    stage_channels: tuple[int, int, int, int]

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalise (B, 3, H, W) float in 0..255 and return the four stages."""
        ...


def build_backbone(name: str, *, pretrained: bool) -> nn.Module:
    """Build a trunk, with its ImageNet weights when `pretrained`.

    Raises:
        InvalidArgument: no backbone has this name.
        FileNotFoundError: the pretrained weights are not installed.
    """
    if name not in BACKBONES:
        raise InvalidArgument("backbone", f"is one of {', '.join(BACKBONES)}, not {name!r}.")
    backbone = EfficientNetLite0()
    if pretrained:
        load_pretrained_lite0(backbone)
    return backbone


__all__ = ["BACKBONES", "Backbone", "EfficientNetLite0", "build_backbone", "load_pretrained_lite0"]
