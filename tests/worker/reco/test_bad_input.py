"""Every kind of bad input, in one table: the sentence names the argument and says what was expected."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from recolabel_worker.reco import (
    InvalidArgument,
    RecoConfig,
    SparseImage,
    TrainConfig,
    build_network,
    confusion_matrix,
    create_state,
    expected_calibration_error,
    export_state_dict,
    fit_fast_head,
    iou,
    predict,
    propose_candidates,
    regional_contrast_loss,
)
from recolabel_worker.reco.config import UNLABELLED
from recolabel_worker.reco.data import Sampler, TrainingSet, labels_of
from recolabel_worker.reco.fast_head import fit_on_features
from recolabel_worker.reco.features import extract_features
from recolabel_worker.reco.losses import pseudo_label_loss, supervised_loss
from recolabel_worker.reco.metrics import mean_iou_interval
from recolabel_worker.reco.mixing import Mixable, mix
from recolabel_worker.reco.network import load_warm

from .conftest import clicked

CLASSES = 3
TINY = TrainConfig(2, steps=1, crop=(32, 32))
IMAGE = np.zeros((32, 48, 3), np.uint8)


def contrast(**spoilt: Tensor) -> None:
    """The contrast of a small scene, one of its arguments put in by the caller."""
    g = torch.Generator().manual_seed(0)
    arguments = {
        "representation": torch.randn(2, 8, 4, 4, generator=g),
        "label_map": torch.randint(CLASSES, (2, 4, 4), generator=g),
        "probabilities": torch.randn(2, CLASSES, 4, 4, generator=g).softmax(1),
    }
    regional_contrast_loss(**(arguments | spoilt), generator=g)  # type: ignore[arg-type]


def labelled(value: int) -> SparseImage:
    """One click."""
    label_map = np.full(IMAGE.shape[:2], UNLABELLED, np.uint8)
    label_map[3, 4] = value
    return SparseImage(IMAGE, label_map)


def network(**options: Any) -> Any:
    return build_network(2, pretrained=False, **options)


def weights_of(backbone: str, folder: Path) -> Path:
    """A file as a published one of `backbone`."""
    file = folder / f"{backbone}.pth"
    torch.save(network(backbone=backbone).backbone.state_dict(), file)
    return file


def wrong_sum(folder: Path) -> Any:
    return network(
        weights=weights_of("efficientnet-lite0", folder), weights_sha256=hashlib.sha256(b"another").hexdigest()
    )


EVEN = torch.full((CLASSES, 4, 4), 1 / CLASSES)


def ask(probabilities: Tensor, *, spacing_px: int = 1, exclude: Tensor | None = None) -> object:
    return propose_candidates(probabilities, 1, spacing_px, exclude, generator=torch.Generator())


def mixed(method: Any) -> object:
    label_map = torch.zeros(1, 4, 4, dtype=torch.int64)
    return mix(Mixable(torch.zeros(1, 3, 16, 16), label_map, torch.ones(1, 4, 4)), method, torch.Generator())


Case = tuple[str, str, str, Callable[[Path], object]]

CASES: list[Case] = [
    # remark, argument, what the sentence says of what was expected, what is tried
    (
        "a label map of another height",
        "label_map",
        r"asks \(2, 4, 4\)",
        lambda _: contrast(label_map=torch.zeros(2, 3, 4, dtype=torch.int64)),
    ),
    (
        "probabilities of another batch",
        "probabilities",
        r"needed is \(B, C, h, w\)",
        lambda _: contrast(probabilities=torch.full((1, CLASSES, 4, 4), 1 / CLASSES)),
    ),
    (
        "a representation that is no batch of maps",
        "representation",
        r"has to be \(B, D, h, w\) float",
        lambda _: contrast(representation=torch.zeros(2, 8)),
    ),
    (
        "a representation without channels",
        "representation",
        "D at least 1",
        lambda _: contrast(representation=torch.zeros(2, 0, 4, 4)),
    ),
    (
        "a label map of another height in cross-entropy",
        "label_map",
        r"the logits ask \(1, 4, 4\)",
        lambda _: supervised_loss(torch.zeros(1, CLASSES, 4, 4), torch.zeros(1, 3, 4, dtype=torch.int64)),
    ),
    (
        "a class index out of range in cross-entropy",
        "label_map",
        r"no class of 0\.\.2",
        lambda _: supervised_loss(torch.zeros(1, CLASSES, 4, 4), torch.full((1, 4, 4), CLASSES)),
    ),
    (
        "a class index out of range among pseudo-labels",
        "pseudo_labels",
        r"no class of 0\.\.2",
        lambda _: pseudo_label_loss(
            torch.zeros(1, CLASSES, 4, 4), torch.full((1, 4, 4), CLASSES), torch.ones(1, 4, 4), 0.97
        ),
    ),
    (
        "confidence of another size than pseudo-labels",
        "confidence",
        r"has shape \(1, 4\)",
        lambda _: pseudo_label_loss(
            torch.zeros(1, CLASSES, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64), torch.ones(1, 4), 0.97
        ),
    ),
    (
        "a class index out of range in a loss",
        "label_map",
        r"no class of 0\.\.2, nor 254 void, nor 255",
        lambda _: contrast(label_map=torch.full((2, 4, 4), CLASSES)),
    ),
    (
        "a class index out of range in an image",
        "label_map",
        "there are 2 classes, counted from 0",
        lambda _: create_state(TINY, [labelled(2)], network=network()),
    ),
    (
        "a class index out of range in a fit",
        "labels",
        "none of the network's 2",
        lambda _: fit_fast_head(network(), [labelled(2)], TrainConfig(3)),
    ),
    (
        "a class index out of range in a prediction",
        "prediction",
        r"outside 0\.\.2",
        lambda _: confusion_matrix(torch.tensor([3]), torch.tensor([0]), CLASSES),
    ),
    ("a temperature of 0", "temperature", "finite and above 0", lambda _: RecoConfig(temperature=0.0)),
    ("a temperature below 0", "temperature", "finite and above 0", lambda _: RecoConfig(temperature=-1.0)),
    (
        "a NaN in the representation",
        "representation",
        "NaN or infinity",
        lambda _: contrast(representation=torch.full((2, 8, 4, 4), float("nan"))),
    ),
    (
        "an infinity in the representation",
        "representation",
        "NaN or infinity",
        lambda _: contrast(representation=torch.full((2, 8, 4, 4), float("inf"))),
    ),
    (
        "a representation beyond single precision",
        "representation",
        "beyond float32",
        lambda _: contrast(representation=torch.full((2, 8, 4, 4), 1e300, dtype=torch.float64)),
    ),
    (
        "probabilities that do not sum to 1",
        "probabilities",
        "sum to 1 over the classes",
        lambda _: contrast(probabilities=torch.full((2, CLASSES, 4, 4), 0.5)),
    ),
    (
        "a representation that is no tensor",
        "representation",
        "has to be a Tensor, not ndarray",
        lambda _: regional_contrast_loss(
            np.zeros((1, 8, 4, 4), np.float32),  # type: ignore[arg-type]
            torch.zeros(1, 4, 4, dtype=torch.int64),
            EVEN[None],
            generator=torch.Generator(),
        ),
    ),
    (
        "a seed in place of a generator",
        "generator",
        "has to be a Generator, not int",
        lambda _: regional_contrast_loss(
            torch.zeros(1, 8, 4, 4),
            torch.zeros(1, 4, 4, dtype=torch.int64),
            EVEN[None],
            generator=0,  # type: ignore[arg-type]
        ),
    ),
    (
        "class weights of another number of classes",
        "class_weights",
        r"has shape \(2,\)",
        lambda _: supervised_loss(
            torch.zeros(1, CLASSES, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64), torch.ones(2)
        ),
    ),
    (
        "images as pairs",
        "images",
        "list of SparseImage; it holds a tuple",
        lambda _: create_state(TINY, [(IMAGE, None)], network=network()),  # type: ignore[list-item]
    ),
    (
        "one image in place of a list",
        "images",
        "list of SparseImage, not SparseImage",
        lambda _: fit_fast_head(network(), labelled(0), TINY),  # type: ignore[arg-type]
    ),
    (
        "a mask as numpy has it",
        "label_map",
        "torch.from_numpy",
        lambda _: confusion_matrix(torch.zeros(3, dtype=torch.int64), np.zeros(3, np.uint8), 2),  # type: ignore[arg-type]
    ),
    (
        "probabilities to ask about that do not sum to 1",
        "probabilities",
        "sum to 1 over the classes",
        lambda _: ask(2 * EVEN),
    ),
    ("an empty data set to train on", "images", "at least one image", lambda _: create_state(TINY, [])),
    ("an empty training set", "images", "at least one image", lambda _: TrainingSet([], 2)),
    ("nothing to sample", "indices", "is empty", lambda _: Sampler([], seed=0)),
    (
        "nothing to judge by",
        "confusions",
        "is empty",
        lambda _: mean_iou_interval(torch.zeros(0, 2, 2), torch.Generator()),
    ),
    (
        "a data set without a label",
        "images",
        "click at least one pixel of a class",
        lambda _: create_state(TINY, [SparseImage(IMAGE)], network=network()),
    ),
    (
        "a prediction of floats",
        "prediction",
        "take the argmax",
        lambda _: confusion_matrix(torch.tensor([0.7]), torch.tensor([0]), CLASSES),
    ),
    ("a matrix that is not square", "confusion", r"\(\.\.\., C, C\)", lambda _: iou(torch.zeros(2, 3))),
    (
        "an interval of more than all draws",
        "coverage",
        r"in \[0, 1\]",
        lambda _: mean_iou_interval(torch.ones(1, 2, 2), torch.Generator(), coverage=2.0),
    ),
    (
        "an interval of no draws",
        "draws",
        "at least 1",
        lambda _: mean_iou_interval(torch.ones(1, 2, 2), torch.Generator(), draws=0),
    ),
    (
        "probabilities to calibrate that do not sum to 1",
        "probabilities",
        "sum to 1",
        lambda _: expected_calibration_error(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64)),
    ),
    ("an unknown method of mixing", "method", "is one of supervised", lambda _: mixed("mixup")),
    ("probabilities of one pixel row to ask about", "probabilities", r"\(C, H, W\)", lambda _: ask(EVEN[0])),
    ("a NaN to ask about", "probabilities", "NaN", lambda _: ask(EVEN * float("nan"))),
    ("excluded pixels of another size", "exclude", r"\(3, 4\)", lambda _: ask(EVEN, exclude=torch.ones(3, 4) > 0)),
    ("a distance below 0", "spacing_px", "cannot be negative", lambda _: ask(EVEN, spacing_px=-1)),
    ("an image that is a list", "image", "numpy array or a tensor", lambda _: SparseImage([[0, 0, 0]])),  # type: ignore[arg-type]
    (
        "a list to predict",
        "image",
        "numpy array or a tensor",
        lambda _: predict(network(), [[0, 0, 0]]),  # type: ignore[arg-type]
    ),
    (
        "a mask of another size",
        "label_map",
        r"is \(48, 32\) for an image of \(32, 48\)",
        lambda _: SparseImage(IMAGE, np.zeros((48, 32), np.uint8)),
    ),
    ("an image of floats", "image", r"\(H, W, 3\) uint8", lambda _: SparseImage(IMAGE.astype(np.float32))),
    (
        "an image of floats to predict",
        "image",
        r"\(H, W, 3\) uint8",
        lambda _: predict(network(), torch.zeros(32, 48, 3)),
    ),
    ("a network in training mode to predict with", "network", "eval", lambda _: predict(network().train(), IMAGE)),
    (
        "tiles that are all margin",
        "tile_px, margin_px",
        "margin below half",
        lambda _: extract_features(network(), IMAGE, tile_px=32, margin_px=16),
    ),
    (
        "an unknown method",
        "method",
        "is one of supervised, cutout, cutmix, classmix",
        lambda _: TrainConfig.from_dict({"num_classes": 2, "method": "mixup"}),
    ),
    (
        "an unknown way to draw keys",
        "key_sampling",
        "is one of active, uniform",
        lambda _: TrainConfig.from_dict({"num_classes": 2, "reco": {"key_sampling": "hard"}}),
    ),
    (
        "an unknown way to draw queries",
        "query_sampling",
        "is one of hard, random, easy",
        lambda _: TrainConfig.from_dict({"num_classes": 2, "reco": {"query_sampling": "active"}}),
    ),
    (
        "an unknown backbone",
        "backbone",
        "is one of efficientnet-lite0, resnet50, resnet101 or hf:",
        lambda _: network(backbone="vgg"),
    ),
    (
        "an unknown backbone in a configuration",
        "backbone",
        "is one of efficientnet-lite0",
        lambda _: replace(TINY, backbone="vgg"),
    ),
    (
        "weights of another architecture",
        "weights",
        "of another architecture: it lacks",
        lambda folder: network(backbone="resnet50", weights=weights_of("efficientnet-lite0", folder)),
    ),
    ("a descriptor of a weights file", "weights", "path of a file, not 5", lambda _: network(weights=5)),
    ("a wrong sha256", "weights_sha256", "it is not the file that was meant", wrong_sum),
    (
        "a network of another architecture",
        "network",
        "the run's configuration says",
        lambda _: create_state(replace(TINY, decoder="paper"), [clicked(0)], network=network()),
    ),
    (
        "a network that cannot be trained",
        "network",
        "for_training=True",
        lambda _: create_state(TINY, [clicked(0)], network=network(for_training=False)),
    ),
    ("a truth as the number of classes", "num_classes", "1 to 254, not True", lambda _: build_network(True)),
    ("a number of classes that is no whole number", "num_classes", "1 to 254, not 2.5", lambda _: build_network(2.5)),  # type: ignore[arg-type]
    (
        "a device that torch does not know",
        "device",
        r"has \('gpu'\); \"cpu\" is always there",
        lambda _: create_state(TINY, [clicked(0)], network=network(), device="gpu"),
    ),
    (
        "a device that holds no numbers",
        "device",
        "names none that this machine has",
        lambda _: predict(network().eval(), IMAGE, "meta"),
    ),
    ("more frozen stages than there are", "count", "is 0 to 4 stages, not 9", lambda _: network().freeze_stages(9)),
    ("frozen stages below 0", "count", "is 0 to 4 stages", lambda _: network().freeze_stages(-1)),
    (
        "features of fewer images than labels",
        "features",
        "of 0 images, and there are labels of 1",
        lambda _: fit_on_features(network(), [], [labels_of(clicked(0), 2)], TINY.fast_head),
    ),
    (
        "sides that are no multiple of 16, past `predict`",
        "images",
        r"multiples of 16, not \(1, 3, 33, 48\)",
        lambda _: network()(torch.zeros(1, 3, 33, 48)),
    ),
    (
        "sides that are no multiple of 16 to train on",
        "images",
        "multiples of 16",
        lambda _: network().forward_training(torch.zeros(1, 3, 32, 40)),
    ),
    (
        "bytes past `predict`",
        "images",
        r"\(B, 3, H, W\) float",
        lambda _: network()(torch.zeros(1, 3, 32, 48, dtype=torch.uint8)),
    ),
    (
        "a data set without a label, begun at a random decoder",
        "images",
        "click at least one pixel of a class",
        lambda _: create_state(replace(TINY, fast_start=False), [SparseImage(IMAGE)], network=network()),
    ),
    (
        "nothing to choose a model by",
        "held_out",
        "no class label to judge by",
        lambda _: create_state(TINY, [clicked(0)], network=network(), held_out=[SparseImage(IMAGE)]),
    ),
    (
        "a class mapping to no earlier version",
        "class_mapping",
        "there is none",
        lambda _: create_state(TINY, [clicked(0)], network=network(), class_mapping=[0, 1]),
    ),
    (
        "an earlier version of other classes",
        "class_mapping",
        "has 3 classes, the run 2",
        lambda _: create_state(
            TINY,
            [clicked(0)],
            network=network(),
            warm_start=export_state_dict(build_network(3, pretrained=False)),
        ),
    ),
    (
        "a class mapping by names",
        "class_mapping",
        "names class 'sky' of an earlier version with 2",
        lambda _: load_warm(network(), export_state_dict(network()), ["sky", None]),  # type: ignore[list-item]
    ),
    (
        "the path of an earlier version",
        "warm_start",
        "tensors by name, not str",
        lambda _: create_state(TINY, [clicked(0)], network=network(), warm_start="model.safetensors"),  # type: ignore[arg-type]
    ),
    (
        "an earlier version that broke",
        "warm_start",
        "not finite",
        lambda _: load_warm(
            network(), export_state_dict(network()) | {"direct.bias": torch.full((2,), float("nan"))}, [0, 1]
        ),
    ),
    (
        "an earlier version of another architecture",
        "warm_start",
        "lacks the tensor",
        lambda _: load_warm(network(), export_state_dict(network(decoder="paper")), [0, 1]),
    ),
]


@pytest.mark.parametrize(("remark", "argument", "expected", "attempt"), CASES, ids=[case[0] for case in CASES])
def test_bad_input_is_a_value_error_that_names_the_argument_and_what_was_expected(
    remark: str, argument: str, expected: str, attempt: Callable[[Path], object], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=expected) as refused:
        attempt(tmp_path)

    assert isinstance(refused.value, InvalidArgument), remark
    assert refused.value.argument == argument
    assert str(refused.value).startswith(f"{argument}: ")
