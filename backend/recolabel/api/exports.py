"""Exports: masks as a ZIP of indexed PNGs, labels as JSON lines. Pinned to the log position of the moment."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from recolabel.api.deps import Parts, PartsDep, ProjectId
from recolabel.api.files import attachment
from recolabel.api.label_maps import class_list, label_map_of
from recolabel.contract.images import ImageInfo
from recolabel.contract.labels import StoredEvent
from recolabel.contract.projects import LabelClass, Project
from recolabel.errors import BadArgument, MapNotFound, NothingToExport
from recolabel.formats import folder, indexed_png, jsonl
from recolabel.formats.indexed_png import UNLABELLED, LabelMap
from recolabel.store import Store

router = APIRouter(tags=["exports"])

Content = Literal["predictions", "labels", "merged"]

_PAGE = 500
_PIECE_BYTES = 256 * 1024


@router.get(
    "/projects/{project_id}/export",
    response_class=Response,
    responses={
        200: {
            "description": "indexed-png: a ZIP with masks/*.png, labelmap.txt, classes.txt; jsonl: one event a line.",
            "content": {"application/zip": {}, "application/x-ndjson": {}},
        }
    },
)
def export_project(
    project_id: ProjectId,
    parts: PartsDep,
    format: Annotated[Literal["indexed-png", "jsonl"], Query()] = "indexed-png",
    content: Annotated[
        Content, Query(description="merged: the predictions with the labels on top; jsonl knows labels only")
    ] = "labels",
) -> Response:
    """Masks (value = class index, 254 void, 255 unlabelled) or the label log."""
    project = parts.store.projects.get(project_id)
    if format == "jsonl":
        if content != "labels":
            raise BadArgument("JSON lines hold labels only: ask for content=labels, or for format=indexed-png.")
        headers = {"Content-Disposition": attachment(f"{project.name}.labels.jsonl")}
        return StreamingResponse(_label_lines(parts.store, project), 200, headers, media_type="application/x-ndjson")
    headers = {"Content-Disposition": attachment(f"{project.name}.{content}.zip")}
    return StreamingResponse(_pieces(_mask_zip(parts, project, content)), 200, headers, media_type="application/zip")


def in_class_indices(prediction: LabelMap, drawn_with: list[str], class_uids: list[str]) -> LabelMap:
    """Turn a prediction's class indices into those of another class list.

    Args:
        prediction: (H, W) uint8, indices into `drawn_with`.
        drawn_with: the class_uids that the model knew.
        class_uids: the class_uids to speak of; a class that is not among them becomes unlabelled.
    """
    table = np.full(256, UNLABELLED, np.uint8)
    for index, class_uid in enumerate(drawn_with):
        if class_uid in class_uids:
            table[index] = class_uids.index(class_uid)
    return table[prediction]


def merge(prediction: LabelMap, labels: LabelMap) -> LabelMap:
    """What people said, void included, and the prediction where nobody spoke."""
    return np.where(labels == UNLABELLED, prediction, labels)


def _mask_zip(parts: Parts, project: Project, content: Content) -> IO[bytes]:
    classes = class_list(project)
    file = tempfile.TemporaryFile(dir=parts.settings.run)  # noqa: SIM115 - closed when it has been sent
    try:
        written = folder.write_mask_zip(
            file,
            _masks(parts, project, classes, content),
            class_names=[label_class.name for label_class in classes],
            class_colours=[label_class.colour for label_class in classes],
        )
        if not written:
            what = {"predictions": "no predictions", "labels": "no labels", "merged": "neither labels nor predictions"}
            raise NothingToExport(f"The project has {what[content]} yet.")
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file


def _masks(parts: Parts, project: Project, classes: list[LabelClass], content: Content) -> Iterator[tuple[str, bytes]]:
    class_uids = [label_class.class_uid for label_class in classes]
    colours = [label_class.colour for label_class in classes]
    for image in _all_images(parts.store, project.project_id):
        labels = _labels(parts.store, image, project.label_seq, class_uids) if content != "predictions" else None
        prediction = _prediction(parts, image, class_uids) if content != "labels" else None
        if labels is not None and prediction is not None:
            yield image.name, indexed_png.write_png(merge(prediction, labels), colours)
        elif (only := labels if labels is not None else prediction) is not None:
            yield image.name, indexed_png.write_png(only, colours)


def _labels(store: Store, image: ImageInfo, label_seq: int, class_uids: list[str]) -> LabelMap | None:
    """The labels of an image, or None when no pixel has one."""
    if not image.last_seq:
        return None
    label_map = label_map_of(store, image, label_seq, class_uids)
    return label_map if (label_map != UNLABELLED).any() else None


def _prediction(parts: Parts, image: ImageInfo, class_uids: list[str]) -> LabelMap | None:
    """The newest prediction for an image, or None when no model has drawn one."""
    while True:
        maps = parts.store.images.maps(image.image_id)
        if not maps:
            return None
        newest = maps[0]
        try:
            plane = parts.blobs.read(parts.store.images.map_planes(image.image_id, newest.map_id)[0])
            break
        except MapNotFound:
            continue  # while somebody clicks, a newer map may take its place at any moment
    drawn = np.frombuffer(plane, np.uint8).reshape(newest.height, newest.width)
    return in_class_indices(drawn, newest.class_uids, class_uids)


def _label_lines(store: Store, project: Project) -> Iterator[str]:
    images = {image.image_id: image for image in _all_images(store, project.project_id)}
    return jsonl.write_lines(project.name, project.classes, images, _log(store, project))


def _log(store: Store, project: Project) -> Iterator[StoredEvent]:
    after = 0
    while page := store.labels.log(project.project_id, after, _PAGE, up_to=project.label_seq):
        yield from page
        after = page[-1].seq


def _all_images(store: Store, project_id: str) -> Iterator[ImageInfo]:
    after: int | None = None
    while True:
        page = store.images.page(project_id, after, _PAGE)
        yield from page.images
        if page.next_after is None:
            return
        after = page.next_after


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
