"""Configurations survive JSON and refuse nonsense by name."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from recolabel_worker.reco import InvalidArgument, RecoConfig, TrainConfig
from recolabel_worker.reco.config import steps_for


def test_a_configuration_survives_a_trip_through_json() -> None:
    cfg = TrainConfig(num_classes=5, method="cutmix", crop=(64, 96), reco=RecoConfig(num_keys=3))

    assert TrainConfig.from_dict(json.loads(json.dumps(cfg.to_dict()))) == cfg


def test_numbers_of_numpy_survive_it_too() -> None:
    cfg = TrainConfig(num_classes=np.int64(5), crop=(np.int32(64), 96), head_lr=np.float32(0.5))  # type: ignore[arg-type]

    assert json.loads(json.dumps(cfg.to_dict()))["crop"] == [64, 96]
    assert cfg == TrainConfig(num_classes=5, crop=(64, 96), head_lr=0.5)


BAD = [
    ("num_classes", {"num_classes": 0}),
    ("method", {"num_classes": 2, "method": "mixup"}),
    ("steps", {"num_classes": 2, "steps": -1}),
    ("crop", {"num_classes": 2, "crop": [50, 64]}),
    ("temperature", {"num_classes": 2, "reco": {"temperature": 0}}),
    ("delta_s", {"num_classes": 2, "reco": {"delta_s": 1.5}}),
    ("num_keys", {"num_classes": 2, "reco": {"num_keys": 0}}),
    ("delta_w_labelled", {"num_classes": 2, "reco": {"delta_w_labelled": -0.1}}),
    ("scale", {"num_classes": 2, "views": {"scale": [0.0, 1.0]}}),
    ("scale", {"num_classes": 2, "views": {"scale": [1.5, 0.5]}}),
    ("blur_sigma_px", {"num_classes": 2, "views": {"blur_sigma_px": [0.5]}}),
    ("hue", {"num_classes": 2, "views": {"hue": 2.0}}),
    ("weight_decay", {"num_classes": 2, "fast_head": {"weight_decay": -1.0}}),
    ("max_iterations", {"num_classes": 2, "fast_head": {"max_iterations": 0}}),
    ("head_lr", {"num_classes": 2, "head_lr": float("nan")}),
    ("backbone_lr", {"num_classes": 2, "backbone_lr": -1e-3}),
    ("contrast_weight", {"num_classes": 2, "contrast_weight": float("inf")}),
    ("hold_out", {"num_classes": 2, "hold_out": 1.5}),
    ("ema_decay", {"num_classes": 2, "ema_decay": 1.1}),
    ("clip_norm", {"num_classes": 2, "clip_norm": 0.0}),
    ("config", {"num_classes": 2, "epochs": 3}),
    ("reco", {"num_classes": 2, "reco": {"tau": 1}}),
    ("reco", {"num_classes": 2, "reco": 1}),
    ("config: lacks the field 'num_classes'", {"method": "cutmix"}),
    ("num_classes: has to be a whole number", {"num_classes": "2"}),
    ("steps: has to be a whole number", {"num_classes": 2, "steps": 1.5}),
    ("seed: has to be a whole number", {"num_classes": 2, "seed": None}),
    ("seed: has to fit in 64 bits", {"num_classes": 2, "seed": 2**63}),
    ("batch_labelled: has to be a whole number", {"num_classes": 2, "batch_labelled": True}),
    ("use_reco: has to be True or False", {"num_classes": 2, "use_reco": "no"}),
    ("crop: has to be two whole numbers", {"num_classes": 2, "crop": 64}),
    ("crop: has to be two whole numbers", {"num_classes": 2, "crop": [64.0, 64.0]}),
    ("temperature: has to be a number", {"num_classes": 2, "reco": {"temperature": "0.5"}}),
    ("scale: has to be two numbers", {"num_classes": 2, "views": {"scale": None}}),
]


@pytest.mark.parametrize(("argument", "values"), BAD)
def test_a_bad_value_is_refused_by_its_name(argument: str, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=f"^{argument}"):
        TrainConfig.from_dict(values)


def test_the_contrast_defaults_are_the_published_ones() -> None:
    assert RecoConfig() == RecoConfig(delta_w=0.7, delta_s=0.97, temperature=0.5, num_queries=256, num_keys=512)


def test_the_more_images_are_labelled_the_longer_an_interactive_run() -> None:
    assert [steps_for(images) for images in (1, 37, 92, 187, 188, 100_000)] == [60, 60, 148, 300, 300, 300]
