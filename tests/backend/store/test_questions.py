"""Questions come from the newest maps, and know the newest labels and skips."""

from __future__ import annotations

import uuid
from collections import Counter

import numpy as np
import pytest

from recolabel.contract.images import ImageInfo
from recolabel.contract.labels import ClickEvent, Pixel
from recolabel.contract.projects import ClassPatch, NewLabelClass, ProjectPatch, SettingsPatch
from recolabel.contract.questions import Candidate, Question, QuestionPage, SkippedQuestion
from recolabel.errors import BadArgument, ImageNotFound, ImageReplaced, OutsideImage, ProjectNotFound
from recolabel.labels.fold import VOID_INDEX
from recolabel.store import NewImage, Store
from recolabel.store.questions import point_of, question_id_of
from tests.backend.store.conftest import Clock
from tests.backend.store.street import HEIGHT, WIDTH, Street, new_uuid

ASKED_FOR = [("first.png", 20, 20), ("first.png", 30, 5)], [("second.png", 10, 10)]


def candidate(x: int, y: int, guess: int, margin: float) -> Candidate:
    return Candidate(pixel=Pixel(x=x, y=y), guess=guess, second_guess=1 - guess, confidence=0.5, margin=margin)


def tune(street: Street, **settings: object) -> None:
    patch = ProjectPatch(settings=SettingsPatch.model_validate(settings))
    street.store.projects.patch(street.project_id, patch)


def draw(street: Street, clock: Clock, *, labels: int = 4, random_share: float = 0.0) -> None:
    """Maps of both images, enough labels in a third one that the start is over; the second is the more uncertain."""
    tune(street, random_share=random_share)
    elsewhere = street.add_image("elsewhere.png")
    street.append(
        *(street.click(uid, x, 0, elsewhere) for uid in (street.road, street.car) for x in range(labels)),
    )
    lease = street.claim_started(clock)
    for image, confidence, candidates in [
        (street.first, 200, [candidate(20, 20, 0, 0.1), candidate(30, 5, 0, 0.3)]),
        (street.second, 100, [candidate(10, 10, 1, 0.2)]),
    ]:
        upload = street.map_of(image, *candidates, confidence=confidence)
        street.store.images.add_map(lease.job.job_id, lease.fence, upload)


def ask(street: Street, image_id: str | None = None, limit: int = 10, under_way: tuple[str, ...] = ()) -> QuestionPage:
    return street.store.questions.next(street.project_id, image_id, limit, under_way=under_way, annotator_id="ann")


def asked(street: Street, image_id: str | None) -> list[tuple[str, int, int]]:
    return [(each.image_name, each.pixel.x, each.pixel.y) for each in ask(street, image_id).questions]


def keep_truth(street: Street, image: ImageInfo) -> None:
    mask = np.zeros((image.height, image.width), np.uint8)
    street.store.ground_truth.put(image.image_id, image.sha256, mask, [street.road, street.car])


def answer(street: Street, question: Question, class_uid: str | None = None) -> ClickEvent:
    image = street.store.images.get(question.image_id)
    click = street.click(
        class_uid or street.road,
        question.pixel.x,
        question.pixel.y,
        image,
        question_id=question.question_id,
        asked=question.asked,
    )
    street.append(click)
    return click


def skip(street: Street, question: Question, annotator: str = "ann") -> None:
    street.store.questions.skip(
        street.project_id,
        question.question_id,
        SkippedQuestion(image_id=question.image_id, pixel=question.pixel),
        annotator,
    )


# --- guided ---------------------------------------------------------------------------------------------------


def test_the_image_on_screen_is_asked_about_first_then_the_neediest(street: Street, clock: Clock) -> None:
    draw(street, clock)

    first, second = ASKED_FOR
    assert asked(street, street.first.image_id) == first + second
    assert asked(street, None) == second + first


def test_an_answered_question_is_not_asked_again(street: Street, clock: Clock) -> None:
    draw(street, clock)

    answer(street, ask(street, street.first.image_id).questions[0])

    assert asked(street, street.first.image_id) == [("first.png", 30, 5), ("second.png", 10, 10)]


def test_asking_changes_nothing_and_one_at_a_time_gives_the_same_as_many(street: Street, clock: Clock) -> None:
    draw(street, clock, random_share=0.3)
    page = ask(street, street.first.image_id, limit=8)

    assert ask(street, street.first.image_id, limit=8) == page
    assert ask(street, street.first.image_id, limit=3).questions == page.questions[:3]
    held: list[Question] = []
    for _ in range(len(page.questions)):
        held += ask(street, street.first.image_id, 1, tuple(each.question_id for each in held)).questions
    assert [each.question_id for each in held] == [each.question_id for each in page.questions]


