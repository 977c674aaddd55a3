"""Figures, by hand and by symmetry."""

from __future__ import annotations

import math

import pytest
import torch

from recolabel_worker.reco.config import InvalidArgument
from recolabel_worker.reco.metrics import confusion_matrix, iou, mean_iou, mean_iou_interval


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
