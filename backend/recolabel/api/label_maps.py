"""The labels of one image as an indexed PNG, at any position of the log."""

from __future__ import annotations

from fastapi import APIRouter, Response

from recolabel.api.deps import ImageId, StoreDep
from recolabel.contract.images import ImageInfo
from recolabel.contract.projects import LabelClass, Project
from recolabel.formats.indexed_png import LabelMap, write_png
from recolabel.snapshots import ImageFacts, image_label_map
from recolabel.store import Store

router = APIRouter(tags=["labels"])


class PngResponse(Response):
    """An indexed PNG made for this answer."""

    media_type = "image/png"


def class_list(project: Project) -> list[LabelClass]:
    """Class index -> class: those that are not retired, in order of position."""
    return sorted((c for c in project.classes if not c.retired), key=lambda c: c.position)


def label_map_of(store: Store, image: ImageInfo, label_seq: int, class_uids: list[str]) -> LabelMap:
    """(H, W) uint8: class index, 254 void, 255 unlabelled, from the log up to `label_seq`."""
    facts = ImageFacts(image.image_id, image.sha256, image.name, image.width, image.height)
    return image_label_map(facts, store.labels.of_image_up_to(image.image_id, label_seq), class_uids)


@router.get("/images/{image_id}/label-map", response_class=PngResponse)
def get_label_map(image_id: ImageId, store: StoreDep) -> PngResponse:
    """The labels that hold now: value = class index, 254 void, 255 unlabelled; the palette shows class colours."""
    image = store.images.get(image_id)
    project = store.projects.get(image.project_id)
    classes = class_list(project)
    label_map = label_map_of(store, image, project.label_seq, [c.class_uid for c in classes])
    return PngResponse(write_png(label_map, [c.colour for c in classes]), headers={"Cache-Control": "no-store"})
