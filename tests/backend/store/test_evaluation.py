"""The numbers of a project: from clicks that hold and that nobody learnt from, and from no others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from recolabel.contract.evaluation import Evaluation
from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import Lease, NewTraining
from recolabel.contract.labels import ClickEvent
from recolabel.contract.projects import ClassPatch, ProjectPatch, SettingsPatch
from recolabel.store import Store, held_out
from tests.backend.store.conftest import Clock
from tests.backend.store.street import HEIGHT, WIDTH, Street

ROADS, CARS = 18, 6
"""Held-out random clicks by `answer_at_random`. Version 1 sees roads everywhere, so it is right about the first."""


def evaluation(street: Street) -> Evaluation:
    return street.store.evaluations.of(street.project_id)


def answer_at_random(street: Street) -> list[ClickEvent]:
    """All of them held out, since each class has a label in training before."""
    street.store.projects.patch(street.project_id, ProjectPatch(settings=SettingsPatch(held_out_share=1.0)))
    street.append(street.click(street.road, 0, 0), street.click(street.car, 9, 9))
    clicks = []
    for number in range(ROADS + CARS):
        class_uid = street.road if number < ROADS else street.car
        clicks.append(street.click(class_uid, number, 20).model_copy(update={"asked": "random"}))
    street.append(*clicks)
    return clicks


def draw(street: Street, lease: Lease, image: ImageInfo) -> None:
    street.store.images.add_map(lease.job.job_id, lease.fence, street.map_of(image, confidence=200))


@pytest.fixture
def judged(street: Street, clock: Clock) -> list[ClickEvent]:
    """The held-out clicks of a project whose version 1 has drawn both images."""
    clicks = answer_at_random(street)
    street.publish(street.claim_started(clock))
    lease = street.claim(clock())
    draw(street, lease, street.first)
    draw(street, lease, street.second)
    return clicks


def test_a_project_without_anything_says_why_it_has_no_numbers(street: Street) -> None:
    found = evaluation(street)

    assert found.versions == []
    assert found.work.seconds_per_answer is None
    assert found.work.missing == "10 more clicks without a long pause before them are needed for a number."
    assert found.guidance.ratio.value is None
    assert not found.stop.stop
    assert "3 more versions" in found.stop.why
    assert found.next_class.class_uid == street.road


def test_a_version_is_measured_on_held_out_clicks(street: Street, judged: list[ClickEvent]) -> None:
    [version] = evaluation(street).versions

    assert version.accuracy.value == ROADS / len(judged)
    assert version.confusion.counts == [[ROADS, 0], [CARS, 0]]
    road, car = version.classes
    assert road.iou.value == ROADS / (ROADS + CARS)
    assert (car.iou.value, car.iou.missing) == (
        None,
        "2 more random clicks that meet this class are needed for a number.",
    )
    assert version.mean_over == [street.road]
    assert version.mean_iou.value == road.iou.value
    assert [count.held_out for count in evaluation(street).label_counts] == [ROADS, CARS]


def test_a_click_that_is_taken_back_counts_no_longer(street: Street, judged: list[ClickEvent]) -> None:
    street.append(street.undo(judged[0].event_id))

    found = evaluation(street)

    assert found.versions[0].accuracy.clicks == len(judged) - 1
    assert found.label_counts[0].held_out == ROADS - 1


def test_a_pixel_that_training_saw_by_another_label_counts_for_the_versions_before_only(
    street: Street, judged: list[ClickEvent], clock: Clock
) -> None:
    street.append(street.stroke(street.road, (0, 20 * 16), (0, 21 * 16), radius=4))

    street.publish(street.claim_started(clock))
    draw(street, street.claim(clock()), street.first)

    before, after = evaluation(street).versions
    assert before.accuracy.clicks == len(judged)
    assert after.accuracy.clicks == len(judged) - 1


def test_a_pixel_that_was_painted_with_another_class_counts_for_nobody(
    street: Street, judged: list[ClickEvent]
) -> None:
    street.append(street.stroke(street.car, (0, 20 * 16), (0, 21 * 16), radius=4))

    assert evaluation(street).versions[0].accuracy.clicks == len(judged) - 1


def test_a_retired_class_counts_for_nobody(street: Street, judged: list[ClickEvent]) -> None:
    street.store.projects.patch_class(street.project_id, street.car, ClassPatch(retired=True))

    [version] = evaluation(street).versions

    assert [each.class_uid for each in version.classes] == [street.road]
    assert version.accuracy.clicks == ROADS


def test_clicks_after_the_training_judge_by_how_they_were_asked(street: Street, judged: list[ClickEvent]) -> None:
    for x in range(12):
        guided = street.click(street.car if x < 6 else street.road, x, 5, street.second)
        street.append(guided.model_copy(update={"asked": "guided"}))

    found = evaluation(street)

    [version] = found.versions
    assert (version.after.guided.value, version.after.guided.clicks) == (0.5, 12)
    assert version.after.random.clicks == 0
    assert version.after.random.missing == "10 more answers to random questions are needed for a number."
    assert found.guidance.guided.value == 0.5


def test_people_are_timed_by_their_own_clock_and_pauses_are_left_out(street: Street) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(20):
        at += timedelta(seconds=300 if number == 10 else 3)
        street.append(street.click(street.road, number, 1, client_time=at))

    work = evaluation(street).work

    assert work.seconds_per_answer == 3
    assert work.answers_per_minute == pytest.approx(20)
    assert work.active_minutes == pytest.approx(18 * 3 / 60)


def test_true_masks_score_the_versions_that_draw_and_those_that_have_drawn(
    street: Street, judged: list[ClickEvent], clock: Clock
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:10] = 1
    mask[-5:] = 255
    for image in (street.first, street.second):
        street.store.ground_truth.put(image.image_id, image.sha256, mask, [street.road, street.car])
    street.publish(street.claim_started(clock))
    draw(street, street.claim(clock()), street.second)

    by_map_of_before, by_new_map = (each.truth for each in evaluation(street).versions)

    assert by_map_of_before is not None
    assert by_new_map is not None
    assert (by_map_of_before.images, by_new_map.images) == (2, 1)
    assert by_new_map.accuracy == pytest.approx(15 / 25)
    assert by_new_map.mean_iou.value == pytest.approx((15 / 25 + 0) / 2)
    assert [each.true_iou for each in evaluation(street).versions[1].classes] == [pytest.approx(15 / 25), 0]


def test_true_masks_are_no_labels(street: Street) -> None:
    before = street.label_count()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)

    reply = street.store.ground_truth.put(street.first.image_id, street.first.sha256, mask, [street.road, street.car])

    assert reply.pixels == WIDTH * HEIGHT
    assert street.label_count() == before
    assert (street.store.labels.label_map(street.first.image_id) == 255).all()


def test_an_image_with_other_pixels_or_without_a_place_is_scored_no_longer(
    street: Street, judged: list[ClickEvent]
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for image in (street.first, street.second):
        street.store.ground_truth.put(image.image_id, image.sha256, mask, [street.road, street.car])

    street.store.images.replace(street.first.image_id, street.pixels("others"))
    street.store.images.remove(street.second.image_id)

    [version] = evaluation(street).versions
    assert version.truth is None
    assert version.accuracy.clicks == 0


def test_nothing_is_computed_anew_until_something_changes(street: Street, judged: list[ClickEvent]) -> None:
    first = evaluation(street)

    assert evaluation(street) is first

    street.append(street.click(street.road, 30, 3))
    assert evaluation(street) is not first


def test_from_click_to_number_the_intervals_hold_what_true_masks_say(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_out, "class_phase", lambda *_: 0.25)  # ids differ from run to run
    held = []
    for number in range(40):
        # Given a road and a car, a version that errs, and an annotator who answers 240 random and 60 guided questions
        rng = np.random.default_rng(number)
        street = Street(store, f"street {number}")
        truth = np.zeros((HEIGHT, WIDTH), np.uint8)
        truth[5:15, 5 : 5 + int(rng.integers(10, 30))] = 1
        wrong = rng.random((HEIGHT, WIDTH)) < rng.uniform(0.05, 0.4)
        predicted = np.where(wrong, 1 - truth, truth).astype(np.uint8)
        clicks = []
        for count, place in enumerate(rng.choice(HEIGHT * WIDTH, 300, replace=False)):
            y, x = divmod(int(place), WIDTH)
            class_uid = (street.road, street.car)[truth[y, x]]
            asked = "guided" if count < 60 else "random"
            clicks.append(street.click(class_uid, x, y).model_copy(update={"asked": asked}))
        street.append(*clicks[:150])
        street.append(*clicks[150:])
        class_uids = [street.road, street.car]
        store.ground_truth.put(street.first.image_id, street.first.sha256, truth, class_uids)

        # When the version draws
        store.jobs.start_training(street.project_id, NewTraining())
        street.publish(street.claim(clock()))
        lease = street.claim(clock())
        upload = street.map_of(street.first).model_copy(
            update={"prediction": store.blobs.put_bytes(predicted.tobytes())}
        )
        store.images.add_map(lease.job.job_id, lease.fence, upload)
        store.jobs.finish(lease.job.job_id, lease.fence)

        # Then the estimates from held-out clicks hold the truth that the mask tells
        [version] = evaluation(street).versions
        assert version.truth is not None
        assert version.truth.same_classes == pytest.approx(version.truth.mean_iou.value)  # both classes are counted
        figures = [(version.accuracy, version.truth.accuracy), (version.mean_iou, version.truth.mean_iou.value)]
        figures += [(each.iou, each.true_iou) for each in version.classes]
        for figure, true in figures:
            assert figure.low is not None
            assert figure.high is not None
            assert true is not None
            held.append(figure.low <= true <= figure.high)

    assert np.mean(held) >= 0.9
