"""Which pixels are asked about, worked out by hand. The images are 200 x 200, so questions keep 8 pixels apart."""

from __future__ import annotations

import numpy as np
import pytest

from recolabel.acquisition import ImageCandidates, choose_questions, spacing_px, spread_pixels
from recolabel.contract.labels import Pixel
from recolabel.contract.questions import Candidate

Proposal = tuple[int, int, int, float]  # x, y, guess, margin

# remark, candidates, labelled pixels (y, x), the x of the questions in order. All candidates lie on row 100.
CASES: list[tuple[str, list[Proposal], list[tuple[int, int]], list[int]]] = [
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
    ("6 across and 5 down (7.8) from a label is too near", [(10, 100, 0, 0.1)], [(105, 16)], []),
    ("6 across and 6 down (8.5) from a label is far enough", [(10, 100, 0, 0.1)], [(106, 16)], [10]),
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


def image(name: str, proposals: list[Proposal], labelled: list[tuple[int, int]] | None = None) -> ImageCandidates:
    spoken = np.zeros((200, 200), dtype=np.bool_)
    for y, x in labelled or []:
        spoken[y, x] = True
    candidates = [
        Candidate(pixel=Pixel(x=x, y=y), guess=guess, confidence=0.5, margin=margin)
        for x, y, guess, margin in proposals
    ]
    return ImageCandidates(image_id=name, candidates=candidates, labelled=spoken)


@pytest.mark.parametrize(("remark", "proposals", "labelled", "expected"), CASES, ids=[case[0] for case in CASES])
def test_questions_come_in_the_order_worked_out_by_hand(
    remark: str, proposals: list[Proposal], labelled: list[tuple[int, int]], expected: list[int]
) -> None:
    chosen = choose_questions([image("a", proposals, labelled)], limit=10)

    assert [choice.candidate.pixel.x for choice in chosen] == expected


def test_asking_one_at_a_time_gives_the_same_order_as_asking_for_all() -> None:
    proposals = CASES[3][1]

    labelled: list[tuple[int, int]] = []
    for _ in proposals:
        [choice] = choose_questions([image("a", proposals, labelled)], limit=1)
        labelled.append((choice.candidate.pixel.y, choice.candidate.pixel.x))

    assert [x for _, x in labelled] == CASES[3][3]


def test_the_first_image_is_exhausted_before_the_second_and_no_more_than_the_limit_is_chosen() -> None:
    images = [image("a", [(10, 9, 0, 0.9), (50, 9, 0, 0.8)]), image("b", [(10, 9, 0, 0.1), (50, 9, 0, 0.2)])]

    chosen = choose_questions(images, limit=3)

    assert [(choice.image_id, choice.candidate.margin) for choice in chosen] == [("a", 0.8), ("a", 0.9), ("b", 0.1)]


@pytest.mark.parametrize(
    ("height", "width", "pixels", "remark"),
    [(360, 480, 8, "usual"), (128, 500, 8, "just"), (64, 64, 4, "small"), (16, 90, 1, "tiny"), (1, 1, 1, "one pixel")],
)
def test_questions_may_be_closer_on_tiny_images(height: int, width: int, pixels: int, remark: str) -> None:
    assert spacing_px(height, width) == pixels


def test_random_questions_keep_their_distance_and_depend_on_the_seed_alone() -> None:
    labelled = np.zeros((40, 40), dtype=np.bool_)
    labelled[:, :20] = True

    pixels = spread_pixels(labelled, 5, np.random.default_rng(1))

    assert pixels == spread_pixels(labelled, 5, np.random.default_rng(1))
    assert 1 <= len(pixels) <= 5
    assert all(x - 19 >= spacing_px(40, 40) for _, x in pixels)
    assert spread_pixels(np.ones((3, 3), dtype=np.bool_), 5, np.random.default_rng(1)) == []
