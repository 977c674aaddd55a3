"""The label log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query

from recolabel.api.deps import ImageId, ProjectId, StoreDep, UserDep
from recolabel.contract.labels import ImageLabels, LabelAcks, LabelBatch, StoredEvent

router = APIRouter(tags=["labels"])

_CLICK = {
    "events": [
        {
            "kind": "click",
            "event_id": "019a2b5c-7d10-7a44-9f2b-3c1d5e6f7a80",
            "image_id": "019a2b5c-0c1e-7bb0-8e4d-0f1e2d3c4b5a",
            "image_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "client_id": "019a2b5c-6a00-7c3e-9a7b-8d9e0f1a2b3c",
            "client_seq": 0,
            "client_time": "2026-11-20T09:30:00Z",
            "class_uid": "019a2b5b-ff10-7d21-b3c4-d5e6f7a8b9c0",
            "pixel": {"x": 120, "y": 88},
        }
    ]
}


@router.post("/projects/{project_id}/labels")
def append_labels(
    project_id: ProjectId,
    batch: Annotated[LabelBatch, Body(openapi_examples={"one click": {"value": _CLICK}})],
    store: StoreDep,
    user: UserDep,
) -> LabelAcks:
    """Append 1 to 256 label events; idempotent by event id. Stored and duplicate mean: on disk."""
    return store.labels.append(project_id, batch.events, user.user_id)


@router.get("/projects/{project_id}/labels")
def get_label_log(
    project_id: ProjectId,
    store: StoreDep,
    after: Annotated[int, Query(ge=0, lt=2**63, description="seq of the last event seen")] = 0,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 1_000,
) -> list[StoredEvent]:
    """A window of the project's log, oldest first."""
    return store.labels.log(project_id, after, limit)


@router.get("/images/{image_id}/labels")
def get_image_labels(
    image_id: ImageId,
    store: StoreDep,
    after: Annotated[int, Query(ge=0, lt=2**63, description="seq of the last event seen")] = 0,
) -> ImageLabels:
    """Every label event of an image, oldest first."""
    return store.labels.of_image(image_id, after)
