"""The worker's door: a whole training and a whole prediction over HTTP, and what a stale worker may not do."""

from __future__ import annotations

import hashlib
import io
import uuid
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import JobState, Lease
from recolabel.contract.projects import Project
from tests.backend.api.requests import (
    API,
    append,
    assert_problem,
    claim,
    click,
    fence,
    label_two_classes,
    new_image,
    start_training,
)


def put_blob(http: TestClient, lease: Lease, content: bytes) -> str:
    sha256 = hashlib.sha256(content).hexdigest()
    answer = http.put(f"{API}/leases/{lease.job.job_id}/blobs/{sha256}", content=content, headers=fence(lease))
    assert answer.status_code == 204, answer.text
    return sha256


def publication(http: TestClient, lease: Lease, project: Project) -> dict[str, Any]:
    return {
        "class_uids": [c.class_uid for c in project.classes],
        "parent": None,
        "config": {"backbone": "tiny"},
        "metrics": {"steps": 2, "seconds": 0.5, "held_out_pixels": 0, "accuracy": None, "chosen": "fast head"},
        "code_version": "test",
        "artifacts": {
            "model.safetensors": put_blob(http, lease, b"weights"),
            "config.json": put_blob(http, lease, b"{}"),
        },
    }


def map_upload(http: TestClient, lease: Lease, image: ImageInfo, project: Project, value: int) -> dict[str, Any]:
    size = image.width * image.height
    return {
        "image_id": image.image_id,
        "image_sha256": image.sha256,
        "step": 2,
        "class_uids": [c.class_uid for c in project.classes],
        "prediction": put_blob(http, lease, bytes([value]) * size),
        "confidence": put_blob(http, lease, bytes([204]) * size),
        "candidates": [{"pixel": {"x": 9, "y": 2}, "guess": value, "confidence": 0.6, "margin": 0.2}],
    }


def test_a_training_and_its_prediction_from_click_to_overlay(http: TestClient, project: Project) -> None:
    # Given labels of two classes and a training that waits
    image = new_image(http, project)
    label_two_classes(http, project, image)
    job = start_training(http, project, seed=7)

    # When a worker trains and publishes, and then draws the maps
    lease = claim(http, job.job_id)
    assert lease is not None
    door = f"{API}/leases/{job.job_id}"
    inputs = http.get(f"{door}/inputs", headers=fence(lease)).json()
    assert [each["labelled_pixels"] for each in inputs["snapshot"]["images"]] == [2]
    labels = http.get(f"{door}/label-maps/{image.image_id}", headers=fence(lease)).content
    progress = {"progress": {"done": 1, "total": 2, "stage": "training"}}
    assert http.post(f"{door}/renew", json=progress, headers=fence(lease)).json()["cancel_requested"] is False
    version = http.post(f"{door}/publish", json=publication(http, lease, project), headers=fence(lease))
    assert version.status_code == 201, version.text
    drawing = claim(http)
    assert drawing is not None
    door = f"{API}/leases/{drawing.job.job_id}"
    assert http.post(f"{door}/next-image", headers=fence(drawing)).json()["image_id"] == image.image_id
    drawn = http.post(f"{door}/maps", json=map_upload(http, drawing, image, project, 1), headers=fence(drawing)).json()
    assert http.post(f"{door}/next-image", headers=fence(drawing)).json() == {"image_id": None, "done": 1, "total": 1}
    assert http.post(f"{door}/finish", headers=fence(drawing)).json()["state"] == JobState.SUCCEEDED

    # Then the training saw the labels, and browsers get version, overlay and a question
    shown = np.array(Image.open(io.BytesIO(labels)))
    assert (shown[1, 1], shown[5, 5], (shown == 255).sum()) == (0, 1, 94)
    assert http.get(f"{API}/projects/{project.project_id}/jobs").json()[1]["state"] == JobState.SUCCEEDED
    [listed] = http.get(f"{API}/projects/{project.project_id}/model-versions").json()
    assert (listed["version"], listed["spec"]["seed"], listed["artifacts"]["model.safetensors"]) == (1, 7, 7)
    weights = http.get(f"{API}/projects/{project.project_id}/model-versions/1/artifacts/model.safetensors")
    assert weights.content == b"weights"
    assert weights.headers["content-disposition"].startswith("attachment")
    [current] = http.get(f"{API}/images/{image.image_id}/maps").json()
    assert (current["map_id"], current["model_version"], current["stale"]) == (drawn["map_id"], 1, False)
    plane = http.get(f"{API}/images/{image.image_id}/maps/{drawn['map_id']}/prediction")
    assert plane.content == bytes([1]) * 96
    assert plane.headers["content-encoding"] == "gzip"
    assert "immutable" in plane.headers["cache-control"]
    assert http.get(f"{API}/images/{image.image_id}").json()["uncertainty"] == pytest.approx(0.2)
    [question] = http.get(f"{API}/projects/{project.project_id}/questions").json()["questions"]
    assert (question["pixel"], question["guess"]) == ({"x": 9, "y": 2}, project.classes[1].class_uid)


