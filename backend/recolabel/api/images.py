"""Images: files in, canonical pixels and maps out."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from recolabel.api.deps import (
    BlobsDep,
    ExistingImage,
    ExistingProject,
    ImageId,
    MapId,
    Parts,
    PartsDep,
    ProjectId,
    ReceivedFile,
    StoreDep,
)
from recolabel.api.files import PLANE_ANSWER, blob_answer, plane_answer
from recolabel.contract.images import ImageInfo, ImageMap, ImagePage, UploadResult, Verdict
from recolabel.contract.projects import Contract, Id
from recolabel.imaging import check_name
from recolabel.store.images import BlobRef, NewImage

router = APIRouter(tags=["images"])

_FILE = {
    "requestBody": {
        "required": True,
        "description": "The file itself: JPEG, PNG, WebP, TIFF or BMP.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_IMAGE_ANSWER: dict[int | str, dict[str, object]] = {
    200: {"description": "The file.", "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
}


class OpenInBrowser(Contract):
    """What a browser tab shows."""

    image_id: Id
    client_id: Id


def checked_name(
    name: Annotated[str, Query(description="file name; up to 255 bytes of UTF-8, never used as a path")],
) -> str:
    """A name that can be kept."""
    check_name(name)
    return name


@router.put(
    "/projects/{project_id}/images",
    status_code=201,
    openapi_extra=_FILE,
    responses={200: {"model": UploadResult, "description": "The same pixels are in the project already."}},
)
def add_image(
    project_id: ExistingProject,
    name: Annotated[str, Depends(checked_name)],
    file: ReceivedFile,
    parts: PartsDep,
    response: Response,
) -> UploadResult:
    """Upload one file. 201: stored; 200: the same pixels are there already and nothing changed."""
    result = parts.store.images.add(project_id, name, _keep(parts, file, name))
    if result.verdict is Verdict.DUPLICATE:
        response.status_code = 200
    return result


@router.get("/projects/{project_id}/images")
def list_images(
    project_id: ProjectId,
    store: StoreDep,
    after: Annotated[int | None, Query(ge=-1, lt=2**31, description="`next_after` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> ImagePage:
    """A window of the project's images in order of import."""
    return store.images.page(project_id, after, limit)


@router.put("/projects/{project_id}/open-image", status_code=204)
def say_what_is_open(project_id: ProjectId, seen: OpenInBrowser, parts: PartsDep) -> None:
    """Say which image a person looks at. It holds for 60 s: workers draw that image first, and the fast head is kept
    fitted to the project's labels.
    """
    parts.store.images.open_in_browser(project_id, seen.image_id, seen.client_id, datetime.now(UTC))
    parts.store.refining.keep_fitted(project_id)
    parts.feed.stir()  # what is open is kept in memory, so no commit tells of it


@router.get("/images/{image_id}")
def get_image(image_id: ImageId, store: StoreDep) -> ImageInfo:
    """One image."""
    return store.images.get(image_id)


@router.delete("/images/{image_id}", status_code=204)
def remove_image(image_id: ImageId, store: StoreDep) -> None:
    """Put an image away. Its labels stay in the log."""
    store.images.remove(image_id)


@router.put("/images/{image_id}/file", openapi_extra=_FILE)
def replace_image(image_id: ExistingImage, file: ReceivedFile, parts: PartsDep) -> ImageInfo:
    """Give an image other pixels. Labels of the old pixels no longer hold."""
    # The new file may be of another format than the name says, so the name is not held against it.
    return parts.store.images.replace(image_id, _keep(parts, file, "replacement"))


@router.get("/images/{image_id}/file", response_class=Response, responses=_IMAGE_ANSWER)
def get_file(image_id: ImageId, request: Request, store: StoreDep, blobs: BlobsDep) -> Response:
    """The canonical pixels: what the browser draws and the worker trains on. Keepable with `?v=` and their sha256."""
    ref = store.images.files(image_id).canonical
    return blob_answer(request, blobs, ref.sha256, ref.media_type, version=store.images.get(image_id).sha256)


@router.get("/images/{image_id}/original", response_class=Response, responses=_IMAGE_ANSWER)
def get_original(image_id: ImageId, request: Request, store: StoreDep, blobs: BlobsDep) -> Response:
    """The file as it was uploaded, as a download."""
    ref = store.images.files(image_id).original
    return blob_answer(request, blobs, ref.sha256, ref.media_type, download_name=store.images.get(image_id).name)


@router.get("/images/{image_id}/thumbnail", response_class=Response, responses=_IMAGE_ANSWER)
def get_thumbnail(image_id: ImageId, request: Request, store: StoreDep, blobs: BlobsDep) -> Response:
    """A JPEG of at most 256 pixels a side. `?v=` with the sha256 of the image makes it keepable."""
    ref = store.images.files(image_id).thumbnail
    return blob_answer(request, blobs, ref.sha256, ref.media_type, version=store.images.get(image_id).sha256)


@router.get("/images/{image_id}/maps")
def list_maps(image_id: ImageId, store: StoreDep) -> list[ImageMap]:
    """The predictions for an image, newest first."""
    return list(store.images.maps(image_id))


@router.get("/images/{image_id}/maps/{map_id}/prediction", response_class=Response, responses=PLANE_ANSWER)
def get_prediction(image_id: ImageId, map_id: MapId, request: Request, store: StoreDep, blobs: BlobsDep) -> Response:
    """Class indices into the map's `class_uids`."""
    return plane_answer(request, blobs, store.images.map_planes(image_id, map_id)[0])


@router.get("/images/{image_id}/maps/{map_id}/confidence", response_class=Response, responses=PLANE_ANSWER)
def get_confidence(image_id: ImageId, map_id: MapId, request: Request, store: StoreDep, blobs: BlobsDep) -> Response:
    """round(255 * probability of the predicted class)."""
    return plane_answer(request, blobs, store.images.map_planes(image_id, map_id)[1])


def _keep(parts: Parts, file: Path, name: str) -> NewImage:
    """Decode a received file and put what is kept of it on disk."""
    decoded = parts.decoder.decode(file, name)
    with file.open("rb") as opened:
        original = parts.blobs.put_stream(opened)
    return NewImage(
        width=decoded.width,
        height=decoded.height,
        sha256=decoded.sha256,
        original=BlobRef(original, decoded.original_media_type),
        canonical=BlobRef(
            original if decoded.canonical is None else parts.blobs.put_bytes(decoded.canonical),
            decoded.canonical_media_type,
        ),
        thumbnail=BlobRef(parts.blobs.put_bytes(decoded.thumbnail), "image/jpeg"),
    )
