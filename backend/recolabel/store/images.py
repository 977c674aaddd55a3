"""Images of a project, what is open in a browser, and the newest map of each image."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, exists, func, insert, or_, select, update

from recolabel.blobs import Blobs
from recolabel.contract.images import DrawnBy, ImageInfo, ImageMap, ImagePage, UploadResult, Verdict
from recolabel.contract.jobs import ACTIVE_STATES, JobKind, MapUpload, PredictSpec
from recolabel.contract.questions import Candidate
from recolabel.contract.updates import ImagesChanged, MapReady
from recolabel.errors import BlobDamaged, ImageNotFound, ImageRefused, ImageReplaced, MapNotFound
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.ids import new_id
from recolabel.store.job_states import HELD_STATES, draws_all_images, insert_job, leased_job, repeats_a_version
from recolabel.store.judgements import DrawnMap, judge_version_map
from recolabel.store.label_counts import recount_image
from recolabel.store.orphans import leave_behind
from recolabel.store.projects import project_row, working_version
from recolabel.store.truth_scores import count_against_truth, keep_score
from recolabel.store.updates import tell

# Statements of the way from a click to its overlay stand here, made once: making them costs more than running them.
IMAGE = (
    select(schema.image)
    .join(schema.project, schema.project.c.project_id == schema.image.c.project_id)
    .where(
        schema.image.c.image_id == bindparam("of_image"),
        schema.image.c.removed_at.is_(None),
        schema.project.c.deleted_at.is_(None),
    )
)
MAPS = (
    select(schema.image_map, schema.project.c.label_seq.label("project_seq"))
    .join(schema.image, schema.image.c.image_id == schema.image_map.c.image_id)
    .join(schema.project, schema.project.c.project_id == schema.image.c.project_id)
    .where(schema.image_map.c.image_id == bindparam("of_image"))
)
PLANES = select(
    schema.image_map.c.prediction_sha256, schema.image_map.c.confidence_sha256, schema.image_map.c.created_at
).where(schema.image_map.c.image_id == bindparam("of_image"))
DELETE_MAP = delete(schema.image_map).where(schema.image_map.c.image_id == bindparam("of_image"))
FORGET_MAP = (
    update(schema.image)
    .where(schema.image.c.image_id == bindparam("of_image"))
    .values(uncertainty=None, map_version=None)
)

OPEN_FOR = timedelta(seconds=60)
"""An image counts as open in a browser for so long after the browser last said so."""


@dataclass(frozen=True)
class BlobRef:
    """A stored file: its blob and what it is."""

    sha256: str
    media_type: str


@dataclass(frozen=True)
class NewImage:
    """A decoded upload whose files are stored as blobs already. `sha256` is of the canonical pixels."""

    width: int
    height: int
    sha256: str
    original: BlobRef
    canonical: BlobRef
    thumbnail: BlobRef


@dataclass(frozen=True)
class ImageFiles:
    """The files of an image: as uploaded, as drawn and trained on, and small."""

    original: BlobRef
    canonical: BlobRef
    thumbnail: BlobRef


class Images:
    """The images of all projects."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._open_lock = threading.Lock()
        # What is open matters for a minute only, so it is kept in memory and costs no write to the disk.
        self._open: dict[str, tuple[str, str, datetime]] = {}  # tab -> project, image, when it said so

    def add(self, project_id: str, name: str, new: NewImage) -> UploadResult:
        """Add an image, or find that the project has these pixels already. Raises ProjectNotFound."""
        now = self._clock()
        image_id = new_id(now)

        def work(connection: Connection) -> UploadResult:
            project_row(connection, project_id)
            twin = _by_content(connection, project_id, new.sha256)
            if twin is not None:
                return UploadResult(verdict=Verdict.DUPLICATE, image=info_of(twin))
            newest = connection.execute(
                select(func.max(schema.image.c.position)).where(schema.image.c.project_id == project_id)
            ).scalar()
            connection.execute(
                insert(schema.image).values(
                    image_id=image_id,
                    project_id=project_id,
                    name=name,
                    position=0 if newest is None else newest + 1,
                    added_at=now,
                    label_count=0,
                    last_seq=0,
                    image_seq=_next_image_seq(connection, project_id),
                    **_pixel_columns(new),
                )
            )
            _change_image_count(connection, project_id, 1)
            queue_drawing(connection, project_id, now)
            return UploadResult(verdict=Verdict.STORED, image=info_of(image_row(connection, image_id)))

        return self._database.write(work)

    def replace(self, image_id: str, new: NewImage) -> ImageInfo:
        """Put other pixels in the image's place. Labels made on the old ones no longer hold; the log keeps them.

        Raises:
            ImageNotFound: there is no such image.
            ImageRefused: another image of the project has these pixels.
        """

        now = self._clock()

        def work(connection: Connection) -> ImageInfo:
            row = image_row(connection, image_id)
            if row.sha256 == new.sha256:
                return info_of(row)
            if _by_content(connection, row.project_id, new.sha256) is not None:
                raise ImageRefused("Another image of this project has the same pixels.")
            drop_map(connection, image_id, now)
            drop_version_maps(connection, image_id, now)
            connection.execute(
                update(schema.image)
                .where(schema.image.c.image_id == image_id)
                .values(**_pixel_columns(new), image_seq=_next_image_seq(connection, row.project_id))
            )
            recount_image(connection, image_id)
            _tell_images(connection, row.project_id)
            queue_drawing(connection, row.project_id, now)
            return info_of(image_row(connection, image_id))

        return self._database.write(work)

    def page(self, project_id: str, after: int | None, limit: int) -> ImagePage:
        """Up to `limit` images behind position `after` (None: from the start). Raises ProjectNotFound."""
        statement = select(schema.image).where(
            schema.image.c.project_id == project_id, schema.image.c.removed_at.is_(None)
        )
        if after is not None:
            statement = statement.where(schema.image.c.position > after)
        with self._database.reading() as connection:
            total = project_row(connection, project_id).image_count
            rows = connection.execute(statement.order_by(schema.image.c.position).limit(limit + 1)).all()
        images = [info_of(row) for row in rows[:limit]]
        return ImagePage(
            images=images, total=total, next_after=images[-1].position if images and len(rows) > limit else None
        )

    def get(self, image_id: str) -> ImageInfo:
        """One image. Raises ImageNotFound."""
        with self._database.reading() as connection:
            return info_of(image_row(connection, image_id))

    def files(self, image_id: str) -> ImageFiles:
        """Where the image's files are. Raises ImageNotFound."""
        with self._database.reading() as connection:
            row = image_row(connection, image_id)
        return ImageFiles(
            original=BlobRef(row.original_sha256, row.original_type),
            canonical=BlobRef(row.canonical_sha256, row.canonical_type),
            thumbnail=BlobRef(row.thumbnail_sha256, row.thumbnail_type),
        )

    def remove(self, image_id: str) -> None:
        """Put a tombstone on the image; its labels stay in the log. Raises ImageNotFound."""
        now = self._clock()

        def work(connection: Connection) -> None:
            row = image_row(connection, image_id)
            connection.execute(
                update(schema.image)
                .where(schema.image.c.image_id == image_id)
                .values(removed_at=now, image_seq=_next_image_seq(connection, row.project_id))
            )
            connection.execute(
                update(schema.project)
                .where(schema.project.c.project_id == row.project_id)
                .values(label_count=schema.project.c.label_count - row.label_count)
            )
            connection.execute(delete(schema.class_count).where(schema.class_count.c.image_id == image_id))
            drop_map(connection, image_id, now)
            drop_version_maps(connection, image_id, now)
            _change_image_count(connection, row.project_id, -1)

        self._database.write(work)

    def open_in_browser(self, project_id: str, image_id: str, client_id: str, now: datetime) -> None:
        """Note that a browser tab shows the image. Raises ImageNotFound."""
        with self._database.reading() as connection:
            if image_row(connection, image_id).project_id != project_id:
                raise ImageNotFound
        with self._open_lock:
            # A tab that went to another project no longer looks at the first: its worker is free for the other.
            self._open[client_id] = (project_id, image_id, now)

    def image_in_view(self, project_id: str, now: datetime) -> str | None:
        """The image that a browser showed last, if that is at most a minute ago."""
        with self._open_lock:
            for tab, (_, _, at) in list(self._open.items()):
                if now - at > OPEN_FOR:
                    del self._open[tab]
            shown = [(at, image_id) for project, image_id, at in self._open.values() if project == project_id]
        return max(shown)[1] if shown else None

    def add_map(self, job_id: str, fence: int, upload: MapUpload) -> ImageMap:
        """Make this the image's map; an older one goes. The planes are stored as blobs before.

        A map by the fast head that knows newer labels stays where `has_newer_fast_map` says so, and is returned.

        Raises:
            LeaseLost, JobEnded: the caller may not draw for this job any more.
            ImageNotFound, ImageReplaced: draw the next image instead.
            BlobNotFound, BlobDamaged: a plane is not there, is not height * width bytes long, or holds an index
                that is not in the map's class list.
        """
        planes = examine_planes(
            self._blobs.read(upload.prediction), self._blobs.read(upload.confidence), len(upload.class_uids)
        )
        with self._database.reading() as reading:  # counted outside the writer, which must not wait for pixels
            prediction = self._blobs.read(upload.prediction)
            counts = count_against_truth(
                reading, self._blobs, upload.image_id, upload.image_sha256, prediction, upload.class_uids
            )
        now = self._clock()

        def work(connection: Connection) -> ImageMap:
            job = leased_job(connection, job_id, fence)
            row = row_to_draw(connection, job, upload.image_id, upload.image_sha256, planes)
            version = json.loads(job.spec)["model_version"] if job.kind == JobKind.PREDICT else None
            if version is not None:
                to_judge = DrawnMap(
                    prediction_sha256=upload.prediction,
                    confidence_sha256=upload.confidence,
                    width=row.width,
                    class_uids=upload.class_uids,
                    drawn_by="version",
                    model_version=version,
                    label_seq=job.label_seq,
                )
                judge_version_map(connection, self._blobs, row, to_judge)
                if counts is not None:
                    keep_score(connection, row.project_id, row.image_id, version, counts)
            in_view = self.image_in_view(job.project_id, now)
            if connection.execute(
                select(schema.image.c.image_id).where(
                    schema.image.c.image_id == upload.image_id, has_newer_fast_map(job.label_seq, version, in_view)
                )
            ).first():
                return maps_of(connection, upload.image_id)[0]
            return put_map(
                connection,
                row,
                planes,
                now,
                job_id=job_id,
                drawn_by="training" if version is None else "version",
                model_version=version,
                step=upload.step,
                label_seq=job.label_seq,
                label_count=job.label_count,
                timings_ms="{}",
                class_uids=json.dumps(upload.class_uids),
                prediction_sha256=upload.prediction,
                confidence_sha256=upload.confidence,
                candidates=candidate_list.dump_json(upload.candidates).decode(),
            )

        return self._database.write(work)

    def maps(self, image_id: str) -> Sequence[ImageMap]:
        """The image's maps, newest first: one, or none before a prediction. Raises ImageNotFound."""
        with self._database.reading() as connection:
            image_row(connection, image_id)
            return maps_of(connection, image_id)

    def map_planes(self, image_id: str, map_id: str) -> tuple[str, str]:
        """The blobs of prediction and confidence. Raises MapNotFound."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(schema.image_map.c.prediction_sha256, schema.image_map.c.confidence_sha256).where(
                    schema.image_map.c.image_id == image_id, schema.image_map.c.map_id == map_id
                )
            ).one_or_none()
        if row is None:
            raise MapNotFound
        return row.prediction_sha256, row.confidence_sha256


candidate_list: TypeAdapter[list[Candidate]] = TypeAdapter(list[Candidate])


@dataclass(frozen=True)
class PlaneFacts:
    """What the planes of a map say of it: their size in pixels, and the mean of 1 - confidence."""

    pixels: int
    uncertainty: float


def examine_planes(prediction: bytes, confidence: bytes, class_count: int) -> PlaneFacts:
    """Look whether two planes can be a map of one image.

    Raises:
        BlobDamaged: they differ in size, or an index is not in the class list.
    """
    classes = np.frombuffer(prediction, dtype=np.uint8)
    sure = np.frombuffer(confidence, dtype=np.uint8)
    if classes.size != sure.size:
        raise BlobDamaged(f"The planes of a map are of one size, not of {classes.size} and {sure.size} bytes.")
    if classes.max(initial=0) >= class_count:
        raise BlobDamaged(f"The prediction holds class {classes.max()} of {class_count} classes.")
    return PlaneFacts(pixels=sure.size, uncertainty=float(1.0 - sure.mean() / 255.0) if sure.size else 0.0)


def row_to_draw(
    connection: Connection, job: Row[Any], image_id: str, image_sha256: str, planes: PlaneFacts
) -> Row[Any]:
    """The row of an image whose map arrives.

    Raises:
        ImageNotFound, ImageReplaced: it was removed, or has other pixels by now.
        BlobDamaged: the planes do not have its size.
    """
    row = image_row(connection, image_id)
    if row.project_id != job.project_id:
        raise ImageNotFound
    if row.sha256 != image_sha256:
        raise ImageReplaced
    if planes.pixels != row.width * row.height:
        raise BlobDamaged(f"A map of this image has {row.height} x {row.width} bytes in each plane.")
    return row


def has_newer_fast_map(label_seq: int, version: int | None, in_view: str | None) -> ColumnElement[bool]:
    """Whether an image's map is one by the fast head that what a version drew at `label_seq` should not replace.

    It knows newer labels, and either stands on the features of this very version, or is on somebody's screen, where
    clicks would seem to be forgotten until the fast head has drawn with the new features. Everywhere else, and where
    no fast head is at work, the version's map is the better one.
    """
    drawn, job = schema.image_map.c, schema.job.c
    is_at_work = (
        exists()
        .where(job.project_id == schema.image.c.project_id, job.kind == JobKind.REFINE, job.state.in_(HELD_STATES))
        .correlate(schema.image)
    )
    return exists().where(
        drawn.image_id == schema.image.c.image_id,
        drawn.drawn_by == "fast head",
        drawn.label_seq > label_seq,
        or_(
            drawn.model_version.is_not_distinct_from(version),
            (schema.image.c.image_id == (in_view or "")) & is_at_work,
        ),
    )


def put_map(
    connection: Connection, row: Row[Any], planes: PlaneFacts, now: datetime, *, drawn_by: DrawnBy, **columns: Any
) -> ImageMap:
    """Make this the map of an image, tell the browsers; an older one goes.

    Of an image's maps the one that replaces another is never dated before it, whatever the clock did: browsers tell by
    the date which of two they are to show.
    """
    replaced = drop_map(
        connection, row.image_id, now, kept=(columns["prediction_sha256"], columns["confidence_sha256"])
    )
    connection.execute(
        insert(schema.image_map).values(
            map_id=new_id(now),
            image_id=row.image_id,
            drawn_by=drawn_by,
            width=row.width,
            height=row.height,
            created_at=now if replaced is None else max(now, replaced),
            **columns,
        )
    )
    connection.execute(
        update(schema.image)
        .where(schema.image.c.image_id == row.image_id)
        .values(uncertainty=planes.uncertainty, map_version=columns["model_version"] if drawn_by == "version" else None)
    )
    (drawn,) = maps_of(connection, row.image_id)
    tell(connection, row.project_id, MapReady(image_id=row.image_id, map=drawn))
    return drawn


def image_row(connection: Connection, image_id: str) -> Row[Any]:
    """The row of an image that is there, in a project that is there. Raises ImageNotFound."""
    row = connection.execute(IMAGE, {"of_image": image_id}).one_or_none()
    if row is None:
        raise ImageNotFound
    return row


def info_of(row: Row[Any]) -> ImageInfo:
    """The image as people see it."""
    return ImageInfo(
        image_id=row.image_id,
        project_id=row.project_id,
        name=row.name,
        width=row.width,
        height=row.height,
        sha256=row.sha256,
        position=row.position,
        added_at=row.added_at,
        label_count=row.label_count,
        last_seq=row.last_seq,
        uncertainty=row.uncertainty,
    )


def maps_of(connection: Connection, image_id: str) -> list[ImageMap]:
    """The image's maps, newest first."""
    rows = connection.execute(MAPS, {"of_image": image_id}).all()
    return [
        ImageMap(
            map_id=row.map_id,
            image_id=row.image_id,
            job_id=row.job_id,
            drawn_by=row.drawn_by,
            model_version=row.model_version,
            step=row.step,
            label_seq=row.label_seq,
            label_count=row.label_count,
            timings_ms=json.loads(row.timings_ms),
            width=row.width,
            height=row.height,
            class_uids=json.loads(row.class_uids),
            created_at=row.created_at,
            stale=row.project_seq > row.label_seq,
        )
        for row in rows
    ]


