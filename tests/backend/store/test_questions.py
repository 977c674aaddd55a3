"""Questions come from the newest maps, and know the newest labels."""

from __future__ import annotations

import random

import pytest

from recolabel.contract.labels import Pixel
from recolabel.contract.questions import Candidate
from recolabel.errors import ImageNotFound, ProjectNotFound
from recolabel.store import Store
from tests.backend.store.conftest import Clock
from tests.backend.store.street import Street, new_uuid


def candidate(x: int, y: int, guess: int, margin: float) -> Candidate:
    return Candidate(pixel=Pixel(x=x, y=y), guess=guess, second_guess=1 - guess, confidence=0.5, margin=margin)


def draw(street: Street, clock: Clock) -> None:
    """Maps of both images; the second is the more uncertain one."""
    lease = street.claim_started(clock)
    for image, confidence, candidates in [
        (street.first, 200, [candidate(20, 20, 0, 0.1), candidate(30, 5, 1, 0.3)]),
        (street.second, 100, [candidate(10, 10, 1, 0.2)]),
    ]:
        upload = street.map_of(image, *candidates, confidence=confidence)
        street.store.images.add_map(lease.job.job_id, lease.fence, upload)


def asked(street: Street, image_id: str | None) -> list[tuple[str, int, int]]:
    page = street.store.questions.next(street.project_id, image_id, 10, random.Random(0))
    return [(question.image_name, question.pixel.x, question.pixel.y) for question in page.questions]


def test_the_image_on_screen_is_asked_about_first_then_the_most_uncertain(street: Street, clock: Clock) -> None:
    draw(street, clock)

    first, second = [("first.png", 20, 20), ("first.png", 30, 5)], [("second.png", 10, 10)]
    assert asked(street, street.first.image_id) == first + second
    assert asked(street, None) == second + first


def test_an_answered_question_is_not_asked_again(street: Street, clock: Clock) -> None:
    draw(street, clock)

    street.append(street.click(street.car, 20, 20))

    assert asked(street, street.first.image_id) == [("first.png", 30, 5), ("second.png", 10, 10)]


def test_the_same_pixel_of_the_same_map_is_the_same_question(street: Street, clock: Clock) -> None:
    draw(street, clock)

    pages = [street.store.questions.next(street.project_id, None, 3, random.Random(seed)) for seed in range(2)]

    assert pages[0] == pages[1]
    assert len({question.question_id for question in pages[0].questions}) == 3
    assert (pages[0].questions[0].guess, pages[0].questions[0].second_guess) == (street.car, street.road)


def test_before_any_model_the_questions_are_random_pixels_without_a_guess(street: Street) -> None:
    page = street.store.questions.next(street.project_id, street.second.image_id, 5, random.Random(0))

    assert len(page.questions) == 5
    assert {(question.image_id, question.guess) for question in page.questions} == {(street.second.image_id, None)}


def test_when_nothing_is_left_to_ask_the_page_says_so(street: Street, clock: Clock) -> None:
    draw(street, clock)
    street.append(
        street.click(street.car, 20, 20),
        street.click(street.car, 30, 5),
        street.click(street.car, 10, 10, image=street.second),
    )

    page = street.store.questions.next(street.project_id, None, 5, random.Random(0))

    assert page.questions == []
    assert "Nothing is left" in (page.note or "")


def test_an_image_of_another_project_is_not_asked_about(store: Store, street: Street) -> None:
    other = Street(store, name="Other")

    with pytest.raises(ImageNotFound):
        store.questions.next(street.project_id, other.first.image_id, 1, random.Random(0))
    with pytest.raises(ProjectNotFound):
        store.questions.next(new_uuid(), None, 1, random.Random(0))
