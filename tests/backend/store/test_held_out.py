"""Which random clicks training never sees, and that it never does."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from recolabel.contract.jobs import NewTraining
from recolabel.contract.labels import VOID, ClickEvent
from recolabel.contract.projects import ProjectPatch, SettingsPatch
from recolabel.labels.fold import UNLABELLED_INDEX
from recolabel.store.held_out import held_out_of_image, held_out_of_project
from tests.backend.store.conftest import Clock
from tests.backend.store.street import Street


def set_share(street: Street, share: float) -> None:
    patch = ProjectPatch(settings=SettingsPatch(held_out_share=share))
    street.store.projects.patch(street.project_id, patch)


def run(street: Street, statement: str) -> None:
    street.store._database.write(lambda connection: connection.execute(text(statement)))


def held_out(street: Street) -> frozenset[str]:
    with street.store._database.reading() as connection:
        return held_out_of_project(connection, street.project_id)


def random_clicks(street: Street, class_uid: str, count: int, *, row: int) -> list[ClickEvent]:
    clicks = [street.click(class_uid, x, row).model_copy(update={"asked": "random"}) for x in range(count)]
    for click in clicks:
        street.append(click)
    return clicks


def test_half_of_the_random_clicks_of_each_class_are_held_out(street: Street) -> None:
    street.append(street.click(street.road, 39, 29), street.click(street.car, 38, 29))

    roads = random_clicks(street, street.road, 20, row=0)
    cars = random_clicks(street, street.car, 7, row=1)

    assert len(held_out(street) & {click.event_id for click in roads}) == 10
    assert len(held_out(street) & {click.event_id for click in cars}) in (3, 4)


def test_clicks_that_were_not_asked_at_random_are_never_held_out(street: Street) -> None:
    set_share(street, 1.0)
    street.append(street.click(street.road, 0, 0), street.click(street.car, 1, 0))

    free = street.click(street.road, 2, 0)
    guided = street.click(street.road, 3, 0).model_copy(update={"asked": "guided"})
    void = street.click(VOID, 4, 0).model_copy(update={"asked": "random"})
    street.append(free, guided, void)

    assert held_out(street) == frozenset()


def test_the_first_label_of_a_class_goes_to_training(street: Street) -> None:
    set_share(street, 1.0)

    _, second = random_clicks(street, street.road, 2, row=0)

    assert held_out(street) == {second.event_id}


def test_a_pixel_that_was_answered_before_keeps_what_was_decided(street: Street) -> None:
    set_share(street, 1.0)
    trained, out = random_clicks(street, street.road, 2, row=0)
    street.append(street.click(street.car, 20, 20), street.undo(trained.event_id, out.event_id))

    again, out_again = random_clicks(street, street.car, 2, row=0)

    assert again.event_id not in held_out(street)
    assert out_again.event_id in held_out(street)


def test_another_share_changes_nothing_about_clicks_of_before(street: Street) -> None:
    street.append(street.click(street.road, 39, 29))
    random_clicks(street, street.road, 10, row=0)
    before = held_out(street)

    set_share(street, 1.0)
    later = random_clicks(street, street.road, 10, row=1)

    assert held_out(street) - {click.event_id for click in later} == before
    assert len(held_out(street)) == len(before) + 10


def test_what_is_held_out_cannot_be_changed_or_forgotten(street: Street) -> None:
    random_clicks(street, street.road, 3, row=0)

    for change in ("UPDATE random_click SET held_out = 0", "DELETE FROM random_click"):
        with pytest.raises(IntegrityError, match="decided once"):
            run(street, change)


def test_trainings_do_not_see_held_out_clicks_and_people_do(street: Street, clock: Clock) -> None:
    set_share(street, 1.0)
    street.append(street.click(street.road, 10, 0), street.click(street.car, 11, 0))
    random_clicks(street, street.road, 5, row=3)

    street.store.jobs.start_training(street.project_id, NewTraining())
    lease = street.claim(clock())
    inputs = street.store.jobs.inputs(lease.job.job_id, lease.fence)
    trained = street.store.jobs.label_map(lease.job.job_id, lease.fence, street.first.image_id)
    seen = street.store.labels.label_map(street.first.image_id)

    assert [image.labelled_pixels for image in inputs.snapshot.images] == [2, 0]
    assert (trained != UNLABELLED_INDEX).sum() == 2
    assert (seen != UNLABELLED_INDEX).sum() == 7


def test_a_held_out_pixel_that_somebody_labels_otherwise_is_trained_on(street: Street, clock: Clock) -> None:
    set_share(street, 1.0)
    street.append(street.click(street.road, 10, 0), street.click(street.car, 11, 0))
    [out] = random_clicks(street, street.road, 1, row=3)
    street.append(street.stroke(street.road, (0, 3 * 16), radius=16))

    street.store.jobs.start_training(street.project_id, NewTraining())
    lease = street.claim(clock())
    trained = street.store.jobs.label_map(lease.job.job_id, lease.fence, street.first.image_id)

    assert trained[3, 0] == 0
    with street.store._database.reading() as connection:
        assert held_out_of_image(connection, street.first.image_id) == {out.event_id}
