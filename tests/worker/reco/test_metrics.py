"""Figures, by hand and by symmetry."""

from __future__ import annotations

import math

import pytest
import torch

from recolabel_worker.reco.config import InvalidArgument
from recolabel_worker.reco.metrics import (
    calibration_bins,
    calibration_error,
    confusion_matrix,
    expected_calibration_error,
    iou,
    mean_iou,
    mean_iou_interval,
)


def test_iou_worked_by_hand_on_four_pixels() -> None:
    prediction = torch.tensor([[0, 0], [1, 1]])
    label_map = torch.tensor([[0, 1], [1, 255]])

    confusion = confusion_matrix(prediction, label_map, 3)

    assert confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert iou(confusion)[:2].tolist() == [0.5, 0.5]
    assert math.isnan(float(iou(confusion)[2]))
    assert mean_iou(confusion) == 0.5


def test_permuting_classes_permutes_iou(generator: torch.Generator) -> None:
    prediction, truth = (torch.randint(0, 4, (20, 20), generator=generator) for _ in range(2))
    turn = torch.tensor([2, 0, 3, 1])

    turned = iou(confusion_matrix(turn[prediction], turn[truth], 4))

    torch.testing.assert_close(turned[turn], iou(confusion_matrix(prediction, truth, 4)))


def test_the_interval_holds_the_figure_and_narrows_with_images(generator: torch.Generator) -> None:
    def matrices(count: int) -> torch.Tensor:
        truth = torch.randint(0, 3, (count, 50), generator=generator)
        said = torch.where(torch.rand(count, 50, generator=generator) < 0.8, truth, 0)
        return torch.stack([confusion_matrix(s, t, 3) for s, t in zip(said, truth, strict=True)])

    few, many = matrices(5), matrices(80)
    low, high = mean_iou_interval(many, generator)

    assert low <= mean_iou(many.sum(0)) <= high
    wide = mean_iou_interval(few, generator)
    assert high - low < wide[1] - wide[0]


def test_a_prediction_that_is_no_class_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="prediction"):
        confusion_matrix(torch.tensor([5]), torch.tensor([0]), 3)


def test_calibration_error_worked_by_hand() -> None:
    """Four labels at 0.9 of which three are right, one at 0.6 that is wrong, and one void."""
    probabilities = torch.tensor([[0.9, 0.1]] * 4 + [[0.4, 0.6]] + [[0.5, 0.5]])
    classes = torch.tensor([0, 0, 0, 1, 0, 254])

    error = expected_calibration_error(probabilities, classes)

    assert error == pytest.approx((4 * 0.15 + 0.6) / 5)
    assert math.isnan(expected_calibration_error(probabilities[5:], classes[5:]))


def test_probabilities_that_labels_are_drawn_from_are_calibrated(generator: torch.Generator) -> None:
    logits = 2 * torch.randn(20_000, 5, generator=generator)
    classes = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]

    fair, boasting = (expected_calibration_error((factor * logits).softmax(1), classes) for factor in (1, 3))

    assert fair < 0.02
    assert boasting > 0.1


def test_calibration_bins_of_several_images_add_up_to_the_error_of_all_their_labels(
    generator: torch.Generator,
) -> None:
    probabilities = (2 * torch.randn(900, 4, generator=generator)).softmax(1)
    classes = torch.randint(0, 6, (900,), generator=generator)  # a third counts nowhere

    images = (slice(0, 1), slice(1, 201), slice(201, 900))
    parts = [calibration_bins(probabilities[image], classes[image]) for image in images]

    binned = torch.stack(parts).sum(0)
    assert binned[:, 0].sum() == (classes < 4).sum()
    assert calibration_error(binned) == pytest.approx(expected_calibration_error(probabilities, classes), abs=1e-12)
    errors = [calibration_error(part) for part in parts[1:]]
    assert calibration_error(binned) < max(errors)  # chance evens out over images: no mean of theirs


def test_bins_without_a_label_have_no_calibration_error() -> None:
    assert math.isnan(calibration_error(torch.zeros(15, 2, dtype=torch.float64)))


def test_less_than_one_bin_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="bins: has to be at least 1"):
        calibration_bins(torch.ones(3, 2), torch.zeros(3, dtype=torch.int64), bins=0)


def test_probabilities_without_a_class_for_each_row_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="probabilities"):
        expected_calibration_error(torch.ones(3, 2), torch.zeros(2, dtype=torch.int64))
