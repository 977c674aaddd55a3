"""Requests that many tests make on the way to what they are about."""

from __future__ import annotations

import io
import uuid
from datetime import UTC, datetime
from typing import Any

from PIL import Image
from starlette.testclient import TestClient

from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.images import ImageInfo, UploadResult
from recolabel.contract.jobs import Job, Lease
from recolabel.contract.labels import Ack, LabelAcks
from recolabel.contract.projects import Project
from recolabel.settings import Settings

URL = "http://127.0.0.1:8737"
API = "/api/v1"


def authorization(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.token_file.read_text().strip()}"}


def png(width: int = 12, height: int = 8, colour: tuple[int, int, int] = (40, 90, 160), format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, format)
    return file.getvalue()


def new_project(http: TestClient, name: str, *classes: str) -> Project:
    answer = http.post(f"{API}/projects", json={"name": name, "classes": [{"name": each} for each in classes]})
    assert answer.status_code == 201, answer.text
    return Project.model_validate_json(answer.content)


def upload(http: TestClient, project: Project, name: str, content: bytes) -> Any:
    return http.put(f"{API}/projects/{project.project_id}/images", params={"name": name}, content=content)


def new_image(http: TestClient, project: Project, name: str = "a.png", shade: int = 0) -> ImageInfo:
    answer = upload(http, project, name, png(colour=(shade, 90, 160)))
    assert answer.status_code == 201, answer.text
    return UploadResult.model_validate_json(answer.content).image


def click(image: ImageInfo, class_uid: str, y: int = 1, x: int = 2, **changes: object) -> dict[str, Any]:
    return {
        "kind": "click",
        "event_id": str(uuid.uuid4()),
        "image_id": image.image_id,
        "image_sha256": image.sha256,
        "client_id": str(uuid.uuid4()),
        "client_seq": 0,
        "client_time": datetime.now(UTC).isoformat(),
        "class_uid": class_uid,
        "pixel": {"x": x, "y": y},
    } | changes


def append(http: TestClient, project: Project, *events: dict[str, Any]) -> list[Ack]:
    answer = http.post(f"{API}/projects/{project.project_id}/labels", json={"events": list(events)})
    assert answer.status_code == 200, answer.text
    return LabelAcks.model_validate_json(answer.content).acks


def label_two_classes(http: TestClient, project: Project, image: ImageInfo) -> None:
    road, car = project.classes
    append(http, project, click(image, road.class_uid, 1, 1), click(image, car.class_uid, 5, 5))


def start_training(http: TestClient, project: Project, **spec: object) -> Job:
    answer = http.post(f"{API}/projects/{project.project_id}/jobs", json={"steps": 2, **spec})
    assert answer.status_code == 201, answer.text
    return Job.model_validate_json(answer.content)


def claim(http: TestClient, job_id: str | None = None) -> Lease | None:
    body = {"worker_id": "test", "contract_version": CONTRACT_VERSION, "job_id": job_id}
    answer = http.post(f"{API}/leases", json=body)
    assert answer.status_code in (200, 204), answer.text
    return None if answer.status_code == 204 else Lease.model_validate_json(answer.content)


def fence(lease: Lease) -> dict[str, str]:
    return {"X-Recolabel-Fence": str(lease.fence)}


def assert_problem(answer: Any, status: int, code: str, *words: str) -> None:
    """The answer is a problem document with this code, and its sentence has these words."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body.keys() >= {"type", "title", "status", "detail", "code"}
    assert (body["status"], body["code"]) == (status, code), body
    for word in words:
        assert word in body["detail"], body["detail"]
    assert "Traceback" not in answer.text
