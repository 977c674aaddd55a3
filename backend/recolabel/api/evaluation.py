"""How good the model is, and true masks to measure it by."""

from __future__ import annotations

import zlib

import numpy as np
from fastapi import APIRouter

from recolabel.api.deps import ExistingImage, PartsDep, ProjectId, ReceivedFile, StoreDep
from recolabel.api.label_maps import class_list
from recolabel.contract.evaluation import Evaluation, GroundTruthReply
from recolabel.errors import MaskRefused
from recolabel.formats.indexed_png import check_mask

router = APIRouter(tags=["evaluation"])

_MASK = {
    "requestBody": {
        "required": True,
        "description": "zlib: height * width bytes, row by row: class index, 254 void, 255 unknown.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.get("/projects/{project_id}/evaluation")
def get_evaluation(project_id: ProjectId, store: StoreDep) -> Evaluation:
    """How good each version is, with intervals; what guidance is worth, and where labels help most."""
    return store.evaluations.of(project_id)


@router.put("/images/{image_id}/ground-truth", openapi_extra=_MASK)
def put_ground_truth(image_id: ExistingImage, file: ReceivedFile, parts: PartsDep) -> GroundTruthReply:
    """Give an image its true mask. It is never a label: no training sees it, versions are scored against it."""
    image = parts.store.images.get(image_id)
    class_uids = [c.class_uid for c in class_list(parts.store.projects.get(image.project_id))]
    plane = np.frombuffer(_unpacked(file.read_bytes(), image.height * image.width), dtype=np.uint8)
    mask = check_mask(
        plane.reshape(image.height, image.width),
        width=image.width,
        height=image.height,
        class_count=len(class_uids),
        void_indices=[],
    )
    return parts.store.ground_truth.put(image_id, image.sha256, mask, class_uids)


def _unpacked(packed: bytes, size: int) -> bytes:
    """The plane, never unpacked beyond one byte more than it may have. Raises MaskRefused."""
    try:
        plane = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise MaskRefused("The mask cannot be unpacked: it has to be packed by zlib.") from error
    if len(plane) != size:
        raise MaskRefused(f"The mask of this image has {size:,} bytes, one for each pixel.")
    return plane
