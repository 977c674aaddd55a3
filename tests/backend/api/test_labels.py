"""The label log over HTTP."""

from __future__ import annotations

import io
import uuid
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from recolabel.contract.labels import Fate
from recolabel.contract.projects import Project
from tests.backend.api.requests import API, append, assert_problem, click, new_image


def test_a_retried_click_is_stored_once(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    event = click(image, project.classes[0].class_uid)

    [first], [again] = append(http, project, event), append(http, project, event)

    assert (first.fate, again.fate) == (Fate.STORED, Fate.DUPLICATE)
    assert first.seq == again.seq
    log = http.get(f"{API}/projects/{project.project_id}/labels").json()
    assert [stored["event"]["event_id"] for stored in log] == [event["event_id"]]
    assert http.get(f"{API}/images/{image.image_id}/labels").json()["events"] == log


def test_one_bad_click_does_not_hold_up_the_others(http: TestClient, project: Project) -> None:
    image, road = new_image(http, project), project.classes[0]
    retired = project.classes[1].class_uid
    http.patch(f"{API}/projects/{project.project_id}/classes/{retired}", json={"retired": True})

    acks = append(
        http,
        project,
        click(image, road.class_uid, 0, 0),
        click(image, road.class_uid, 8, 0),
        click(image, retired),
        click(image, str(uuid.uuid4())),
        click(image, road.class_uid, image_sha256="0" * 64),
        click(image, road.class_uid, image_id=str(uuid.uuid4())),
        click(image, road.class_uid, 7, 11),
    )

    assert [ack.code for ack in acks] == [
        None,
        "outside_image",
        "class_retired",
        "unknown_class",
        "image_replaced",
        "unknown_image",
        None,
    ]
    assert all(ack.reason for ack in acks if ack.fate is Fate.REFUSED)
    assert len(http.get(f"{API}/projects/{project.project_id}/labels").json()) == 2


BAD_EVENTS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "scribble"}, "kind"),
    ({"pixel": {"x": -1, "y": 0}}, "pixel.x"),
    ({"pixel": {"x": 1.5, "y": 0}}, "pixel.x"),
    ({"pixel": {"x": 10**30, "y": 0}}, "pixel.x"),
    ({"event_id": "1"}, "event_id"),
    ({"seq": 1}, "seq"),
    ({"annotator_id": "somebody else"}, "annotator_id"),
    ({"client_time": "yesterday"}, "client_time"),
    ({"client_seq": 2**63}, "client_seq"),  # the database has no such number
]


@pytest.mark.parametrize(("change", "field"), BAD_EVENTS, ids=[field for _, field in BAD_EVENTS])
def test_a_batch_that_is_no_batch_is_refused_whole(
    http: TestClient, project: Project, change: dict[str, Any], field: str
) -> None:
    event = click(new_image(http, project), project.classes[0].class_uid) | change

    answer = http.post(f"{API}/projects/{project.project_id}/labels", json={"events": [event]})

    assert_problem(answer, 422, "invalid_request", field, "Nothing was changed.")


@pytest.mark.parametrize("count", [0, 257])
def test_a_batch_has_1_to_256_events(http: TestClient, project: Project, count: int) -> None:
    image = new_image(http, project)
    events = [click(image, project.classes[0].class_uid) for _ in range(count)]

    answer = http.post(f"{API}/projects/{project.project_id}/labels", json={"events": events})

    assert_problem(answer, 422, "invalid_request", "Field `events`")


def test_the_label_map_shows_what_was_said(http: TestClient, project: Project) -> None:
    image, (road, car) = new_image(http, project), project.classes
    append(
        http,
        project,
        click(image, road.class_uid, 1, 2),
        click(image, car.class_uid, 3, 4),
        click(image, "void", 5, 6),
    )

    answer = http.get(f"{API}/images/{image.image_id}/label-map")

    assert answer.headers["content-type"] == "image/png"
    shown = np.array(Image.open(io.BytesIO(answer.content)))
    assert (shown[1, 2], shown[3, 4], shown[5, 6]) == (0, 1, 254)
    assert (shown == 255).sum() == 12 * 8 - 3


def test_the_log_comes_in_windows(http: TestClient, project: Project) -> None:
    image, road = new_image(http, project), project.classes[0]
    acks = append(http, project, *(click(image, road.class_uid, 0, x) for x in range(5)))

    page = http.get(f"{API}/projects/{project.project_id}/labels", params={"after": acks[1].seq, "limit": 2}).json()

    assert [stored["seq"] for stored in page] == [acks[2].seq, acks[3].seq]


def test_without_a_model_a_question_still_comes_or_a_note_says_why(http: TestClient, project: Project) -> None:
    image = new_image(http, project)

    page = http.get(f"{API}/projects/{project.project_id}/questions", params={"image_id": image.image_id}).json()

    assert page["questions"] or page["note"]
