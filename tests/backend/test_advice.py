"""What the numbers mean, in words: which class next, when to stop, what guidance is worth."""

from __future__ import annotations

import uuid

import pytest

from recolabel.advice import ClassState, CurvePoint, guidance_in_words, next_class, stop_signal
from recolabel.contract.evaluation import Figure


def figure(value: float, half: float = 0.05) -> Figure:
    return Figure(value=value, low=value - half, high=value + half, clicks=50)


NONE = Figure(value=None, low=None, high=None, clicks=3, missing="5 more random clicks are needed for a number.")


def state(name: str, labels: int, iou: Figure | None = None) -> ClassState:
    return ClassState(uid(name), name, labels, iou)


def uid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def test_a_class_with_hardly_any_label_comes_first() -> None:
    found = next_class([state("road", 50, figure(0.2)), state("pole", 1), state("car", 9, figure(0.9))])

    assert (found.class_uid, found.why) == (uid("pole"), "pole has only one label.")


def test_else_the_class_that_is_certainly_found_worst_comes_first() -> None:
    found = next_class([state("road", 50, figure(0.9)), state("car", 9, figure(0.4, 0.1)), state("sky", 9, NONE)])

    assert found.class_uid == uid("car")
    assert found.why == "car is found worst: its IoU is at most 0.50. Of sky too few random clicks are known to tell."


def test_without_numbers_the_class_with_the_fewest_labels_comes_first() -> None:
    found = next_class([state("road", 50), state("car", 9, NONE)])

    assert found.class_uid == uid("car")
    assert "too few random clicks" in found.why


@pytest.mark.parametrize(
    ("curve", "stop", "why"),
    [
        ([(0, figure(0.6)), (90, figure(0.61))], False, "one more version"),
        ([(0, NONE), (50, figure(0.6)), (90, figure(0.61))], False, "Version 1 cannot be compared yet"),
        ([(0, figure(0.6)), (10, figure(0.6)), (20, figure(0.61))], False, "only 20 labels apart"),
        ([(0, figure(0.6)), (50, figure(0.6)), (90, figure(0.62))], True, "changed nothing beyond chance"),
        ([(0, figure(0.6)), (50, figure(0.6)), (90, figure(0.66))], False, "still gets better"),  # half width 0.05
        ([(0, figure(0.590, 0)), (50, figure(0.591, 0)), (90, figure(0.593, 0))], True, "beyond chance"),  # who cares
        ([(0, figure(0.4)), (50, figure(0.5)), (90, figure(0.6))], False, "still gets better"),  # no overlap
        ([(0, figure(0.6)), (50, figure(0.3)), (90, figure(0.31))], False, "differ by more than chance"),
        ([(0, figure(0.1)), (9, figure(0.6)), (50, figure(0.6)), (90, figure(0.6))], True, "0.60"),  # the last three
    ],
)
def test_it_says_stop_when_the_last_three_versions_are_the_same_within_chance(
    curve: list[tuple[int, Figure]], stop: bool, why: str
) -> None:
    signal = stop_signal([CurvePoint(number + 1, labels, iou) for number, (labels, iou) in enumerate(curve)])

    assert signal.stop is stop
    assert why in signal.why


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        (figure(3.0, 1.0), "guidance pays"),
        (figure(0.5, 0.2), "ask at random instead"),
        (figure(1.1, 0.3), "no difference beyond chance"),
        (NONE, "cannot be told yet: 5 more random clicks"),
    ],
)
def test_guidance_is_worth_what_its_interval_says(ratio: Figure, said: str) -> None:
    assert said in guidance_in_words(ratio)
