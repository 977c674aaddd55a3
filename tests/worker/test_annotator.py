"""The simulated annotator: what is asked about, and what is answered."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recolabel.errors import BadArgument
from recolabel_worker.annotator import (
    STRATEGIES,
    Strategy,
    answer,
    answerable_pixels,
    choose_pixels,
    class_pixels,
    draw_masks,
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def choose(
    strategy: Strategy,
    probabilities: torch.Tensor,
    count: int,
    *,
    free: np.ndarray | None = None,
    clicks: np.ndarray | None = None,
    seed: int = 0,
) -> list[tuple[int, int]]:
    _, height, width = probabilities.shape
    chosen = choose_pixels(
        strategy,
        probabilities,
        np.ones((height, width), bool) if free is None else free,
        count,
        clicks=np.full((height, width), 255, np.uint8) if clicks is None else clicks,
        rng=rng(seed),
    )
    return [(int(y), int(x)) for y, x in chosen]


# --- which pixels a person can tell ---------------------------------------------------------------------------


def test_void_and_unlabelled_pixels_are_never_asked_about() -> None:
    truth = np.array([[0, 1, 254, 255]], np.uint8)

    assert answerable_pixels(truth, 2).tolist() == [[True, True, False, False]]


def test_pixels_near_a_border_are_left_out() -> None:
    truth = np.zeros((5, 12), np.uint8)
    truth[:, 6:] = 1

    answerable = answerable_pixels(truth, 2, border_px=2)

    assert answerable[2].tolist() == [True] * 4 + [False] * 4 + [True] * 4


def test_a_class_that_is_thin_everywhere_stays_answerable() -> None:
    truth = np.zeros((9, 9), np.uint8)
    truth[:, 4] = 1

    answerable = answerable_pixels(truth, 2, border_px=2)

    assert answerable[:, 4].all()
    assert not answerable[:, 3].any()


# --- answers --------------------------------------------------------------------------------------------------


def test_an_annotator_who_makes_no_mistakes_says_what_the_mask_says() -> None:
    truth = np.array([[2, 0]], np.uint8)

    assert [answer(truth, 0, x, 3, 0.0, rng()) for x in (0, 1)] == [2, 0]


def test_a_mistake_is_another_class_of_the_image() -> None:
    truth = np.array([[0, 3, 254]], np.uint8)

    assert {answer(truth, 0, 0, 5, 1.0, rng(seed)) for seed in range(20)} == {3}


def test_in_an_image_of_one_class_a_mistake_is_any_other_class() -> None:
    truth = np.zeros((2, 2), np.uint8)

    assert {answer(truth, 0, 0, 3, 1.0, rng(seed)) for seed in range(40)} == {1, 2}


def test_mistakes_are_as_frequent_as_asked_for() -> None:
    truth, chance = np.array([[0, 1]], np.uint8), rng()

    wrong = sum(answer(truth, 0, 0, 2, 0.3, chance) != 0 for _ in range(2000))

    assert 520 < wrong < 680  # four standard deviations around 600


# --- strategies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "x"),
    [
        ("margin", 0),  # 0.50 against 0.50
        ("least-confidence", 1),  # nothing above 0.40
        ("entropy", 2),  # spread over four classes
        ("reco", 0),  # the smallest margin of the class that is nowhere labelled
    ],
)
def test_a_strategy_asks_about_its_own_idea_of_the_hardest_pixel(strategy: Strategy, x: int) -> None:
    by_pixel = [(0.5, 0.5, 0.0, 0.0), (0.4, 0.3, 0.3, 0.0), (0.45, 0.19, 0.18, 0.18), (0.97, 0.01, 0.01, 0.01)]
    probabilities = torch.tensor(by_pixel).T[:, None]

    assert choose(strategy, probabilities, 1) == [(0, x)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_asks_about_as_many_free_pixels_as_wanted_each_once(strategy: Strategy) -> None:
    probabilities = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(1)).softmax(0)
    free = np.zeros((20, 30), bool)
    free[:5, :6] = True

    chosen = choose(strategy, probabilities, 25, free=free)

    assert len(set(chosen)) == 25
    assert all(free[place] for place in chosen)


def test_an_unknown_strategy_is_a_value_error_that_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"no strategy 'guess'; there are random, .*, reco") as refused:
        choose("guess", torch.full((2, 4, 4), 0.5), 1)  # type: ignore[arg-type]

    assert isinstance(refused.value, BadArgument)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_strategy_asks_for_more_than_is_free(strategy: Strategy) -> None:
    probabilities = torch.full((2, 4, 4), 0.5)
    free = np.zeros((4, 4), bool)
    free[1, 2] = True

    assert choose(strategy, probabilities, 3, free=free) == [(1, 2)]
    assert choose(strategy, probabilities, 3, free=~np.ones((4, 4), bool)) == []


def test_pixelpick_draws_at_random_among_the_five_percent_with_the_smallest_margin() -> None:
    first = torch.linspace(0.5, 1.0, 2000).view(1, 40, 50)
    probabilities = torch.cat([first, 1 - first])

    draws = [choose("pixelpick", probabilities, 10, seed=seed) for seed in range(3)]

    assert all(y * 50 + x < 100 for chosen in draws for y, x in chosen)
    assert len({tuple(sorted(chosen)) for chosen in draws}) == 3


def test_reco_asks_in_turn_about_the_classes_that_are_labelled_least() -> None:
    probabilities = torch.full((3, 60, 90), 0.1)
    for index in range(3):
        probabilities[index, :, 30 * index : 30 * (index + 1)] = 0.8

    clicks = np.full((60, 90), 255, np.uint8)
    clicks[0, :9], clicks[0, 9:14], clicks[0, 14:20] = 0, 1, 2

    chosen = choose("reco", probabilities, 3, clicks=clicks)

    assert sorted(x // 30 for _, x in chosen) == [1, 1, 2]


def test_reco_keeps_its_distance_from_other_clicks() -> None:
    probabilities = torch.rand(2, 64, 64, generator=torch.Generator().manual_seed(3)).softmax(0)
    clicks = np.full((64, 64), 255, np.uint8)
    clicks[32, 32] = 0

    chosen = [(32, 32), *choose("reco", probabilities, 8, free=clicks == 255, clicks=clicks)]

    distances = [max(abs(a[0] - b[0]), abs(a[1] - b[1])) for i, a in enumerate(chosen) for b in chosen[:i]]
    assert min(distances) >= 4  # a sixteenth of 64


def test_as_many_pixels_of_each_class_as_an_image_has() -> None:
    truth = np.zeros((6, 6), np.uint8)
    truth[0, :2] = 1
    truth[5, 5] = 254

    chosen = class_pixels(truth, truth < 2, 4, rng())

    assert sorted(truth[tuple(chosen.T)].tolist()) == [0, 0, 0, 0, 1, 1]


# --- which masks are given whole ------------------------------------------------------------------------------


def masks_of(*classes: int) -> list[np.ndarray]:
    """One small mask for each image, all of one class but for a pixel of class 0."""
    masks = [np.full((2, 2), index, np.uint8) for index in classes]
    for mask in masks:
        mask[0, 0] = 0
    return masks


def test_the_masks_that_are_drawn_show_every_class_when_they_can() -> None:
    truths = masks_of(1, 1, 1, 1, 2, 1, 1, 1)

    drawn = [draw_masks(truths, 2, 4, rng(seed)) for seed in range(20)]

    assert all(4 in pair and len(set(pair)) == 2 and pair == sorted(pair) for pair in drawn)
    assert len({tuple(pair) for pair in drawn}) > 3  # the other one is left to chance


def test_masks_that_cannot_show_every_class_show_as_many_as_they_can() -> None:
    truths = masks_of(254, 1, 2, 3, 254)

    for seed in range(5):
        assert len({1, 2, 3} & set(draw_masks(truths, 2, 4, rng(seed)))) == 2


def test_the_seed_decides_which_masks_are_drawn() -> None:
    truths = masks_of(*[1] * 30)

    assert draw_masks(truths, 5, 2, rng(1)) == draw_masks(truths, 5, 2, rng(1)) != draw_masks(truths, 5, 2, rng(2))
