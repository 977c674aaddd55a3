"""Derived counts of the labels that hold, by image, class and project. Rebuildable from the log at any time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, delete, func, insert, select, update
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


def add_counts(connection: Connection, project_id: str, image_id: str, count: int, by_class: Mapping[str, int]) -> None:
    """Add new labels, which hold because nothing can name them yet."""
    _add_to_image(connection, project_id, image_id, count)
    for class_uid, labels in by_class.items():
        statement = upsert(schema.class_count).values(
            image_id=image_id, class_uid=class_uid, project_id=project_id, labels=labels
        )
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["image_id", "class_uid"], set_={"labels": schema.class_count.c.labels + labels}
            )
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
    _add_to_image(connection, image.project_id, image_id, count - image.label_count)
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


def _add_to_image(connection: Connection, project_id: str, image_id: str, count: int) -> None:
    connection.execute(
        update(schema.image)
        .where(schema.image.c.image_id == image_id)
        .values(label_count=schema.image.c.label_count + count)
    )
    connection.execute(
        update(schema.project)
        .where(schema.project.c.project_id == project_id)
        .values(label_count=schema.project.c.label_count + count)
    )
