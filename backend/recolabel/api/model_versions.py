"""Model versions: trained networks and their files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from recolabel.api.deps import BlobsDep, ProjectId, StoreDep, Version
from recolabel.api.files import blob_answer
from recolabel.contract.model_versions import ModelVersion

router = APIRouter(tags=["model versions"])


@router.get("/projects/{project_id}/model-versions")
def list_model_versions(project_id: ProjectId, store: StoreDep) -> list[ModelVersion]:
    """The project's trained networks, newest first."""
    return store.model_versions.list(project_id)


@router.get("/projects/{project_id}/model-versions/{version}")
def get_model_version(project_id: ProjectId, version: Version, store: StoreDep) -> ModelVersion:
    """One trained network."""
    return store.model_versions.get(project_id, version)


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