def test_questions_under_way_are_not_asked_again_whatever_map_comes_meanwhile(street: Street, clock: Clock) -> None:
    draw(street, clock)
    held = ask(street, street.first.image_id, limit=1).questions[0]

    # When a new map no longer proposes that pixel, but its neighbours
    job = street.store.jobs.list(street.project_id, 1)[0]
    upload = street.map_of(street.first, candidate(20, 20, 0, 0.0), candidate(30, 6, 0, 0.3))
    street.store.images.add_map(job.job_id, 1, upload)

    again = ask(street, street.first.image_id, under_way=(held.question_id,)).questions
    assert [(each.pixel.x, each.pixel.y) for each in again] == [(30, 6), (10, 10)]
    assert ask(street, street.first.image_id, limit=1).questions[0].question_id == held.question_id


def test_a_questions_id_tells_its_pixel_and_its_picture() -> None:
    ids = {
        question_id_of(image, sha256, y, x)
        for image in (new_uuid(), new_uuid())
        for sha256 in ("a" * 64, "b" * 64)
        for y, x in ((0, 0), (32_767, 1), (1, 32_767))
    }

    assert len(ids) == 12
    assert {point_of(each) for each in ids} == {(0, 0), (32_767, 1), (1, 32_767)}
    assert {uuid.UUID(each).version for each in ids} == {8}


@pytest.mark.parametrize("strategy", ["random", "least-confidence", "margin", "entropy", "pixelpick", "reco"])
def test_every_strategy_asks_and_gives_guesses(street: Street, clock: Clock, strategy: str) -> None:
    draw(street, clock)
    tune(street, strategy=strategy)

    questions = ask(street, street.first.image_id, limit=2).questions

    assert [(each.image_id, each.asked) for each in questions] == 2 * [(street.first.image_id, "guided")]
    assert all(each.guess in (street.road, street.car) and each.confidence is not None for each in questions)


def test_a_map_whose_file_is_gone_still_has_its_candidates(street: Street, clock: Clock) -> None:
    draw(street, clock)
    for file in street.store.blobs.root.rglob("*"):
        if file.is_file():
            file.unlink()

    assert asked(street, None) == ASKED_FOR[1] + ASKED_FOR[0]
    tune(street, random_share=1.0)
    assert ask(street, limit=1).questions[0].guess is None


def test_when_nothing_is_left_to_ask_the_page_says_so(street: Street, clock: Clock) -> None:
    draw(street, clock)
    for question in ask(street).questions:
        answer(street, question)

    page = ask(street)

    assert page.questions == []
    assert "Nothing is left" in (page.note or "")


# --- start ----------------------------------------------------------------------------------------------------


