"""Maps are judged by clicks that their author never learnt from, and by no others."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import Row, select

from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import Lease
from recolabel.contract.labels import VOID, Fate
from recolabel.contract.projects import ProjectPatch, SettingsPatch
from recolabel.store import schema
from tests.backend.store.conftest import Clock
from tests.backend.store.street import HEIGHT, WIDTH, Street


@pytest.fixture
def drawing(street: Street, clock: Clock) -> Lease:
    """A job that draws version 1, which was trained on a road at (0, 0) and a car at (9, 9)."""
    street.publish(street.claim_started(clock))
    return street.claim(clock())


def draw(street: Street, lease: Lease, image: ImageInfo | None = None) -> None:
    """Version 1 sees roads everywhere and is 200 / 255 sure."""
    job = lease.job.job_id
    street.store.images.add_map(job, lease.fence, street.map_of(image or street.first, confidence=200))


def judgements(street: Street) -> list[Row[Any]]:
    with street.store._database.reading() as connection:
        return list(connection.execute(select(schema.judgement).order_by(schema.judgement.c.seq)).all())


def asked(street: Street, class_uid: str, x: int, y: int, how: str) -> None:
    street.append(street.click(class_uid, x, y).model_copy(update={"asked": how}))


def test_a_click_judges_the_map_that_is_on_its_image(street: Street, drawing: Lease) -> None:
    draw(street, drawing)

    asked(street, street.car, 5, 5, "guided")

    [judgement] = judgements(street)
    assert (judgement.seq, judgement.said, judgement.predicted) == (3, street.car, street.road)
    assert (judgement.confidence, judgement.drawn_by, judgement.model_version) == (200, "version", 1)
    assert (judgement.map_label_seq, judgement.asked, judgement.live) == (2, "guided", 1)


def test_void_and_clicks_on_an_image_without_a_map_judge_nobody(street: Street, drawing: Lease) -> None:
    draw(street, drawing)

    asked(street, VOID, 5, 5, "random")
    street.append(street.click(street.car, 5, 5, street.second))

    assert judgements(street) == []


def test_a_version_is_judged_by_what_is_held_out_and_by_what_came_after_its_training(
    street: Street, clock: Clock
) -> None:
    street.store.projects.patch(street.project_id, ProjectPatch(settings=SettingsPatch(held_out_share=1.0)))
    street.append(street.click(street.road, 1, 1), street.click(street.car, 2, 1))
    asked(street, street.car, 3, 3, "random")  # 3: held out
    asked(street, street.car, 4, 4, "guided")  # 4: trained on
    trained = street.claim_started(clock)  # 5 and 6: trained on
    asked(street, street.road, 5, 5, "guided")  # 7: after
    street.publish(trained)

    draw(street, street.claim(clock()))

    assert [(row.seq, row.held_out, row.live) for row in judgements(street)] == [(3, 1, 0), (7, 0, 0)]


def test_drawing_an_image_again_does_not_count_its_clicks_twice(street: Street, drawing: Lease) -> None:
    draw(street, drawing)
    asked(street, street.car, 5, 5, "random")

    draw(street, drawing)

    assert len(judgements(street)) == 1


def test_a_click_is_stored_even_if_the_map_cannot_be_read(street: Street, drawing: Lease) -> None:
    draw(street, drawing)
    for plane in (bytes(WIDTH * HEIGHT), bytes([200]) * (WIDTH * HEIGHT)):
        street.store.blobs.remove(street.store.blobs.put_bytes(plane))

    [ack] = street.append(street.click(street.car, 5, 5))

    assert ack.fate is Fate.STORED
    assert judgements(street) == []


def test_judging_costs_a_click_less_than_two_milliseconds(street: Street, drawing: Lease) -> None:
    def seconds(image: ImageInfo) -> float:
        costs = []
        for x in range(30):
            click = street.click(street.car, x, 20, image).model_copy(update={"asked": "random"})
            begin = time.perf_counter()
            street.append(click)
            costs.append(time.perf_counter() - begin)
        return sorted(costs)[len(costs) // 4]

    without = seconds(street.second)
    draw(street, drawing)

    assert seconds(street.first) - without < 0.002