def drop_map(connection: Connection, image_id: str, now: datetime, kept: Sequence[str] = ()) -> datetime | None:
    """Forget the image's map; its planes become orphans, but for blobs that are `kept`.

    Returns:
        When that map was made; None where there was none.
    """
    of_image = {"of_image": image_id}
    row = connection.execute(PLANES, of_image).one_or_none()
    if row is None:
        return None
    connection.execute(DELETE_MAP, of_image)
    connection.execute(FORGET_MAP, of_image)
    leave_behind(connection, {row.prediction_sha256, row.confidence_sha256} - set(kept), now)
    made_at: datetime = row.created_at
    return made_at


def queue_drawing(connection: Connection, project_id: str, now: datetime, *, training_will_draw: bool = True) -> None:
    """Let the version that the project works with draw images that it has not drawn, unless an active job will.

    A training draws when it has published, but not while a version is pinned.

    Args:
        training_will_draw: False: do not wait for a training, the images should not stay as they are so long.
    """
    version = working_version(connection, project_id)
    if version is None:
        return
    is_pinned = project_row(connection, project_id).pinned_version is not None
    is_active = (schema.job.c.project_id == project_id) & schema.job.c.state.in_(ACTIVE_STATES)
    for job in connection.execute(select(schema.job).where(is_active)).all():
        if draws_all_images(job) and json.loads(job.spec)["model_version"] == version:
            return
        if job.kind == JobKind.TRAIN and not repeats_a_version(job) and not is_pinned and training_will_draw:
            return
    known = connection.execute(
        select(schema.model_version).where(
            schema.model_version.c.project_id == project_id, schema.model_version.c.version == version
        )
    ).one()
    insert_job(
        connection,
        project_id=project_id,
        spec=PredictSpec(model_version=version),
        label_seq=known.label_seq,
        label_count=known.label_count,
        class_uids=json.loads(known.class_uids),
        now=now,
    )


