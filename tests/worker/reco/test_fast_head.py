"""The head that answers within a second."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recolabel_worker.reco import InvalidArgument, SparseImage, TrainConfig, build_network, confusion_matrix, mean_iou
from recolabel_worker.reco.data import labels_of
from recolabel_worker.reco.fast_head import class_weights, fit_fast_head, fit_on_features
from recolabel_worker.reco.features import extract_features

from .conftest import two_class_picture


def test_six_clicks_find_the_disc_in_a_picture_nobody_clicked(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2)
    image, truth = two_class_picture(9)

    head = fit_fast_head(network, pictures, tiny)

    probabilities = head.probabilities(extract_features(network, image))
    assert probabilities.shape == (2, 64, 96)
    assert mean_iou(confusion_matrix(probabilities.argmax(0), torch.as_tensor(truth), 2)) > 0.6


def test_the_same_clicks_give_the_same_bits(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2)

    first, second = (fit_fast_head(network, pictures, tiny) for _ in range(2))

    assert torch.equal(first.weight, second.weight)


def test_a_click_of_one_class_alone_is_enough(tiny: TrainConfig) -> None:
    label_map = np.full((32, 32), 255, np.uint8)
    label_map[3, 3] = 1

    head = fit_fast_head(build_network(2), [SparseImage(np.zeros((32, 32, 3), np.uint8), label_map)], tiny)

    assert torch.isfinite(head.weight).all()
    assert head.bias[1] > head.bias[0]


def test_void_is_no_class_to_fit(tiny: TrainConfig) -> None:
    label_map = np.full((32, 32), 254, np.uint8)

    with pytest.raises(InvalidArgument, match="click at least one pixel"):
        fit_fast_head(
            build_network(2, pretrained=False), [SparseImage(np.zeros((32, 32, 3), np.uint8), label_map)], tiny
        )


def test_over_a_trained_decoder_the_head_fits_what_is_left(pictures: list[SparseImage], tiny: TrainConfig) -> None:
    network = build_network(2)
    network.start_from(fit_fast_head(network, pictures, tiny))
    torch.nn.init.normal_(network.correction.weight, std=0.3, generator=torch.Generator().manual_seed(0))
    features = [extract_features(network, item.image) for item in pictures]
    labels = [labels_of(item, 2) for item in pictures]

    head = fit_on_features(network, features, labels, tiny.fast_head)

    for item, given in zip(features, labels, strict=True):
        said = head.probabilities(item).argmax(0)
        assert torch.equal(said[given.places[:, 0], given.places[:, 1]], given.classes)


def test_class_weights_balance_labels_and_leave_out_absent_classes() -> None:
    count = torch.tensor([8, 2, 0])

    weights = class_weights(count, 1.0)

    assert (weights * count).tolist() == [5.0, 5.0, 0.0]
    assert class_weights(count, 0.0).tolist() == [1.0, 1.0, 0.0]