def test_training_needs_labels_of_two_classes(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    jobs = f"{API}/projects/{project.project_id}/jobs"
    assert_problem(http.post(jobs, json={}), 409, "nothing_to_train", "Click at least one pixel of two classes")

    append(http, project, click(image, project.classes[0].class_uid), click(image, "void", 3, 3))

    assert_problem(http.post(jobs, json={}), 409, "nothing_to_train")
    assert http.get(jobs).json() == []


def test_a_project_has_one_active_training(http: TestClient, project: Project) -> None:
    label_two_classes(http, project, new_image(http, project))
    first = start_training(http, project)

    again = http.post(f"{API}/projects/{project.project_id}/jobs", json={"steps": 9})

    assert (again.status_code, again.json()["job_id"]) == (200, first.job_id)


@pytest.mark.parametrize("wish", [{"steps": 0}, {"steps": 1e9}, {"seed": -1}, {"method": "magic"}, {"device": "cuda"}])
def test_a_training_that_cannot_be_is_refused(http: TestClient, project: Project, wish: dict[str, object]) -> None:
    label_two_classes(http, project, new_image(http, project))

    answer = http.post(f"{API}/projects/{project.project_id}/jobs", json=wish)

    assert_problem(answer, 422, "invalid_request", f"`{next(iter(wish))}`")


def test_a_waiting_job_is_cancelled_at_once_and_nothing_is_left_to_claim(http: TestClient, project: Project) -> None:
    label_two_classes(http, project, new_image(http, project))
    job = start_training(http, project)

    assert http.post(f"{API}/jobs/{job.job_id}/cancel").json()["state"] == JobState.CANCELLED

    assert http.get(f"{API}/jobs/{job.job_id}").json()["state"] == JobState.CANCELLED
    assert claim(http) is None


def test_a_worker_hears_that_a_person_wants_it_to_stop(http: TestClient, project: Project) -> None:
    label_two_classes(http, project, new_image(http, project))
    start_training(http, project)
    lease = claim(http)
    assert lease is not None

    http.post(f"{API}/jobs/{lease.job.job_id}/cancel")

    reply = http.post(f"{API}/leases/{lease.job.job_id}/renew", json={}, headers=fence(lease))
    assert reply.json()["cancel_requested"] is True


EMPTY_HASH = hashlib.sha256(b"").hexdigest()
FENCED: list[tuple[str, str, object]] = [
    ("POST", "renew", {}),
    ("GET", "inputs", None),
    ("GET", f"label-maps/{uuid.uuid4()}", None),
    ("PUT", f"blobs/{EMPTY_HASH}", None),
    ("GET", f"blobs/{EMPTY_HASH}", None),
    ("GET", "open-image", None),
    ("POST", "next-image", None),
    ("POST", "finish", None),
    ("POST", "fail", {"error": "x", "retry": True}),
]


@pytest.mark.parametrize(("method", "what", "body"), FENCED, ids=[f"{method} {what}" for method, what, _ in FENCED])
def test_a_stale_worker_is_refused_everywhere(
    http: TestClient, project: Project, method: str, what: str, body: object
) -> None:
    # Given a job that was given back and claimed again
    label_two_classes(http, project, new_image(http, project))
    start_training(http, project)
    stale = claim(http)
    assert stale is not None
    door = f"{API}/leases/{stale.job.job_id}"
    http.post(f"{door}/fail", json={"error": "killed", "retry": True}, headers=fence(stale))
    fresh = claim(http)
    assert fresh is not None
    assert fresh.fence > stale.fence

    # When the first worker speaks up again, then it is sent away, and without a fence nobody is heard
    more: dict[str, Any] = {} if body is None else {"json": body}
    assert_problem(http.request(method, f"{door}/{what}", headers=fence(stale), **more), 409, "lease_lost")
    assert_problem(http.request(method, f"{door}/{what}", **more), 422, "invalid_request", "X-Recolabel-Fence")


def test_a_stale_worker_can_hand_nothing_in(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    label_two_classes(http, project, image)
    start_training(http, project)
    stale = claim(http)
    assert stale is not None
    door = f"{API}/leases/{stale.job.job_id}"
    network, overlay = publication(http, stale, project), map_upload(http, stale, image, project, 0)
    checkpoint = {"step": 1, "sha256": network["artifacts"]["model.safetensors"]}
    http.post(f"{door}/fail", json={"error": "killed", "retry": True}, headers=fence(stale))
    claim(http)

    for what, body in (("publish", network), ("maps", overlay), ("checkpoints", checkpoint)):
        assert_problem(http.post(f"{door}/{what}", json=body, headers=fence(stale)), 409, "lease_lost")


def test_a_job_resumes_from_its_checkpoint(http: TestClient, project: Project) -> None:
    label_two_classes(http, project, new_image(http, project))
    start_training(http, project)
    first = claim(http)
    assert first is not None
    door = f"{API}/leases/{first.job.job_id}"
    report = {"step": 1, "sha256": put_blob(http, first, b"half way")}
    assert http.post(f"{door}/checkpoints", json=report, headers=fence(first)).status_code == 204
    http.post(f"{door}/fail", json={"error": "killed", "retry": True}, headers=fence(first))

    second = claim(http)

    assert second is not None
    assert second.checkpoint == report["sha256"]
    assert http.get(f"{door}/blobs/{second.checkpoint}", headers=fence(second)).content == b"half way"


def test_a_blob_that_is_not_what_it_says_is_refused(http: TestClient, project: Project) -> None:
    label_two_classes(http, project, new_image(http, project))
    start_training(http, project)
    lease = claim(http)
    assert lease is not None
    door = f"{API}/leases/{lease.job.job_id}"

    answer = http.put(f"{door}/blobs/{'0' * 64}", content=b"other", headers=fence(lease))

    assert_problem(answer, 422, "blob_damaged")
    assert_problem(http.get(f"{door}/blobs/{'0' * 64}", headers=fence(lease)), 404, "blob_not_found")
    assert http.put(f"{door}/blobs/..%2f..%2ftoken", content=b"x", headers=fence(lease)).status_code in (404, 415, 422)


def test_an_early_look_is_drawn_for_the_open_image(http: TestClient, project: Project) -> None:
    image = new_image(http, project)
    label_two_classes(http, project, image)
    start_training(http, project)
    lease = claim(http)
    assert lease is not None
    address = f"{API}/leases/{lease.job.job_id}/open-image"
    assert http.get(address, headers=fence(lease)).json() == {"image_id": None}

    seen = {"image_id": image.image_id, "client_id": str(uuid.uuid4())}
    http.put(f"{API}/projects/{project.project_id}/open-image", json=seen)

    assert http.get(address, headers=fence(lease)).json() == {"image_id": image.image_id}


def test_a_worker_of_another_version_is_told_what_to_do(http: TestClient) -> None:
    answer = http.post(f"{API}/leases", json={"worker_id": "old", "contract_version": "0"})

    assert_problem(answer, 409, "contract_mismatch", "upgrade")
