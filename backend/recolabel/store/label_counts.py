"""Derived counts of the labels that hold, by image, class and project. Rebuildable from the log at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from recolabel.contract.labels import LabelEvent, StoredEvent
from recolabel.labels.fold import count_by_class, fold
from recolabel.store import schema

label_event: TypeAdapter[LabelEvent] = TypeAdapter(LabelEvent)


def stored_event(row: Row[Any]) -> StoredEvent:
    """A row of the log as the contract has it."""
    return StoredEvent.model_construct(
        seq=row.seq,
        annotator_id=row.annotator_id,
        server_time=row.server_time,
        event=label_event.validate_json(row.payload),
    )


ADD_TO_CLASS = (
    upsert(schema.class_count)
    .values(
        image_id=bindparam("image_id"),
        class_uid=bindparam("class_uid"),
        project_id=bindparam("project_id"),
        labels=bindparam("labels"),
    )
    .on_conflict_do_update(
        index_elements=["image_id", "class_uid"], set_={"labels": schema.class_count.c.labels + bindparam("labels")}
    )
)
ADD_TO_IMAGE = (
    update(schema.image)
    .where(schema.image.c.image_id == bindparam("of_image"))
    .values(
        label_count=schema.image.c.label_count + bindparam("more"),
        last_seq=func.max(schema.image.c.last_seq, bindparam("seq")),
    )
)
ADD_TO_PROJECT = (
    update(schema.project)
    .where(schema.project.c.project_id == bindparam("of_project"))
    .values(
        label_count=schema.project.c.label_count + bindparam("more"),
        label_seq=func.max(schema.project.c.label_seq, bindparam("seq")),
    )
)


def add_counts(
    connection: Connection, project_id: str, image_id: str, last_seq: int, count: int, by_class: Mapping[str, int]
) -> None:
    """Take events of one image into account, the newest at `last_seq`.

    Args:
        count: how many labels are among them; they hold because nothing can name them yet.
        by_class: the same by class (or void).
    """
    connection.execute(ADD_TO_IMAGE, {"of_image": image_id, "more": count, "seq": last_seq})
    connection.execute(ADD_TO_PROJECT, {"of_project": project_id, "more": count, "seq": last_seq})
    if by_class:
        connection.execute(
            ADD_TO_CLASS,
            [
                {"image_id": image_id, "class_uid": class_uid, "project_id": project_id, "labels": labels}
                for class_uid, labels in by_class.items()
            ],
        )


def recount_image(connection: Connection, image_id: str) -> None:
    """Count the image's labels anew from its log: after an undo, an erase, or a change of its pixels."""
    image = connection.execute(select(schema.image).where(schema.image.c.image_id == image_id)).one()
    rows = connection.execute(
        select(schema.label_event).where(
            schema.label_event.c.image_id == image_id, schema.label_event.c.image_sha256 == image.sha256
        )
    ).all()
    labels = fold([stored_event(row) for row in rows], image.sha256)
    count, by_class = count_by_class(labels, height=image.height, width=image.width)
    more = count - image.label_count
    connection.execute(ADD_TO_IMAGE, {"of_image": image_id, "more": more, "seq": 0})
    connection.execute(ADD_TO_PROJECT, {"of_project": image.project_id, "more": more, "seq": 0})
    connection.execute(delete(schema.class_count).where(schema.class_count.c.image_id == image_id))
    if by_class:
        connection.execute(
            insert(schema.class_count),
            [
                {"image_id": image_id, "class_uid": class_uid, "project_id": image.project_id, "labels": labels_of}
                for class_uid, labels_of in by_class.items()
            ],
        )


def labels_by_class(connection: Connection, project_id: str) -> dict[str, int]:
    """Labels that hold, by class and `void`, over the images that are there."""
    rows = connection.execute(
        select(schema.class_count.c.class_uid, func.sum(schema.class_count.c.labels).label("labels"))
        .where(schema.class_count.c.project_id == project_id)
        .group_by(schema.class_count.c.class_uid)
    ).all()
    return {row.class_uid: int(row.labels) for row in rows}
