"""The intervals hold what they say, and where clicks are few there is a sentence instead of a number."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from recolabel.estimates import (
    MIN_UNION,
    calibration,
    class_ious,
    common_classes,
    counted_classes,
    mean_iou,
    mean_iou_of_images,
    ratio,
    share,
    share_interval,
)
from recolabel.holding_out import is_held_out

PROJECTS = 200


@dataclass(frozen=True)
class Simulated:
    """A project whose truth is known: how often each pair of true and predicted class occurs, and the clicks."""

    joint: NDArray[np.float64]
    held_out: NDArray[np.int64]

    @property
    def true_ious(self) -> NDArray[np.float64]:
        hits = np.diag(self.joint)
        ious: NDArray[np.float64] = hits / (self.joint.sum(axis=0) + self.joint.sum(axis=1) - hits)
        return ious


def simulate(rng: np.random.Generator) -> Simulated:
    """2 to 19 classes, most of them rare; a network between poor and very good, in every second project worse where
    classes are rare; 60 to 1,000 random clicks, of which half of each class is held out."""
    classes = int(rng.integers(2, 20))
    shares = 0.9 * rng.dirichlet(np.full(classes, 0.7)) + 0.1 / classes
    recall = rng.uniform(*((0.15, 0.98), (0.8, 0.99))[int(rng.integers(2))], classes)
    if rng.random() < 0.5:
        recall *= 0.4 + 0.6 * np.sqrt(shares / shares.max())
    joint = np.zeros((classes, classes))
    for truth in range(classes):
        mistakes = rng.dirichlet(0.5 + 3 * shares)
        mistakes[truth] = 0
        joint[truth] = shares[truth] * (1 - recall[truth]) * mistakes / mistakes.sum()
        joint[truth, truth] = shares[truth] * recall[truth]
    joint /= joint.sum()
    asked = int(rng.choice([60, 120, 240, 500, 1_000]))
    phases = rng.random(classes)
    answered = np.zeros(classes, dtype=int)
    held_out = np.zeros((classes, classes), dtype=np.int64)
    for cell in rng.choice(classes * classes, size=asked, p=joint.ravel()):
        truth, predicted = divmod(int(cell), classes)
        answered[truth] += 1
        if is_held_out(int(answered[truth]), 0.5, float(phases[truth])):
            held_out[truth, predicted] += 1
    return Simulated(joint, held_out)


@functools.cache
def simulated_projects() -> list[Simulated]:
    return [simulate(np.random.default_rng([7, number])) for number in range(PROJECTS)]


def holds(low: float | None, high: float | None, truth: float) -> bool:
    assert low is not None
    assert high is not None
    return low <= truth <= high


def test_the_intervals_of_class_ious_hold_the_truth() -> None:
    held = [
        holds(figure.low, figure.high, truth)
        for project in simulated_projects()
        for figure, truth in zip(class_ious(project.held_out), project.true_ious, strict=True)
        if figure.value is not None
    ]

    print(f"class IoU: {np.mean(held):.3f} of {len(held)}")
    assert len(held) > 3 * PROJECTS
    assert np.mean(held) >= 0.93


def test_the_interval_of_a_rare_or_badly_found_class_holds_the_truth_as_well() -> None:
    rare, bad = [], []
    for project in simulated_projects():
        _, shares = project.joint, project.joint.sum(axis=1)
        for figure, truth, size in zip(class_ious(project.held_out), project.true_ious, shares, strict=True):
            if figure.value is not None and size < 0.05:
                rare.append(holds(figure.low, figure.high, truth))
            if figure.value is not None and truth < 0.3:
                bad.append(holds(figure.low, figure.high, truth))

    print(f"rare: {np.mean(rare):.3f} of {len(rare)}, bad: {np.mean(bad):.3f} of {len(bad)}")
    assert min(len(rare), len(bad)) > 50
    assert min(np.mean(rare), np.mean(bad)) >= 0.9


def test_the_interval_of_the_mean_iou_holds_the_truth() -> None:
    held = []
    for number, project in enumerate(simulated_projects()):
        counted = counted_classes(project.held_out)
        figure = mean_iou(project.held_out, counted, np.random.default_rng(number))
        if figure.value is not None:
            held.append(holds(figure.low, figure.high, float(project.true_ious[counted].mean())))

    print(f"mean IoU: {np.mean(held):.3f} of {len(held)}")
    assert len(held) > 0.9 * PROJECTS
    assert np.mean(held) >= 0.9


def test_the_interval_of_the_accuracy_holds_the_truth() -> None:
    held = []
    for project in simulated_projects():
        figure = share(int(np.trace(project.held_out)), int(project.held_out.sum()))
        held.append(holds(figure.low, figure.high, float(np.trace(project.joint))))

    print(f"accuracy: {np.mean(held):.3f} of {len(held)}")
    assert np.mean(held) >= 0.9


def test_the_interval_of_the_worth_of_guidance_holds_the_truth() -> None:
    held = []
    for number in range(PROJECTS):
        rng = np.random.default_rng([3, number])
        guided, random = rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.4)
        corrections, others = int(rng.binomial(300, guided)), int(rng.binomial(60, random))
        figure = ratio(corrections, 300, others, 60, rng)
        if figure.value is not None:
            held.append(holds(figure.low, figure.high, guided / random))

    print(f"ratio: {np.mean(held):.3f} of {len(held)}")
    assert np.mean(held) >= 0.9


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        (0, 10, 0.0, 1 - 0.05 ** (1 / 10)),  # half of P(0) is 2.5 %
        (10, 10, 0.05 ** (1 / 10), 1.0),  # the mirror image
        (5, 10, 0.2137, 0.7863),  # narrower than the exact interval, 0.187..0.813
        (600_000, 1_000_000, 0.59904, 0.60096),  # where nothing but the normal approximation is feasible
    ],
)
def test_the_interval_of_a_share_is_where_the_books_say(hits: int, total: int, low: float, high: float) -> None:
    assert share_interval(hits, total) == pytest.approx((low, high), abs=2e-3)


def test_a_class_that_too_few_clicks_meet_has_a_sentence_and_no_number() -> None:
    confusion = np.array([[20, 2, 0], [1, 3, 0], [0, 0, 1]])

    _, second, third = class_ious(confusion)

    assert (second.value, second.missing) == (
        None,
        "2 more random clicks that meet this class are needed for a number.",
    )
    assert (third.value, third.clicks) == (None, 1)
    assert list(counted_classes(confusion)) == [True, False, False]


@pytest.mark.parametrize(
    ("counted", "common"),
    [
        (["1111"], "1111"),
        (["1110", "1111"], "1110"),  # a quarter is given up for an older version
        (["1100", "1110", "1111"], "1110"),  # but no more: the oldest has no mean
        (["1111", "0000"], "1111"),  # the newest has drawn nothing yet
        (["1111", "1000"], "1111"),  # or hardly anything
        (["0000", "0000"], "0000"),
        (["0011", "1100"], "1100"),
    ],
)
def test_the_mean_is_taken_over_the_same_classes_for_all_versions(counted: list[str], common: str) -> None:
    found = common_classes([np.array([letter == "1" for letter in each]) for each in counted])

    assert "".join("01"[int(each)] for each in found) == common


def test_without_any_class_that_counts_there_is_no_mean_iou() -> None:
    figure = mean_iou(np.diag([3, 2]), np.array([False, False]), np.random.default_rng(0))

    assert figure.value is None
    assert figure.missing == f"{MIN_UNION - 3} more random clicks that meet one class are needed for a number."


def test_the_same_clicks_give_the_same_interval() -> None:
    confusion = np.array([[20, 3], [4, 15]])
    counted = counted_classes(confusion)

    first, second = (mean_iou(confusion, counted, np.random.default_rng(1)) for _ in range(2))

    assert first == second


def test_whole_masks_give_the_mean_iou_of_the_classes_that_occur() -> None:
    masks = np.array([[[90, 10, 0], [0, 100, 0], [0, 0, 0]], [[50, 0, 0], [50, 100, 0], [0, 0, 0]]])

    figure = mean_iou_of_images(masks, np.random.default_rng(0))

    assert figure.value == pytest.approx((140 / 200 + 200 / 260) / 2)
    assert figure.value is not None
    assert holds(figure.low, figure.high, figure.value)
    assert mean_iou_of_images(masks[:1], np.random.default_rng(0)).low is None


def test_a_boaster_is_told_from_an_honest_network() -> None:
    rng = np.random.default_rng(2)
    sure = rng.uniform(0.5, 1.0, 300)
    honest = calibration(list(sure), list(rng.random(300) < sure), rng)
    boasting = calibration(list(sure), list(rng.random(300) < sure - 0.3), rng)

    assert honest.error.value is not None
    assert honest.error_by_chance is not None
    assert honest.error.value <= honest.error_by_chance * 1.2
    assert holds(honest.overconfidence.low, honest.overconfidence.high, 0.0)
    assert boasting.error.value is not None
    assert boasting.error_by_chance is not None
    assert boasting.error.value > boasting.error_by_chance
    assert boasting.overconfidence.low is not None
    assert boasting.overconfidence.low > 0


def test_calibration_of_a_handful_of_clicks_is_not_told() -> None:
    few = calibration([0.9] * 12, [True] * 12, np.random.default_rng(0))

    assert few.error.value is None
    assert few.error.missing == "18 more random clicks are needed for a number."