def drop_version_maps(connection: Connection, image_id: str, now: datetime) -> None:
    """Forget what single versions drew of the image; the planes become orphans."""
    planes = schema.version_map.c
    rows = connection.execute(
        select(planes.prediction_sha256, planes.confidence_sha256).where(planes.image_id == image_id)
    ).all()
    connection.execute(delete(schema.version_map).where(planes.image_id == image_id))
    leave_behind(connection, {sha256 for row in rows for sha256 in row}, now)


def _by_content(connection: Connection, project_id: str, sha256: str) -> Row[Any] | None:
    return connection.execute(
        select(schema.image).where(
            schema.image.c.project_id == project_id,
            schema.image.c.sha256 == sha256,
            schema.image.c.removed_at.is_(None),
        )
    ).one_or_none()


def _pixel_columns(new: NewImage) -> dict[str, Any]:
    return {
        "width": new.width,
        "height": new.height,
        "sha256": new.sha256,
        "original_sha256": new.original.sha256,
        "original_type": new.original.media_type,
        "canonical_sha256": new.canonical.sha256,
        "canonical_type": new.canonical.media_type,
        "thumbnail_sha256": new.thumbnail.sha256,
        "thumbnail_type": new.thumbnail.media_type,
    }


def _change_image_count(connection: Connection, project_id: str, by: int) -> None:
    connection.execute(
        update(schema.project)
        .where(schema.project.c.project_id == project_id)
        .values(image_count=schema.project.c.image_count + by)
    )
    _tell_images(connection, project_id)


def _next_image_seq(connection: Connection, project_id: str) -> int:
    """Count that an image comes, goes or gets other pixels."""
    image_seq = schema.project.c.image_seq
    connection.execute(
        update(schema.project).where(schema.project.c.project_id == project_id).values(image_seq=image_seq + 1)
    )
    return int(project_row(connection, project_id).image_seq)


def _tell_images(connection: Connection, project_id: str) -> None:
    tell(connection, project_id, ImagesChanged(image_count=project_row(connection, project_id).image_count))
