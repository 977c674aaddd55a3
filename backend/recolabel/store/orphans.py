"""Blobs that lost the row that named them. They wait a while before they are deleted: equal bytes may come again."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, exists, or_, select
from sqlalchemy.dialects.sqlite import insert

from recolabel.blobs import Blobs
from recolabel.errors import BlobNotFound
from recolabel.store import schema

GRACE = timedelta(minutes=10)
"""Longer than any upload waits between putting a blob and naming it in a row."""
AT_ONCE = 200


def leave_behind(connection: Connection, sha256s: Iterable[str], now: datetime) -> None:
    """Note blobs that a row named until now."""
    rows = [{"sha256": sha256, "since": now} for sha256 in sha256s]
    if rows:
        connection.execute(insert(schema.orphan).on_conflict_do_nothing(), rows)


def sweep_orphans(connection: Connection, blobs: Blobs, now: datetime) -> None:
    """Delete blobs that have waited long enough and that no row names. Blobs put again since stay."""
    waited = connection.execute(
        select(schema.orphan.c.sha256).where(schema.orphan.c.since < now - GRACE).limit(AT_ONCE)
    ).scalars()
    for sha256 in waited.all():
        if not _is_named(connection, sha256) and _is_old(blobs, sha256, now):
            blobs.remove(sha256)
        connection.execute(delete(schema.orphan).where(schema.orphan.c.sha256 == sha256))


def _is_old(blobs: Blobs, sha256: str, now: datetime) -> bool:
    try:
        return now.timestamp() - blobs.stored_at(sha256) > GRACE.total_seconds()
    except BlobNotFound:
        return False


def _is_named(connection: Connection, sha256: str) -> bool:
    image, image_map, checkpoint, artifact = schema.image.c, schema.image_map.c, schema.checkpoint.c, schema.artifact.c
    version_map = schema.version_map.c
    return bool(
        connection.execute(
            select(
                or_(
                    exists().where(image_map.prediction_sha256 == sha256),
                    exists().where(image_map.confidence_sha256 == sha256),
                    exists().where(version_map.prediction_sha256 == sha256),
                    exists().where(version_map.confidence_sha256 == sha256),
                    exists().where(schema.ground_truth.c.plane_sha256 == sha256),
                    exists().where(checkpoint.sha256 == sha256),
                    exists().where(artifact.sha256 == sha256),
                    exists().where(image.canonical_sha256 == sha256),
                    exists().where(image.original_sha256 == sha256),
                    exists().where(image.thumbnail_sha256 == sha256),
                )
            )
        ).scalar_one()
    )
