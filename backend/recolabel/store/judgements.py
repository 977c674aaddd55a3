"""What a map said about a pixel whose label its author had not learnt from: test, then train.

Written on two occasions, and never changed:

* A click arrives: the map that is on the image at that moment is judged by it (`live`).
* A version has drawn an image: it is judged by the held-out clicks there, and by those that came after its training.

Whether a judgement counts is found when it is read (`recolabel.store.evaluation`): clicks can be taken back later,
and other labels may have told the author about the pixel after all.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, select
from sqlalchemy.dialects.sqlite import insert

from recolabel.blobs import Blobs
from recolabel.contract.images import DrawnBy
from recolabel.contract.labels import VOID, Asked, ClickEvent
from recolabel.errors import BlobNotFound
from recolabel.store import schema
from recolabel.store.label_counts import label_event

log = logging.getLogger(__name__)

NO_VERSION = 0
"""In `model_version`: a fast head on the pretrained features, or an early look at a training."""

ADD = insert(schema.judgement).on_conflict_do_nothing()
MAP_OF_IMAGE: Select[Any] = select(
    schema.image_map.c.prediction_sha256,
    schema.image_map.c.confidence_sha256,
    schema.image_map.c.width,
    schema.image_map.c.class_uids,
    schema.image_map.c.drawn_by,
    schema.image_map.c.model_version,
    schema.image_map.c.label_seq,
).where(schema.image_map.c.image_id == bindparam("of_image"))
"""Without the candidates, which are a hundred kilobytes on every click's way."""
CLICKS_AFTER = (
    select(schema.label_event.c.seq, schema.label_event.c.payload)
    .where(
        schema.label_event.c.image_id == bindparam("of_image"),
        schema.label_event.c.image_sha256 == bindparam("of_pixels"),
        schema.label_event.c.kind == "click",
        schema.label_event.c.seq > bindparam("after"),
    )
    .order_by(schema.label_event.c.seq)
)
HELD_OUT = select(schema.random_click).where(
    schema.random_click.c.image_id == bindparam("of_image"),
    schema.random_click.c.image_sha256 == bindparam("of_pixels"),
    schema.random_click.c.held_out == 1,
)


@dataclass(frozen=True)
class DrawnMap:
    """A map that can be judged, and how its author came by it."""

    prediction_sha256: str
    confidence_sha256: str
    width: int
    class_uids: Sequence[str]
    drawn_by: DrawnBy
    model_version: int | None
    label_seq: int


@dataclass(frozen=True)
class Judge:
    """A click on the image of a map. Void says nothing about a class and judges nobody."""

    seq: int
    y: int
    x: int
    class_uid: str
    asked: Asked | None
    held_out: bool


def judge_live(
    connection: Connection,
    blobs: Blobs,
    project_id: str,
    clicks: Iterable[tuple[int, ClickEvent]],
    held_out: set[str],
) -> None:
    """Let new clicks judge the maps that are on their images. A map that cannot be read is left unjudged.

    Args:
        clicks: (seq, click), appended in this transaction.
        held_out: the event_ids of those that no training will see.
    """
    by_image: dict[str, list[Judge]] = {}
    for seq, click in clicks:
        judge = Judge(seq, click.pixel.y, click.pixel.x, click.class_uid, click.asked, click.event_id in held_out)
        by_image.setdefault(click.image_id, []).append(judge)
    for image_id, judges in by_image.items():
        row = connection.execute(MAP_OF_IMAGE, {"of_image": image_id}).one_or_none()
        if row is not None:
            _write(connection, blobs, project_id, image_id, map_of(row), judges, live=True)


def judge_version_map(connection: Connection, blobs: Blobs, image: Row[Any], drawn: DrawnMap) -> None:
    """Let the clicks on an image that a version never learnt from judge what it has drawn there.

    Args:
        image: the row of the image, whose present pixels the version has drawn.
    """
    at = {"of_image": image.image_id, "of_pixels": image.sha256}
    judges = {
        row.seq: Judge(row.seq, row.y, row.x, row.class_uid, "random", True) for row in connection.execute(HELD_OUT, at)
    }
    for row in connection.execute(CLICKS_AFTER, at | {"after": drawn.label_seq}):
        click = label_event.validate_json(row.payload)
        assert isinstance(click, ClickEvent)
        judge = Judge(row.seq, click.pixel.y, click.pixel.x, click.class_uid, click.asked, False)
        judges.setdefault(row.seq, judge)
    _write(connection, blobs, image.project_id, image.image_id, drawn, list(judges.values()), live=False)


def map_of(row: Row[Any]) -> DrawnMap:
    """A row of `image_map` as something to judge."""
    return DrawnMap(
        prediction_sha256=row.prediction_sha256,
        confidence_sha256=row.confidence_sha256,
        width=row.width,
        class_uids=json.loads(row.class_uids),
        drawn_by=row.drawn_by,
        model_version=row.model_version,
        label_seq=row.label_seq,
    )


def plane_bytes(blobs: Blobs, sha256: str, places: Sequence[int]) -> list[int]:
    """The bytes of a plane at some places (y * width + x), without reading the rest.

    Raises:
        BlobNotFound, OSError, IndexError: the plane is gone, cannot be read, or is too short.
    """
    found = []
    with blobs.open(sha256) as file:
        for place in places:
            file.seek(place)
            found.append(file.read(1)[0])
    return found


def _write(
    connection: Connection,
    blobs: Blobs,
    project_id: str,
    image_id: str,
    drawn: DrawnMap,
    judges: Sequence[Judge],
    *,
    live: bool,
) -> None:
    judges = [judge for judge in judges if judge.class_uid != VOID]
    if not judges:
        return
    places = [judge.y * drawn.width + judge.x for judge in judges]
    try:
        predicted = plane_bytes(blobs, drawn.prediction_sha256, places)
        confidence = plane_bytes(blobs, drawn.confidence_sha256, places)
    except (BlobNotFound, OSError, IndexError):
        log.warning("a map of image %s cannot be read and stays unjudged; the clicks are stored", image_id)
        return
    rows = [
        {
            "seq": judge.seq,
            "drawn_by": drawn.drawn_by,
            "model_version": drawn.model_version or NO_VERSION,
            "project_id": project_id,
            "image_id": image_id,
            "said": judge.class_uid,
            "predicted": drawn.class_uids[index],
            "confidence": sure,
            "map_label_seq": drawn.label_seq,
            "asked": judge.asked,
            "held_out": int(judge.held_out),
            "live": int(live),
        }
        for judge, index, sure in zip(judges, predicted, confidence, strict=True)
        if index < len(drawn.class_uids)
    ]
    if rows:
        connection.execute(ADD, rows)
