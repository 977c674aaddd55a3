"""Model versions: trained networks and their files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from recolabel.api.deps import BlobsDep, Parts, PartsDep, ProjectId, StoreDep, Version
from recolabel.api.files import blob_answer
from recolabel.code_version import code_version
from recolabel.contract.jobs import JobState
from recolabel.contract.model_versions import ModelVersion, ReproductionStart
from recolabel.contract.projects import Project, VersionPin

router = APIRouter(tags=["model versions"])


@router.get("/projects/{project_id}/model-versions")
def list_model_versions(project_id: ProjectId, store: StoreDep) -> list[ModelVersion]:
    """The project's trained networks, newest first."""
    return store.model_versions.list(project_id)


@router.get("/projects/{project_id}/model-versions/{version}")
def get_model_version(project_id: ProjectId, version: Version, store: StoreDep) -> ModelVersion:
    """One trained network."""
    return store.model_versions.get(project_id, version)


@router.put("/projects/{project_id}/pinned-version")
def pin_version(project_id: ProjectId, pin: VersionPin, parts: PartsDep) -> Project:
    """Work with this version instead of the newest: maps, fast head and new trainings start from it. Null: newest."""
    return _pinned(parts, project_id, pin.version)


@router.delete("/projects/{project_id}/pinned-version")
def unpin_version(project_id: ProjectId, parts: PartsDep) -> Project:
    """Work with the newest version again."""
    return _pinned(parts, project_id, None)


def _pinned(parts: Parts, project_id: str, version: int | None) -> Project:
    project = parts.store.model_versions.pin(project_id, version)
    for job in parts.store.jobs.list(project_id, limit=5):
        if job.state is JobState.QUEUED:
            parts.doorbell.ring(job.job_id)
    return project


@router.post("/projects/{project_id}/model-versions/{version}/reproductions", status_code=201)
def reproduce_version(project_id: ProjectId, version: Version, parts: PartsDep) -> ReproductionStart:
    """Run the training of a version once more and compare the bits. Nothing is published."""
    start = parts.store.reproductions.start(project_id, version, code_version())
    parts.doorbell.ring(start.job.job_id)
    return start


@router.get(
    "/projects/{project_id}/model-versions/{version}/artifacts/{name}",
    response_class=Response,
    responses={200: {"description": "The file.", "content": {"application/octet-stream": {}}}},
)
def get_artifact(
    project_id: ProjectId,
    version: Version,
    name: Annotated[str, Path(max_length=200)],
    request: Request,
    store: StoreDep,
    blobs: BlobsDep,
) -> Response:
    """A file of a model version, as a download."""
    sha256 = store.model_versions.artifact(project_id, version, name)
    return blob_answer(request, blobs, sha256, "application/octet-stream", download_name=name)
