"""A small exported model with weights that make all classes appear, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from recolabel.contract.model_versions import Metrics
from recolabel_worker.model_files import ModelClass, TrainedOn, describe, this_machine, write_model
from recolabel_worker.reco import DeepLabV3Plus, TrainConfig, build_network

CLASSES = [
    ModelClass(index=index, class_uid=f"0000000{index}-0000-0000-0000-000000000000", name=name, colour=colour)
    for index, (name, colour) in enumerate([("meadow", "#00aa00"), ("wa|ter", "#0000ff"), ("path", "#aa7700")])
]


def network_for_tests() -> DeepLabV3Plus:
    """Random weights; no class dominates."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = build_network(len(CLASSES), pretrained=False)
        torch.nn.init.normal_(network.direct.weight)
        torch.nn.init.normal_(network.correction.weight)
    return network.eval()


def export(folder: Path, network: DeepLabV3Plus) -> Path:
    origin = TrainedOn(
        project_name="Fields",
        label_seq=7,
        labelled_pixels=5,
        image_count=3,
        labelled_image_count=2,
        training=TrainConfig(len(CLASSES)).to_dict(),
        metrics=Metrics(steps=2, seconds=1.5, held_out_pixels=0, accuracy=None, chosen="deep"),
        parent=None,
        machine=this_machine(torch.device("cpu")),
    )
    folder.mkdir(parents=True)
    write_model(folder, network, describe(CLASSES, network, origin))
    return folder


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """A picture with structure of several sizes, (H, W, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 200, (height // 8 + 1, width // 8 + 1, 3)).repeat(8, 0).repeat(8, 1)[:height, :width]
    return (coarse + rng.integers(0, 55, (height, width, 3))).astype(np.uint8)
