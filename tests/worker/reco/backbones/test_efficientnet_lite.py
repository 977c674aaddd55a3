"""The trunk and its published weights."""

from __future__ import annotations

import pytest
import torch

from recolabel_worker.reco.backbones import build_backbone
from recolabel_worker.reco.config import InvalidArgument


def test_the_published_weights_fill_every_parameter_of_the_trunk() -> None:
    trunk = build_backbone("efficientnet-lite0", pretrained=True)

    # A fresh BatchNorm has mean 0 and weight 1 everywhere: none of ours is fresh.
    means = [buffer for name, buffer in trunk.named_buffers() if name.endswith("running_mean")]
    assert all(bool(mean.any()) for mean in means)


def test_stages_have_the_promised_channels_and_strides() -> None:
    trunk = build_backbone("efficientnet-lite0", pretrained=False).eval()

    with torch.no_grad():
        stages = trunk(torch.rand(1, 3, 64, 96) * 255)

    assert [tuple(stage.shape[1:]) for stage in stages] == [(24, 16, 24), (40, 8, 12), (112, 4, 6), (320, 4, 6)]


def test_pretrained_features_of_grey_are_neither_dead_nor_exploding() -> None:
    trunk = build_backbone("efficientnet-lite0", pretrained=True).eval()

    with torch.no_grad():
        stages = trunk(torch.full((1, 3, 64, 64), 127.0))

    assert all(0.01 < float(stage.std()) < 100 for stage in stages)


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="efficientnet-lite0"):
        build_backbone("resnet-9000", pretrained=False)
