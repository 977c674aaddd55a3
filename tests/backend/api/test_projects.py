"""Projects and classes over HTTP."""

from __future__ import annotations

import uuid

import pytest
from starlette.testclient import TestClient

from recolabel.contract.projects import Project
from tests.backend.api.requests import API, assert_problem, new_project


def test_a_project_is_made_listed_changed_and_put_away(http: TestClient) -> None:
    made = new_project(http, "Street", "road", "car")
    assert [c.name for c in made.classes] == ["road", "car"]
    assert http.get(f"{API}/projects").json() == [made.model_dump(mode="json")]

    changed = http.patch(f"{API}/projects/{made.project_id}", json={"name": "Road", "settings": {"auto_train": False}})
    assert changed.json()["name"] == "Road"
    assert changed.json()["settings"] == {**made.settings.model_dump(), "auto_train": False}

    assert http.delete(f"{API}/projects/{made.project_id}").status_code == 204
    assert http.get(f"{API}/projects").json() == []
    assert_problem(http.get(f"{API}/projects/{made.project_id}"), 404, "project_not_found")


BAD_PROJECTS: list[tuple[object, int, str, str]] = [
    ({"name": "x", "classes": []}, 422, "invalid_request", "at least 1 item"),
    ({"name": "  ", "classes": [{"name": "a"}]}, 422, "invalid_request", "Field `name`"),
    ({"name": "x", "classes": [{"name": "a"}, {"name": "A "}]}, 422, "invalid_request", "stands twice"),
    ({"name": "x", "classes": [{"name": "a", "colour": "red"}]}, 422, "invalid_request", "Field `classes[0].colour`"),
    ({"name": "x", "classes": [{"name": str(n)} for n in range(251)]}, 422, "invalid_request", "at most 250"),
    ({"name": "x", "classes": [{"name": "a"}], "project_id": "mine"}, 422, "invalid_request", "not known here"),
    ({"name": "street", "classes": [{"name": "a"}]}, 409, "project_name_taken", "Choose another name."),
]


@pytest.mark.parametrize(("body", "status", "code", "words"), BAD_PROJECTS)
def test_a_project_that_cannot_be_is_refused_and_changes_nothing(
    http: TestClient, project: Project, body: object, status: int, code: str, words: str
) -> None:
    answer = http.post(f"{API}/projects", json=body)

    assert_problem(answer, status, code, words)
    assert [each["name"] for each in http.get(f"{API}/projects").json()] == ["Street"]


def test_classes_are_added_renamed_and_retired(http: TestClient, project: Project) -> None:
    classes = f"{API}/projects/{project.project_id}/classes"
    added = http.post(classes, json={"name": "sky"})
    assert (added.status_code, added.json()["position"]) == (201, 2)

    renamed = http.patch(f"{classes}/{added.json()['class_uid']}", json={"name": "heaven", "retired": True}).json()
    assert (renamed["name"], renamed["retired"]) == ("heaven", True)

    assert_problem(http.post(classes, json={"name": "ROAD"}), 409, "class_name_taken")
    assert_problem(http.patch(f"{classes}/{uuid.uuid4()}", json={"name": "x"}), 404, "class_not_found")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"projects/{uuid.uuid4()}", 404, "project_not_found"),
        ("projects/1", 422, "invalid_request"),
        (f"projects/{uuid.uuid4()}/images", 404, "project_not_found"),
        (f"projects/{uuid.uuid4()}/labels", 404, "project_not_found"),
        (f"projects/{uuid.uuid4()}/jobs", 404, "project_not_found"),
        (f"projects/{uuid.uuid4()}/model-versions", 404, "project_not_found"),
        (f"projects/{uuid.uuid4()}/questions", 404, "project_not_found"),
        (f"projects/{uuid.uuid4()}/export", 404, "project_not_found"),
        (f"images/{uuid.uuid4()}", 404, "image_not_found"),
        (f"images/{uuid.uuid4()}/file", 404, "image_not_found"),
        (f"images/{uuid.uuid4()}/labels", 404, "image_not_found"),
        (f"images/{uuid.uuid4()}/label-map", 404, "image_not_found"),
        (f"images/{uuid.uuid4()}/maps", 404, "image_not_found"),
        (f"images/{uuid.uuid4()}/maps/{uuid.uuid4()}/prediction", 404, "map_not_found"),
        (f"jobs/{uuid.uuid4()}", 404, "job_not_found"),
        ("nothing", 404, "not_found"),
        ("../../etc/passwd", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_said_so(http: TestClient, project: Project, path: str, status: int, code: str) -> None:
    assert_problem(http.get(f"{API}/{path}"), status, code)
