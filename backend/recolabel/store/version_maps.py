"""Single images as chosen versions see them, drawn on request: for comparing two versions with a slider.

They stand beside an image's newest map and never in its place. A project keeps `KEPT` of them, those asked for last.
"""

from __future__ import annotations

import builtins
import json
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from recolabel.blobs import Blobs
from recolabel.contract.images import ImageMap
from recolabel.contract.jobs import ACTIVE_STATES, JobKind, MapUpload, PredictSpec
from recolabel.contract.model_versions import VersionMapReply
from recolabel.errors import LeaseLost, MapNotFound
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.ids import new_id
from recolabel.store.images import examine_planes, image_row, row_to_draw
from recolabel.store.job_states import insert_job, job_of, job_row, leased_job
from recolabel.store.model_versions import version_row
from recolabel.store.orphans import leave_behind

KEPT = 64


class VersionMaps:
    """The maps of all projects that were drawn to compare versions."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def ask(self, image_id: str, version: int) -> VersionMapReply:
        """The image as the version sees it, or the job that draws it: a new one, or the one that is at it already.

        Raises:
            ImageNotFound, ModelVersionNotFound: nothing was changed.
        """
        now = self._clock()

        def work(connection: Connection) -> VersionMapReply:
            image = image_row(connection, image_id)
            known = version_row(connection, image.project_id, version)
            _keep_newest_map(connection, image, version, now)
            drawn = _row(connection, image_id, version)
            if drawn is not None:
                connection.execute(
                    update(schema.version_map).where(schema.version_map.c.map_id == drawn.map_id).values(used_at=now)
                )
                return VersionMapReply(map=_map(connection, drawn), job=None)
            job = _job_at_it(connection, image, version)
            if job is None:
                job = insert_job(
                    connection,
                    project_id=image.project_id,
                    spec=PredictSpec(model_version=version, image_id=image_id),
                    label_seq=known.label_seq,
                    label_count=known.label_count,
                    class_uids=json.loads(known.class_uids),
                    now=now,
                )
            return VersionMapReply(map=None, job=job_of(job))

        return self._database.write(work)

    def list(self, image_id: str) -> builtins.list[ImageMap]:
        """The maps at hand, by version, newest version first. Raises ImageNotFound."""
        statement = (
            select(schema.version_map)
            .where(schema.version_map.c.image_id == image_id)
            .order_by(schema.version_map.c.model_version.desc())
        )
        with self._database.reading() as connection:
            image_row(connection, image_id)
            return [_map(connection, row) for row in connection.execute(statement).all()]

    def planes(self, image_id: str, version: int) -> tuple[str, str]:
        """The blobs of prediction and confidence. Raises ImageNotFound, MapNotFound."""
        with self._database.reading() as connection:
            image_row(connection, image_id)
            row = _row(connection, image_id, version)
        if row is None:
            raise MapNotFound(f"Version {version} has not drawn this image, or its map made room for others.")
        return row.prediction_sha256, row.confidence_sha256

    def is_drawn_by(self, job_id: str) -> bool:
        """Whether what a job draws belongs here. Raises JobNotFound."""
        with self._database.reading() as connection:
            job = job_row(connection, job_id)
        return job.kind == JobKind.PREDICT and json.loads(job.spec).get("image_id") is not None

    def add(self, job_id: str, fence: int, upload: MapUpload) -> ImageMap:
        """Keep what a job for a single image has drawn. The planes are stored as blobs before.

        Raises:
            LeaseLost, JobEnded: the caller may not draw for this job any more, or not this image.
            ImageNotFound, ImageReplaced: there is nothing left to draw.
            BlobNotFound, BlobDamaged: a plane is not there, is not height * width bytes long, or holds an index
                that is not in the map's class list.
        """
        planes = examine_planes(
            self._blobs.read(upload.prediction), self._blobs.read(upload.confidence), len(upload.class_uids)
        )
        now = self._clock()

        def work(connection: Connection) -> ImageMap:
            job = leased_job(connection, job_id, fence)
            spec = json.loads(job.spec)
            if spec.get("image_id") != upload.image_id:
                raise LeaseLost("This job draws another image.")
            image = row_to_draw(connection, job, upload.image_id, upload.image_sha256, planes)
            _keep(
                connection,
                now,
                project_id=job.project_id,
                image_id=upload.image_id,
                model_version=spec["model_version"],
                job_id=job_id,
                step=upload.step,
                label_seq=job.label_seq,
                label_count=job.label_count,
                width=image.width,
                height=image.height,
                class_uids=json.dumps(upload.class_uids),
                prediction_sha256=upload.prediction,
                confidence_sha256=upload.confidence,
            )
            kept = _row(connection, upload.image_id, spec["model_version"])
            assert kept is not None
            return _map(connection, kept)

        return self._database.write(work)


def _row(connection: Connection, image_id: str, version: int) -> Row[Any] | None:
    return connection.execute(
        select(schema.version_map).where(
            schema.version_map.c.image_id == image_id, schema.version_map.c.model_version == version
        )
    ).one_or_none()


def _job_at_it(connection: Connection, image: Row[Any], version: int) -> Row[Any] | None:
    """The active job that draws this image with this version."""
    active = connection.execute(
        select(schema.job).where(
            schema.job.c.project_id == image.project_id,
            schema.job.c.kind == JobKind.PREDICT,
            schema.job.c.state.in_(ACTIVE_STATES),
        )
    ).all()
    for row in active:
        spec = json.loads(row.spec)
        if spec.get("image_id") == image.image_id and spec["model_version"] == version:
            return row
    return None


def _keep_newest_map(connection: Connection, image: Row[Any], version: int, now: datetime) -> None:
    """When the image's newest map is by this version, there is nothing to draw: both name the same planes."""
    newest = connection.execute(
        select(schema.image_map).where(
            schema.image_map.c.image_id == image.image_id,
            schema.image_map.c.drawn_by == "version",
            schema.image_map.c.model_version == version,
        )
    ).one_or_none()
    if newest is None or _row(connection, image.image_id, version) is not None:
        return
    same = ("image_id", "model_version", "job_id", "step", "label_seq", "label_count", "width", "height", "class_uids")
    planes = ("prediction_sha256", "confidence_sha256")
    values = {name: getattr(newest, name) for name in (*same, *planes)}
    _keep(connection, now, project_id=image.project_id, **values)


