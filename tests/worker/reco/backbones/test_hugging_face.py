"""Backbones of the extra `hf`, on tiny ones with random weights; nothing is fetched."""

from __future__ import annotations

import copy
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recolabel_worker.reco import InvalidArgument, build_network
from recolabel_worker.reco.backbones import build_backbone
from recolabel_worker.reco.network import export_state_dict

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the extra hf: the package transformers"
)

TINY: dict[str, dict[str, Any]] = {
    "ResNetConfig": {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]},
    "ConvNextConfig": {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 1, 1]},
    "Dinov2Config": {"hidden_size": 16, "num_hidden_layers": 8, "num_attention_heads": 2, "image_size": 56},
}


def tiny_model(kind: str, folder: Path) -> str:
    """A folder with weights, as the hub would give it."""
    transformers = pytest.importorskip("transformers")
    configuration = getattr(transformers, kind)(**TINY[kind])
    transformers.AutoModel.from_config(configuration).save_pretrained(folder)
    return f"hf:{folder}"


@needs_transformers
@pytest.mark.parametrize("kind", TINY)
def test_any_backbone_gives_four_stages_at_the_promised_strides(kind: str, tmp_path: Path) -> None:
    trunk = build_backbone(tiny_model(kind, tmp_path)).eval()

    with torch.no_grad():
        stages = trunk(torch.rand(1, 3, 48, 80) * 255)

    assert [tuple(stage.shape[-2:]) for stage in stages] == [(12, 20), (6, 10), (3, 5), (3, 5)]
    assert [stage.shape[1] for stage in stages] == list(trunk.stage_channels)  # type: ignore[arg-type]


@needs_transformers
def test_pretrained_weights_are_those_of_the_folder(tmp_path: Path) -> None:
    name = tiny_model("ResNetConfig", tmp_path)

    first, second, fresh = build_backbone(name), build_backbone(name), build_backbone(name, pretrained=False)

    weights = [next(iter(trunk.parameters())) for trunk in (first, second, fresh)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@needs_transformers
def test_an_exported_network_is_built_again_without_the_folder(tmp_path: Path) -> None:
    network = build_network(2, backbone=tiny_model("ResNetConfig", tmp_path / "model")).eval()
    torch.nn.init.normal_(network.direct.weight)
    (tmp_path / "model").rename(tmp_path / "gone")

    again = build_network(2, **network.build_arguments, for_training=False).eval()
    again.load_state_dict(export_state_dict(network))

    picture = torch.rand(1, 3, 48, 80) * 255
    with torch.no_grad():
        assert torch.equal(again(picture), copy.deepcopy(network)(picture))


@needs_transformers
def test_a_model_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="nowhere") as refusal:
        build_backbone(f"hf:{tmp_path / 'nowhere'}")

    assert refusal.value.argument == "backbone"


def test_without_transformers_the_sentence_says_what_to_install() -> None:
    code = """
import sys
sys.modules["transformers"] = None
from recolabel_worker.reco import InvalidArgument, build_network
try:
    build_network(2, backbone="hf:some/model")
except InvalidArgument as refusal:
    print(refusal)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert "pip install 'recolabel-worker[hf]'" in done.stdout
