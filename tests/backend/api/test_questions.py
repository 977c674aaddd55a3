"""The questions through HTTP: handed out, held, skipped, and settled by the project's settings."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from starlette.testclient import TestClient

from recolabel.contract.images import ImageInfo
from recolabel.contract.projects import Project
from recolabel.contract.questions import Question, QuestionPage
from tests.backend.api.requests import API, append, assert_problem, click, new_image


def ask(http: TestClient, project: Project, **parameters: Any) -> list[Question]:
    answer = http.get(f"{API}/projects/{project.project_id}/questions", params=parameters)
    assert answer.status_code == 200, answer.text
    return QuestionPage.model_validate_json(answer.content).questions


def skip_address(project: Project, question: Question) -> str:
    return f"{API}/projects/{project.project_id}/questions/{question.question_id}/skip"


def skipped(question: Question) -> dict[str, Any]:
    return {"image_id": question.image_id, "pixel": question.pixel.model_dump()}


def tune(http: TestClient, project: Project, **settings: object) -> Any:
    return http.patch(f"{API}/projects/{project.project_id}", json={"settings": settings})


@pytest.fixture
def page(http: TestClient, project: Project) -> list[Question]:
    """The first questions of a project with one image."""
    new_image(http, project)
    return ask(http, project, limit=3)


def test_a_page_that_holds_questions_gets_those_that_come_after(
    http: TestClient, project: Project, page: list[Question]
) -> None:
    first, second, third = page

    assert ask(http, project, limit=2, exclude=first.question_id) == [second, third]
    assert ask(http, project, limit=1, exclude=[first.question_id, second.question_id]) == [third]


def test_an_answer_moves_on_and_its_event_keeps_how_the_pixel_was_chosen(
    http: TestClient, project: Project, page: list[Question]
) -> None:
    tune(http, project, random_share=1)
    [question] = ask(http, project, limit=1)
    image = ImageInfo.model_validate_json(http.get(f"{API}/images/{question.image_id}").content)

    event = click(
        image,
        project.classes[0].class_uid,
        question.pixel.y,
        question.pixel.x,
        question_id=question.question_id,
        asked=question.asked,
    )
    append(http, project, event)

    assert ask(http, project, limit=1)[0].question_id != question.question_id
    [stored] = http.get(f"{API}/projects/{project.project_id}/labels").json()
    assert stored["event"]["asked"] == "random"


def test_a_skip_holds_until_it_is_taken_back(http: TestClient, project: Project, page: list[Question]) -> None:
    first = page[0]

    for _ in range(2):
        assert http.post(skip_address(project, first), json=skipped(first)).status_code == 204
    assert first not in ask(http, project, limit=20)

    for _ in range(2):
        assert http.delete(skip_address(project, first)).status_code == 204
    assert ask(http, project, limit=3) == page


def test_a_skip_that_does_not_fit_says_why(http: TestClient, project: Project, page: list[Question]) -> None:
    first = page[0]
    address = skip_address(project, first)

    elsewhere = skipped(first) | {"pixel": {"x": 0, "y": 7}}
    assert_problem(http.post(address, json=elsewhere), 422, "bad_argument", "another pixel")
    gone = skipped(first) | {"image_id": str(uuid.uuid4())}
    assert_problem(http.post(address, json=gone), 404, "image_not_found")
    assert_problem(http.post(address, json={}), 422, "invalid_request", "image_id")
    nowhere = address.replace(project.project_id, str(uuid.uuid4()))
    assert_problem(http.post(nowhere, json=skipped(first)), 404, "project_not_found")
    assert_problem(http.delete(nowhere), 404, "project_not_found")
    assert http.post(address.replace(first.question_id, "no-id"), json=skipped(first)).status_code == 422


def test_wrong_parameters_are_named(http: TestClient, project: Project) -> None:
    address = f"{API}/projects/{project.project_id}/questions"

    assert_problem(http.get(address, params={"limit": 0}), 422, "invalid_request", "limit")
    assert_problem(http.get(address, params={"exclude": "x"}), 422, "invalid_request", "exclude")
    many = [str(uuid.uuid4()) for _ in range(101)]
    assert_problem(http.get(address, params={"exclude": many}), 422, "invalid_request", "exclude")
    # An id that we never gave names no pixel of ours, and does no harm.
    new_image(http, project)
    assert len(ask(http, project, limit=3, exclude=many[:100])) == 3


def test_strategy_and_shares_are_settings_that_stay_when_they_are_left_out(http: TestClient, project: Project) -> None:
    assert (project.settings.strategy, project.settings.random_share) == ("reco", 0.1)

    answer = tune(http, project, strategy="margin")
    assert answer.json()["settings"] | {"auto_train": True} == {
        "auto_train": True,
        "strategy": "margin",
        "random_share": 0.1,
        "held_out_share": 0.5,
    }
    assert tune(http, project, random_share=0.25).json()["settings"]["strategy"] == "margin"

    assert_problem(tune(http, project, strategy="oracle"), 422, "invalid_request", "strategy")
    for share in (-0.1, 1.1, "much"):
        assert_problem(tune(http, project, random_share=share), 422, "invalid_request", "random_share")