def _keep(connection: Connection, now: datetime, **values: Any) -> None:
    connection.execute(
        insert(schema.version_map)
        .values(map_id=new_id(now), created_at=now, used_at=now, **values)
        .on_conflict_do_nothing()  # a version draws an image once: a second upload is the first one sent again
    )
    kept = schema.version_map.c
    old = connection.execute(
        select(kept.map_id, kept.prediction_sha256, kept.confidence_sha256)
        .where(kept.project_id == values["project_id"])
        .order_by(kept.used_at.desc(), kept.map_id.desc())
        .offset(KEPT)
    ).all()
    if old:
        connection.execute(delete(schema.version_map).where(kept.map_id.in_([row.map_id for row in old])))
        planes = {sha256 for row in old for sha256 in (row.prediction_sha256, row.confidence_sha256)}
        leave_behind(connection, planes, now)


def _map(connection: Connection, row: Row[Any]) -> ImageMap:
    project_seq = connection.execute(
        select(schema.project.c.label_seq).where(schema.project.c.project_id == row.project_id)
    ).scalar_one()
    return ImageMap(
        map_id=row.map_id,
        image_id=row.image_id,
        job_id=row.job_id,
        drawn_by="version",
        model_version=row.model_version,
        step=row.step,
        label_seq=row.label_seq,
        label_count=row.label_count,
        timings_ms={},
        width=row.width,
        height=row.height,
        class_uids=json.loads(row.class_uids),
        created_at=row.created_at,
        stale=project_seq > row.label_seq,
    )
