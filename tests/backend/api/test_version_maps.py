"""Pins, maps by chosen versions and repeated trainings over HTTP."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import Lease
from recolabel.contract.projects import Project
from tests.backend.api.requests import API, assert_problem, claim, fence, label_two_classes, new_image, start_training
from tests.backend.api.test_leases import map_upload, publication


@pytest.fixture
def image(http: TestClient, project: Project) -> ImageInfo:
    """An image of a project with one version, which waits to draw it."""
    image = new_image(http, project)
    label_two_classes(http, project, image)
    lease = claim(http, start_training(http, project).job_id)
    assert lease is not None
    door = f"{API}/leases/{lease.job.job_id}"
    assert http.post(f"{door}/publish", json=publication(http, lease, project), headers=fence(lease)).status_code == 201
    return image


def door_of(lease: Lease) -> str:
    return f"{API}/leases/{lease.job.job_id}"


def test_an_image_is_drawn_by_a_version_on_request(http: TestClient, project: Project, image: ImageInfo) -> None:
    # Given somebody who asks to see the image as version 1 sees it
    wish = f"{API}/images/{image.image_id}/version-maps/1"
    asked = http.post(wish)
    assert asked.status_code == 202
    lease = claim(http, asked.json()["job"]["job_id"])
    assert lease is not None

    # When a worker draws it by the same door as any other map
    following = http.post(f"{door_of(lease)}/next-image", headers=fence(lease)).json()
    assert following == {"image_id": image.image_id, "done": 0, "total": 1}
    upload = map_upload(http, lease, image, project, value=1)
    assert http.post(f"{door_of(lease)}/maps", json=upload, headers=fence(lease)).status_code == 201
    http.post(f"{door_of(lease)}/finish", headers=fence(lease))

    # I expect the map there, its planes, and nothing among the image's own maps
    answer = http.post(wish)
    assert (answer.status_code, answer.json()["map"]["model_version"]) == (200, 1)
    size = image.width * image.height
    prediction = http.get(f"{wish}/prediction")
    assert prediction.content == bytes([1]) * size
    assert prediction.headers["cache-control"] == "private, no-cache"  # the address does not name the map
    assert http.get(f"{wish}/confidence").content == bytes([204]) * size
    assert [each["model_version"] for each in http.get(f"{API}/images/{image.image_id}/version-maps").json()] == [1]
    assert http.get(f"{API}/images/{image.image_id}/maps").json() == []


def test_a_version_is_pinned_and_let_go(http: TestClient, project: Project, image: ImageInfo) -> None:
    assert image.project_id == project.project_id
    pin = f"{API}/projects/{project.project_id}/pinned-version"

    assert http.put(pin, json={"version": 1}).json()["pinned_version"] == 1
    assert http.delete(pin).json()["pinned_version"] is None
    assert http.put(pin, json={"version": None}).json()["pinned_version"] is None
    assert_problem(http.put(pin, json={"version": 2}), 404, "model_version_not_found")
    assert http.put(pin, json={"version": 0}).status_code == 422


def test_a_repeated_training_ends_with_the_verdict(http: TestClient, project: Project, image: ImageInfo) -> None:
    assert image.project_id == project.project_id
    repeat = f"{API}/projects/{project.project_id}/model-versions/1/reproductions"
    start = http.post(repeat)
    assert start.status_code == 201
    assert any("was trained by ReCoLabel test" in remark for remark in start.json()["remarks"])
    assert_problem(http.post(repeat), 409, "training_active")

    drawing = claim(http, start.json()["job"]["job_id"])  # the oldest job is that of the maps
    assert drawing is not None
    http.post(f"{door_of(drawing)}/finish", headers=fence(drawing))
    lease = claim(http, start.json()["job"]["job_id"])
    assert lease is not None
    told = http.post(f"{door_of(lease)}/reproduced", json={"sha256": "0" * 64}, headers=fence(lease)).json()

    assert (told["state"], told["reproduced"], told["model_version"]) == ("succeeded", False, None)