def test_before_any_model_the_questions_are_spread_pixels_without_a_guess(street: Street) -> None:
    tune(street, random_share=0.0)

    page = ask(street, street.second.image_id, limit=7)

    assert [each.image_name for each in page.questions] == 5 * ["second.png"] + 2 * ["first.png"]
    assert {(each.guess, each.model_version, each.asked) for each in page.questions} == {(None, None, "guided")}
    parts = [(4 * each.pixel.y // HEIGHT, 4 * each.pixel.x // WIDTH) for each in page.questions[:5]]
    assert len(set(parts)) == 5


def test_with_few_labels_the_questions_are_random_pixels_of_each_predicted_class(street: Street, clock: Clock) -> None:
    draw(street, clock, labels=1)
    for name in ("tree", "sky", "sign"):  # five classes by now, and four labels
        street.store.projects.add_class(street.project_id, NewLabelClass(name=name))

    questions = ask(street, street.first.image_id, limit=3).questions

    assert {each.guess for each in questions} == {street.road}  # the whole map says road
    assert not {(20, 20), (30, 5)} & {(each.pixel.x, each.pixel.y) for each in questions}
    assert questions[0].why.endswith("a random pixel where the model sees road.")


def test_a_project_without_an_image_says_so(store: Store, street: Street) -> None:
    for image in (street.first, street.second):
        store.images.remove(image.image_id)

    page = ask(street)

    assert (page.questions, page.note) == ([], "There is no image yet.")


# --- random ---------------------------------------------------------------------------------------------------


def test_random_questions_are_drawn_from_all_images_and_say_so(street: Street, clock: Clock) -> None:
    draw(street, clock, random_share=1.0)

    questions = ask(street, street.first.image_id, limit=60).questions

    assert {each.asked for each in questions} == {"random"}
    assert len({each.question_id for each in questions}) == 60
    by_image = Counter(each.image_name for each in questions)
    assert set(by_image) == {"first.png", "second.png", "elsewhere.png"}
    guesses = {each.image_name: (each.guess, each.confidence) for each in questions}
    assert guesses["first.png"] == (street.road, 200 / 255)
    assert guesses["elsewhere.png"] == (None, None)  # no map of it yet


def test_random_pixels_are_uniform_over_images_of_different_sizes(store: Store, street: Street) -> None:
    # Given images of 1,200, 1,200, 300 and 30 pixels, and one that was removed
    tune(street, random_share=1.0)
    sizes = {"first.png": 1_200, "second.png": 1_200}
    for name, width, height in (("small.png", 20, 15), ("tiny.png", 6, 5), ("gone.png", 100, 100)):
        pixels = street.pixels(name)
        resized = NewImage(width, height, pixels.sha256, pixels.original, pixels.canonical, pixels.thumbnail)
        added = store.images.add(street.project_id, name, resized).image
        sizes[name] = width * height
    store.images.remove(added.image_id)
    del sizes["gone.png"]

    drawn = [question for page in range(8) for question in ask_at(street, page * 100)]

    # 99.9 % of fair samples stay below 16.27 (three degrees of freedom)
    by_image = Counter(question.image_name for question in drawn)
    expected = {name: len(drawn) * area / sum(sizes.values()) for name, area in sizes.items()}
    assert set(by_image) <= set(expected)
    assert sum((by_image[name] - wanted) ** 2 / wanted for name, wanted in expected.items()) < 16.27
    quarters = Counter((2 * q.pixel.y // HEIGHT, 2 * q.pixel.x // WIDTH) for q in drawn if q.image_name == "first.png")
    wanted = sum(quarters.values()) / 4
    assert sum((count - wanted) ** 2 / wanted for count in quarters.values()) < 16.27


def ask_at(street: Street, position: int) -> list[Question]:
    """A page further down the stream: ids of pictures that are not here move it on."""
    elsewhere = tuple(question_id_of(new_uuid(), "0" * 64, 0, 0) for _ in range(position))
    return ask(street, limit=100, under_way=elsewhere).questions


def test_the_random_share_holds_for_single_questions(street: Street, clock: Clock) -> None:
    draw(street, clock, random_share=0.25)

    drawn = 0
    for _ in range(120):
        questions = ask(street, limit=1).questions
        if not questions:  # the few candidates are used up, so a guided turn has nothing to ask
            street.append(street.click(street.road, 39, 29))
            continue
        drawn += questions[0].asked == "random"
        answer(street, questions[0])

    assert 30 - 15 <= drawn <= 30 + 15  # three standard deviations


def test_a_pixel_that_is_labelled_is_not_drawn(street: Street) -> None:
    tune(street, random_share=1.0)
    street.append(street.stroke(street.road, *((16 * 20, 16 * y) for y in range(30)), radius=16 * 30))

    questions = ask(street, limit=50).questions

    assert {each.image_name for each in questions} == {"second.png"}


def test_the_click_that_answers_keeps_how_its_pixel_was_chosen(street: Street) -> None:
    tune(street, random_share=1.0)
    question = ask(street, limit=1).questions[0]

    click = answer(street, question)

    [stored] = street.store.labels.of_image(question.image_id).events
    assert stored.event == click
    assert (click.asked, click.question_id) == ("random", question.question_id)


# --- skips ----------------------------------------------------------------------------------------------------


def test_a_skipped_pixel_is_not_asked_again_by_anybody_until_the_skip_is_taken_back(
    street: Street, clock: Clock
) -> None:
    draw(street, clock)
    question = ask(street, street.first.image_id).questions[0]

    skip(street, question)
    skip(street, question)  # a retry
    skip(street, question, annotator="bo")

    assert asked(street, street.first.image_id) == [("first.png", 30, 5), ("second.png", 10, 10)]
    street.store.questions.take_back_skip(street.project_id, question.question_id, "ann")
    assert len(asked(street, None)) == 2  # bo cannot tell either
    street.store.questions.take_back_skip(street.project_id, question.question_id, "bo")
    street.store.questions.take_back_skip(street.project_id, question.question_id, "bo")
    assert asked(street, street.first.image_id)[0] == ("first.png", 20, 20)


def test_a_skip_that_does_not_fit_is_refused(store: Store, street: Street) -> None:
    question = ask(street, limit=1).questions[0]
    body = SkippedQuestion(image_id=question.image_id, pixel=question.pixel)
    other = Street(store, name="Other")

    for project_id, question_id, skipped, error in [
        (new_uuid(), question.question_id, body, ProjectNotFound),
        (
            street.project_id,
            question.question_id,
            SkippedQuestion(image_id=new_uuid(), pixel=body.pixel),
            ImageNotFound,
        ),
        (other.project_id, question.question_id, body, ImageNotFound),
        (street.project_id, new_uuid(), body, BadArgument),
        (street.project_id, question_id_at(street.first, 50, 1), at(street.first, 50, 1), OutsideImage),
    ]:
        with pytest.raises(error):
            store.questions.skip(project_id, question_id, skipped, "ann")


def question_id_at(image: ImageInfo, x: int, y: int) -> str:
    return question_id_of(image.image_id, image.sha256, y, x)


def at(image: ImageInfo, x: int, y: int) -> SkippedQuestion:
    return SkippedQuestion(image_id=image.image_id, pixel=Pixel(x=x, y=y))


# --- meanwhile ------------------------------------------------------------------------------------------------


def test_two_annotators_who_hold_the_same_question_may_both_answer(street: Street, clock: Clock) -> None:
    draw(street, clock)
    question = ask(street, street.first.image_id).questions[0]
    assert ask(street, street.first.image_id).questions[0] == question

    answer(street, question)
    answer(street, question, street.car)

    assert asked(street, street.first.image_id) == [("first.png", 30, 5), ("second.png", 10, 10)]


def test_a_replaced_image_is_asked_about_afresh_and_old_skips_no_longer_count(street: Street, clock: Clock) -> None:
    draw(street, clock)
    question = ask(street, street.first.image_id).questions[0]
    skip(street, question)

    street.store.images.replace(street.first.image_id, street.pixels("other pixels"))

    questions = ask(street, street.first.image_id).questions
    assert (questions[0].image_id, questions[0].guess) == (street.first.image_id, None)  # it has no map now
    assert question.question_id not in {each.question_id for each in questions}
    with pytest.raises(ImageReplaced):
        skip(street, question)


def test_a_removed_image_is_not_asked_about(street: Street, clock: Clock) -> None:
    draw(street, clock, random_share=0.5)
    held = ask(street, street.first.image_id, limit=2).questions

    street.store.images.remove(street.first.image_id)

    with pytest.raises(ImageNotFound):
        ask(street, street.first.image_id)
    questions = ask(street, limit=30, under_way=tuple(each.question_id for each in held)).questions
    assert street.first.image_id not in {each.image_id for each in questions}


def test_an_image_kept_to_judge_by_is_not_asked_about_while_there_are_others(street: Street, clock: Clock) -> None:
    draw(street, clock, random_share=0.5)
    others = [each for each in street.store.images.page(street.project_id, None, 10).images if each != street.first]

    keep_truth(street, street.first)
    questions = ask(street, street.first.image_id, limit=30).questions

    assert questions
    assert street.first.image_id not in {each.image_id for each in questions}

    for image in others:
        keep_truth(street, image)
    assert street.first.image_id in {each.image_id for each in ask(street, street.first.image_id, limit=30).questions}


def test_a_true_mask_of_pixels_that_were_replaced_keeps_no_question_away(street: Street, clock: Clock) -> None:
    draw(street, clock)
    keep_truth(street, street.first)

    street.store.images.replace(street.first.image_id, street.pixels("other pixels"))

    assert ask(street, street.first.image_id).questions[0].image_id == street.first.image_id


def test_a_pixel_that_two_annotators_disagree_about_is_void_and_not_asked_about_again(
    street: Street, clock: Clock
) -> None:
    draw(street, clock)
    question = ask(street, street.first.image_id).questions[0]
    (y, x), image_id = (question.pixel.y, question.pixel.x), street.first.image_id

    street.append(street.click(street.road, x, y))
    street.append(street.click(street.car, x, y), annotator="ben")

    assert street.store.labels.label_map(image_id)[y, x] == VOID_INDEX
    assert (image_id, x, y) not in {
        (each.image_id, each.pixel.x, each.pixel.y) for each in ask(street, image_id, limit=30).questions
    }


def test_a_guess_of_a_retired_class_is_no_guess(street: Street, clock: Clock) -> None:
    draw(street, clock)

    street.store.projects.patch_class(street.project_id, street.road, ClassPatch(retired=True))

    road, _, car = ask(street, street.first.image_id).questions
    assert (road.guess, road.second_guess, road.confidence) == (None, None, None)
    assert (car.guess, car.second_guess) == (street.car, None)


def test_an_image_of_another_project_is_not_asked_about(store: Store, street: Street) -> None:
    other = Street(store, name="Other")

    with pytest.raises(ImageNotFound):
        store.questions.next(street.project_id, other.first.image_id, 1)
    with pytest.raises(ProjectNotFound):
        store.questions.next(new_uuid(), None, 1)
