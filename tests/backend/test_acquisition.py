"""Which pixels are asked about, worked out by hand. The images are 200 x 200, so questions keep 8 pixels apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from recolabel.acquisition import (
    BATCH,
    DRAWN_PER_IMAGE,
    AskableImage,
    ImageNeed,
    Proposal,
    Queue,
    draw_evenly,
    inner_proposals,
    is_random,
    mix_images,
    queue_of_start,
    queue_of_strategy,
    spacing_px,
    spread_positions,
)
from recolabel.contract.labels import Pixel
from recolabel.contract.projects import Strategy
from recolabel.contract.questions import Candidate

Point = tuple[int, int]
Proposed = tuple[int, int, int, float]  # x, y, guess, margin


def image(asked: Sequence[Point] = (), prediction: NDArray[np.uint8] | None = None, side: int = 200) -> AskableImage:
    """An image in which these pixels (y, x) were asked about."""
    taken = np.zeros((side, side), dtype=np.bool_)
    for y, x in asked:
        taken[y, x] = True
    return AskableImage(taken, list(asked), prediction, seed="an image")


def candidate(x: int, y: int = 100, guess: int = 0, **numbers: float | None) -> Candidate:
    return Candidate(pixel=Pixel(x=x, y=y), guess=guess, **{"confidence": 0.5, "margin": 0.5, **numbers})


def taken_out(queue: Queue, *, at_borders: bool = False) -> list[Proposal]:
    return list(iter(lambda: queue.take(at_borders=at_borders), None))


def columns(queue: Queue, *, at_borders: bool = False) -> list[int]:
    return [proposal.x for proposal in taken_out(queue, at_borders=at_borders)]


# --- strategies -----------------------------------------------------------------------------------------------

# Five pixels of a map, their numbers such that each strategy has an order of its own. Sorting the wrong way round,
# by another number, or not at all (a shuffle), gives another one.
FIVE = [
    candidate(10, confidence=0.50, margin=0.30, entropy=0.40, guess=0),
    candidate(30, confidence=0.40, margin=0.20, entropy=0.70, guess=1),
    candidate(50, confidence=0.45, margin=0.05, entropy=0.50, guess=0),
    candidate(70, confidence=0.35, margin=0.10, entropy=0.90, guess=0),
    candidate(90, confidence=0.90, margin=0.85, entropy=0.10, guess=2),
]
ORDERS: list[tuple[Strategy, list[int]]] = [
    ("least-confidence", [70, 30, 50, 10, 90]),
    ("margin", [50, 70, 30, 10, 90]),
    ("entropy", [70, 30, 50, 10, 90]),
    ("pixelpick", [50, 70, 30, 10, 90]),  # 5 % of five is one: nothing to draw among
    ("reco", [50, 30, 90, 70, 10]),  # guesses 0, 1, 2 in turn, then 0 twice
]


@pytest.mark.parametrize(("strategy", "expected"), ORDERS, ids=[order[0] for order in ORDERS])
@pytest.mark.parametrize("turned", [False, True], ids=["as proposed", "proposed backwards"])
def test_each_strategy_has_exactly_its_order(strategy: Strategy, expected: list[int], turned: bool) -> None:
    candidates = FIVE[::-1] if turned else FIVE

    assert columns(queue_of_strategy(strategy, image(), candidates)) == expected


def test_entropy_and_least_confidence_are_two_things() -> None:
    # Three classes: 0.5, 0.5, 0 against 0.55, 0.225, 0.225
    pair = [candidate(10, confidence=0.5, entropy=0.631), candidate(30, confidence=0.55, entropy=0.907)]

    assert columns(queue_of_strategy("least-confidence", image(), pair)) == [10, 30]
    assert columns(queue_of_strategy("entropy", image(), pair)) == [30, 10]


def test_a_candidate_without_entropy_comes_last_by_its_margin() -> None:
    candidates = [
        candidate(10, margin=0.9),
        candidate(30, margin=0.1),
        candidate(50, margin=0.95, entropy=0.0),
    ]

    assert columns(queue_of_strategy("entropy", image(), candidates)) == [50, 30, 10]


def test_pixelpick_draws_among_the_hardest_twentieth_and_nowhere_else() -> None:
    # Given 100 candidates whose margin rises with y, then x, of which five are the hardest twentieth
    candidates = [candidate(x * 19 + 5, y * 19 + 5, margin=(10 * y + x) / 100) for y in range(10) for x in range(10)]
    hardness = {(each.pixel.y, each.pixel.x): rank for rank, each in enumerate(candidates)}

    order = [hardness[each.y, each.x] for each in taken_out(queue_of_strategy("pixelpick", image(), candidates))]

    # Each is one of the five hardest that were left, but they do not simply come one after the other
    left = list(range(100))
    for rank in order:
        assert rank in left[:5]
        left.remove(rank)
    assert order != sorted(order)
    assert left == []


def test_random_pixels_come_in_the_order_of_the_draw_and_cover_the_image() -> None:
    drawn = taken_out(queue_of_strategy("random", image(), FIVE))
    again = taken_out(queue_of_strategy("random", image(), []))

    assert [(each.y, each.x) for each in drawn] == [(each.y, each.x) for each in again]
    assert len(drawn) > DRAWN_PER_IMAGE / 2
    quarters = Counter((each.y // 100, each.x // 100) for each in drawn)
    assert min(quarters.values()) > 20


# --- reco, in detail ------------------------------------------------------------------------------------------

# remark, candidates, asked pixels (y, x), the x of the questions in order. All candidates lie on row 100.
CASES: list[tuple[str, list[Proposed], list[Point], list[int]]] = [
    ("nothing proposed", [], [], []),
    ("the smallest margin first", [(10, 100, 0, 0.5), (50, 100, 0, 0.1), (90, 100, 0, 0.3)], [], [50, 90, 10]),
    ("equal margins from left to right", [(90, 100, 0, 0.2), (10, 100, 0, 0.2)], [], [10, 90]),
    (
        "guesses take turns: 0 has the smallest margin, then 1 and 2 follow before 0 is asked again",
        [(10, 100, 0, 0.1), (30, 100, 0, 0.2), (50, 100, 1, 0.8), (70, 100, 2, 0.9), (90, 100, 1, 0.95)],
        [],
        [10, 50, 70, 30, 90],
    ),
    ("7 pixels from a better one is too near", [(10, 100, 0, 0.1), (17, 100, 0, 0.2)], [], [10]),
    ("8 pixels are far enough", [(10, 100, 0, 0.1), (18, 100, 0, 0.2)], [], [10, 18]),
    ("6 across and 5 down (7.8) from an answer is too near", [(10, 100, 0, 0.1)], [(105, 16)], []),
    ("6 across and 6 down (8.5) from an answer is far enough", [(10, 100, 0, 0.1)], [(106, 16)], [10]),
    (
        "guess 0 was asked at x = 10 already, so guess 1 is next",
        [(10, 100, 0, 0.1), (50, 100, 0, 0.2), (90, 100, 1, 0.9)],
        [(100, 10)],
        [90, 50],
    ),
    (
        "a candidate that falls out for its neighbour does not use up its guess's turn",
        [(10, 100, 0, 0.1), (12, 100, 1, 0.2), (90, 100, 1, 0.9), (60, 100, 0, 0.3)],
        [],
        [10, 90, 60],
    ),
    ("outside the image", [(200, 100, 0, 0.1)], [], []),
]


def reco_queue(proposed: list[Proposed], asked: Sequence[Point], prediction: NDArray[np.uint8] | None = None) -> Queue:
    candidates = [candidate(x, y, guess, margin=margin) for x, y, guess, margin in proposed]
    return queue_of_strategy("reco", image(asked, prediction), candidates)


@pytest.mark.parametrize(("remark", "proposed", "asked", "expected"), CASES, ids=[case[0] for case in CASES])
def test_reco_asks_in_the_order_worked_out_by_hand(
    remark: str, proposed: list[Proposed], asked: list[Point], expected: list[int]
) -> None:
    assert columns(reco_queue(proposed, asked)) == expected


def test_asking_one_at_a_time_gives_the_same_order_as_asking_for_all() -> None:
    asked: list[Point] = []
    for _ in range(5):
        question = reco_queue(CASES[3][1], asked).take()
        assert question is not None
        asked.append((question.y, question.x))

    assert [x for _, x in asked] == CASES[3][3]


def test_turns_are_counted_by_what_the_newest_map_says_of_the_pixels_that_were_asked_about() -> None:
    # Given two answers in a part that the newest map gives to class 0, none of them a candidate any more
    prediction = np.zeros((200, 200), dtype=np.uint8)
    prediction[:, 100:] = 1

    queue = reco_queue(
        [(40, 100, 0, 0.1), (120, 100, 1, 0.9), (140, 100, 1, 0.8), (160, 100, 1, 0.95)],
        [(10, 10), (30, 10)],
        prediction,
    )

    assert columns(queue) == [140, 120, 40, 160]


# --- borders --------------------------------------------------------------------------------------------------


def test_within_two_pixels_of_a_predicted_border_nothing_is_asked_until_nothing_else_is_left() -> None:
    # Given a border between the columns 99 and 100: the columns 98 to 101 are near it
    prediction = np.zeros((200, 200), dtype=np.uint8)
    prediction[:, 100:] = 1
    candidates = [
        candidate(98, 10, 0, margin=0.0),
        candidate(97, 40, 0, margin=0.1),
        candidate(101, 70, 1, margin=0.0),
        candidate(102, 100, 1, margin=0.1),
    ]

    queue = queue_of_strategy("margin", image(prediction=prediction), candidates)

    assert columns(queue) == [97, 102]
    assert columns(queue, at_borders=True) == [98, 101]


def test_a_class_that_is_thin_everywhere_is_asked_about_all_the_same_and_the_edge_is_no_border() -> None:
    prediction = np.zeros((200, 200), dtype=np.uint8)
    prediction[:, 50:53] = 1  # a pole three pixels wide
    pole, beside, corner = Proposal(100, 51, 0), Proposal(100, 48, 0), Proposal(0, 0, 0)

    assert inner_proposals(prediction, [pole, beside, corner]) == {pole, corner}


@pytest.mark.parametrize(
    ("height", "width", "pixels", "remark"),
    [(360, 480, 8, "usual"), (128, 500, 8, "just"), (64, 64, 4, "small"), (16, 90, 1, "tiny"), (1, 1, 1, "one pixel")],
)
def test_questions_may_be_closer_on_tiny_images(height: int, width: int, pixels: int, remark: str) -> None:
    assert spacing_px(height, width) == pixels


# --- the start ------------------------------------------------------------------------------------------------


def test_at_the_start_parts_of_an_unseen_image_take_turns() -> None:
    queue = queue_of_start(image(asked=[(10, 10)]), {})

    parts = [(each.y // 50, each.x // 50) for each in islice(iter(queue.take, None), 16)]

    assert set(parts[:15]) == {(row, column) for row in range(4) for column in range(4)} - {(0, 0)}


def test_at_the_start_predicted_classes_take_turns_the_one_with_fewest_labels_first() -> None:
    prediction = np.zeros((200, 200), dtype=np.uint8)
    prediction[:40, :40] = 3  # a fiftieth and less of the image
    prediction[180:, 180:] = 7

    queue = queue_of_start(image(asked=[(100, 100)], prediction=prediction), {0: 1, 3: 9, 7: 2})
    questions = list(islice(iter(queue.take, None), 6))

    assert [prediction[each.y, each.x] for each in questions] == [7, 3, 0, 7, 3, 0]


def test_start_questions_keep_their_distance_and_hang_on_the_image_alone() -> None:
    for prediction in (None, np.zeros((40, 40), dtype=np.uint8)):
        points, again = (
            [(each.y, each.x) for each in taken_out(queue_of_start(image(prediction=prediction, side=40), {}))]
            for _ in range(2)
        )

        assert points == again
        assert len(points) > 16
        assert all(
            (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 >= spacing_px(40, 40) ** 2
            for index, a in enumerate(points)
            for b in points[:index]
        )


def test_the_first_images_of_a_project_lie_far_apart_in_it() -> None:
    assert spread_positions(8, 64) == [0, 4, 2, 6, 1, 5, 3, 7]
    assert sorted(spread_positions(41, 64)) == list(range(41))
    assert spread_positions(1_000, 4) == [0, 500, 250, 750]
    assert spread_positions(0, 4) == []


# --- which image ----------------------------------------------------------------------------------------------


def mixed(first: ImageNeed | None, stay: int, *images: ImageNeed, each: int = 100) -> str:
    """The images of the questions in order, every image with so many pixels to ask about."""

    def open_queue(_: str) -> Queue:
        return Queue(image(side=400), [Proposal(9 * (i // 40), 9 * (i % 40), rank=i) for i in range(each)])

    return "".join(image_id for image_id, _ in islice(mix_images(iter(images), first, stay, open_queue), 40))


def test_images_are_asked_about_in_batches_in_proportion_to_uncertainty() -> None:
    order = mixed(None, 0, ImageNeed("a", 0.6, 0), ImageNeed("b", 0.3, 0), ImageNeed("c", 0.04, 0))

    assert order.startswith("aaaaabbbbbaaaaa")
    assert Counter(order)["a"] in range(20, 27)
    assert Counter(order)["b"] in range(10, 16)
    assert Counter(order)["c"] == BATCH


def test_the_image_on_screen_comes_first_until_its_batch_is_full_and_another_needs_more() -> None:
    others = (ImageNeed("b", 0.5, 0), ImageNeed("c", 0.4, 3))

    assert mixed(ImageNeed("a", 0.1, 20), 3, *others).startswith("aaabbbbb")
    assert mixed(ImageNeed("a", 0.1, 20), 0, *others).startswith("bbbbb")
    assert mixed(ImageNeed("a", 0.9, 0), 1, ImageNeed("b", 0.1, 0)).startswith("aaaaaaaaa")


def test_an_image_with_many_labels_waits_behind_one_without() -> None:
    assert mixed(None, 0, ImageNeed("new", 0.2, 0), ImageNeed("old", 0.5, 9)).startswith("new" * BATCH + "old")


def test_an_empty_image_hands_over_and_no_image_is_asked_twice_as_the_same() -> None:
    first = ImageNeed("a", 0.1, 0)

    assert sorted(mixed(first, 5, ImageNeed("b", 0.9, 0), ImageNeed("a", 0.1, 0), each=3)) == list("aaabbb")
    assert mixed(None, 0) == ""


def test_images_are_looked_at_only_as_far_as_needed() -> None:
    looked_at = []

    def images() -> Iterator[ImageNeed]:
        for number in range(1_000):
            looked_at.append(number)
            yield ImageNeed(str(number), 1 / (1 + number), 0)

    list(islice(mix_images(images(), None, 0, lambda _: Queue(image(), [Proposal(9, 9, 0)])), 3))

    assert len(looked_at) < 8


# --- by chance ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_random_questions_is_the_same_whatever_number_is_asked_for(share: float) -> None:
    count = sum(is_random("a project", position, share) for position in range(20_000))

    assert count == pytest.approx(20_000 * share, abs=4 * (20_000 * share * (1 - share)) ** 0.5)


def chi_square(counts: Sequence[int], expected: Sequence[float]) -> float:
    return sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))


def first_draws(sizes: dict[int, tuple[int, int]], draws: int) -> list[tuple[int, int, int]]:
    largest = max(height * width for height, width in sizes.values())
    everything = [(number, *size) for number, size in sizes.items()]
    return [
        next(draw_evenly("seed", position, max(sizes) + 1, largest, sizes.get, lambda: everything))
        for position in range(draws)
    ]


@pytest.mark.parametrize(
    ("sizes", "remark"),
    [
        ({0: (4, 3), 1: (6, 12), 3: (2, 6), 4: (4, 6)}, "a number without an image, four sizes: drawn and kept or not"),
        ({0: (2, 3), 1: (1, 6), 2: (400, 300)}, "tiny ones beside a large one"),
        ({0: (1, 2), 5_000: (2, 2)}, "most numbers without an image: sizes are added up"),
    ],
)
def test_every_pixel_of_every_image_is_as_likely(sizes: dict[int, tuple[int, int]], remark: str) -> None:
    # 99.9 % of fair samples stay below these values of chi-square with that many degrees of freedom
    limit = {1: 10.83, 2: 13.82, 3: 16.27, 5: 20.52, 119: 173.6}
    draws = 4_000
    drawn = first_draws(sizes, draws)

    areas = {number: height * width for number, (height, width) in sizes.items()}
    total = sum(areas.values())
    by_image = Counter(number for number, _, _ in drawn)
    expected = [draws * area / total for area in areas.values()]
    if min(expected) > 1:
        assert chi_square([by_image[number] for number in areas], expected) < limit[len(sizes) - 1]

    if total == 120:
        by_pixel = Counter(drawn)
        cells = [(n, y, x) for n, (height, width) in sizes.items() for y in range(height) for x in range(width)]
        assert chi_square([by_pixel[cell] for cell in cells], [draws / total] * total) < limit[total - 1]
    assert all(y < sizes[number][0] and x < sizes[number][1] for number, y, x in drawn)


def test_where_one_image_is_huge_the_small_ones_are_still_drawn_in_proportion() -> None:
    # Given a hundred images of 4 x 4 and one of 400 x 400, which is 99 % of all pixels
    sizes = dict.fromkeys(range(100), (4, 4)) | {100: (400, 400)}

    small = sum(number < 100 for number, _, _ in first_draws(sizes, 2_000))

    assert small == pytest.approx(2_000 * 1_600 / 161_600, abs=3.3 * (2_000 * 0.0099) ** 0.5)


def test_draws_go_on_and_differ() -> None:
    draws = list(islice(draw_evenly("seed", 7, 1, 10_000, {0: (100, 100)}.get, lambda: [(0, 100, 100)]), 5))

    assert len(set(draws)) == 5
    assert all(before != after for before, after in pairwise(draws))
