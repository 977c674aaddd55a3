"""Images as chosen versions see them: what the slider between two versions shows."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from recolabel.api.deps import BlobsDep, ImageId, PartsDep, StoreDep, Version
from recolabel.api.files import PLANE_ANSWER, plane_answer
from recolabel.contract.images import ImageMap
from recolabel.contract.model_versions import VersionMapReply

router = APIRouter(tags=["model versions"])


@router.get("/images/{image_id}/version-maps")
def list_version_maps(image_id: ImageId, store: StoreDep) -> list[ImageMap]:
    """What versions drew of the image on request and is at hand still, newest version first."""
    return store.version_maps.list(image_id)


@router.post(
    "/images/{image_id}/version-maps/{version}",
    responses={202: {"model": VersionMapReply, "description": "A job draws it; its end says that it is there."}},
)
def ask_for_version_map(image_id: ImageId, version: Version, parts: PartsDep, response: Response) -> VersionMapReply:
    """Ask to see an image as a version sees it. 200: the map is at hand; 202: a small job draws it now."""
    reply = parts.store.version_maps.ask(image_id, version)
    if reply.job is not None:
        response.status_code = 202
        parts.doorbell.ring(reply.job.job_id)
    return reply


@router.get("/images/{image_id}/version-maps/{version}/prediction", response_class=Response, responses=PLANE_ANSWER)
def get_version_prediction(
    image_id: ImageId, version: Version, request: Request, store: StoreDep, blobs: BlobsDep
) -> Response:
    """Class indices into the map's `class_uids`."""
    return plane_answer(request, blobs, store.version_maps.planes(image_id, version)[0], keep=False)


@router.get("/images/{image_id}/version-maps/{version}/confidence", response_class=Response, responses=PLANE_ANSWER)
def get_version_confidence(
    image_id: ImageId, version: Version, request: Request, store: StoreDep, blobs: BlobsDep
) -> Response:
    """round(255 * probability of the predicted class)."""
    return plane_answer(request, blobs, store.version_maps.planes(image_id, version)[1], keep=False)
