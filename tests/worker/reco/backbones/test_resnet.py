"""The paper's encoder, by the facts that a published weight file relies on."""

from __future__ import annotations

import pytest
import torch

from recolabel_worker.reco import build_network
from recolabel_worker.reco.backbones import build_backbone
from recolabel_worker.reco.network import export_state_dict


@pytest.mark.parametrize(
    ("name", "parameters", "tensors"),
    [
        # Published counts less the classifier's 2048 x 1000 + 1000 in two tensors.
        ("resnet50", 25_557_032 - 2_049_000, 320 - 2),
        ("resnet101", 44_549_160 - 2_049_000, 626 - 2),
    ],
)
def test_the_trunk_has_the_published_parameters(name: str, parameters: int, tensors: int) -> None:
    trunk = build_backbone(name, pretrained=False)

    assert sum(parameter.numel() for parameter in trunk.parameters()) == parameters
    assert len(trunk.state_dict()) == tensors
    assert {"conv1.weight", "bn1.running_var", "layer2.0.downsample.1.bias", "layer4.2.conv3.weight"} <= {
        *trunk.state_dict()
    }


def test_stages_have_the_promised_channels_and_strides() -> None:
    trunk = build_backbone("resnet50", pretrained=False).eval()

    with torch.no_grad():
        stages = trunk(torch.rand(1, 3, 64, 96) * 255)

    assert [tuple(stage.shape[1:]) for stage in stages] == [(256, 16, 24), (512, 8, 12), (1024, 4, 6), (2048, 4, 6)]


@pytest.mark.parametrize(("count", "learning"), [(0, {"conv1", "layer1", "layer4"}), (1, {"layer4"}), (4, set())])
def test_frozen_stages_get_no_gradient(count: int, learning: set[str]) -> None:
    trunk = build_backbone("resnet50", pretrained=False)

    trunk.freeze_stages(count)  # type: ignore[operator]

    found = {name.split(".")[0] for name, parameter in trunk.named_parameters() if parameter.requires_grad}
    assert found & {"conv1", "layer1", "layer4"} == learning


def test_the_papers_heads_have_the_papers_sizes() -> None:
    network = build_network(21, backbone="resnet50", pretrained=False, decoder="paper", norm="batch")

    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}

    assert [shapes[f"aspp.branches.{index}.0.weight"][2:] for index in range(4)] == [(1, 1), (3, 3), (3, 3), (3, 3)]
    assert shapes["aspp.merge.0.weight"] == (256, 1280, 1, 1)
    assert shapes["decoder.reduce_fine.0.weight"] == (48, 256, 1, 1)
    assert shapes["refine.0.weight"] == (256, 304, 3, 3)
    assert shapes["representation_head.0.0.weight"] == (256, 304, 3, 3)
    assert shapes["representation_head.1.weight"] == (256, 256, 1, 1)
    assert shapes["correction.weight"] == (21, 256, 1, 1)
    assert not any("representation" in name for name in export_state_dict(network))


def test_batch_norm_heads_take_a_batch_of_one() -> None:
    # The pyramid's mean of the whole image is one value for each channel there, which torch's BatchNorm refuses.
    network = build_network(2, backbone="resnet50", pretrained=False, decoder="paper", norm="batch").train()

    output = network.forward_training(torch.rand(1, 3, 32, 32) * 255)

    assert bool(output.logits.isfinite().all())
    assert bool(output.representation.isfinite().all())
