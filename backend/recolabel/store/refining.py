"""Refine jobs: one for each project that somebody looks at. What the fast head should learn and draw, and its maps."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from recolabel.blobs import Blobs
from recolabel.contract.images import ImageMap
from recolabel.contract.jobs import ACTIVE_STATES, FastMap, JobKind, RefineSpec, RefineWork
from recolabel.contract.labels import SnapshotImage
from recolabel.errors import BadArgument, BlobDamaged, BlobNotFound, ClassNotFound, ImageReplaced
from recolabel.labels.fold import UNLABELLED_INDEX, LabelMap
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.images import (
    Images,
    candidate_list,
    drop_map,
    examine_planes,
    image_row,
    maps_of,
    put_map,
    row_to_draw,
)
from recolabel.store.job_states import insert_job, leased_job
from recolabel.store.labels import training_label_map
from recolabel.store.projects import classes_of, project_row, working_version

DRAWN_AHEAD = 3
"""So many images behind the one in view are drawn as well, since people go on to the next."""
MAPS_AT_HAND = 4
"""Label maps of so many changed images are given with the answer: after a click that is one."""
SURELY_ON_DISK_AFTER = timedelta(minutes=3)
STATE_FORM = r"^\d{1,18}\.[0-9a-f]{16}$"


# Statements of the way from a click to its overlay stand here, made once: making them costs more than running them.
_image, _drawn, _version = schema.image.c, schema.image_map.c, schema.model_version.c
ACTIVE = select(schema.job.c.job_id).where(
    schema.job.c.project_id == bindparam("of_project"),
    schema.job.c.kind == JobKind.REFINE,
    schema.job.c.state.in_(ACTIVE_STATES),
)
LABELLED = (
    select(schema.image)
    .where(
        _image.project_id == bindparam("of_project"),
        _image.removed_at.is_(None),
        _image.last_seq > bindparam("after"),
    )
    .order_by(_image.position)
)
REPLACED = LABELLED.where(_image.image_seq > bindparam("after_image_seq"))
GONE = select(_image.image_id).where(
    _image.project_id == bindparam("of_project"),
    _image.removed_at.is_not(None),
    _image.last_seq > 0,
    _image.image_seq > bindparam("after_image_seq"),
)
WITH_MAP = (  # images that are there, each beside its newest map or nulls
    select(
        schema.image,
        _drawn.drawn_by,
        _drawn.model_version.label("drawn_from"),
        _drawn.label_seq.label("map_seq"),
        _drawn.class_uids.label("map_class_uids"),
        _drawn.prediction_sha256,
        _drawn.confidence_sha256,
    )
    .outerjoin(schema.image_map, _drawn.image_id == _image.image_id)
    .where(_image.project_id == bindparam("of_project"), _image.removed_at.is_(None))
)
IN_VIEW = WITH_MAP.where(_image.image_id == bindparam("in_view"))
BEHIND = WITH_MAP.where(_image.position > bindparam("position")).order_by(_image.position).limit(DRAWN_AHEAD)
MOST_UNCERTAIN = (
    WITH_MAP.where(_image.uncertainty.is_not(None)).order_by(_image.uncertainty.desc(), _image.position).limit(1)
)
NEWEST_FAST_MAP = select(func.max(_drawn.created_at)).where(_drawn.drawn_by == "fast head")
FAST_MAPS_SINCE = select(_drawn.image_id, _drawn.prediction_sha256, _drawn.confidence_sha256).where(
    _drawn.drawn_by == "fast head", _drawn.created_at >= bindparam("since")
)
SEQ_OF_VERSION = select(_version.label_seq).where(
    _version.project_id == bindparam("of_project"), _version.version == bindparam("of_version")
)


class Refining:
    """The jobs that keep the fast head fitted, and what their worker may ask."""

    def __init__(self, database: Database, blobs: Blobs, images: Images, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._images = images
        self._clock = clock

    def keep_fitted(self, project_id: str) -> bool:
        """Queue a refine job for the project unless one is active; whether one was queued. Raises ProjectNotFound.

        Not in the transaction that asks, so that nothing is written where nothing changes.
        """
        of_project = {"of_project": project_id}
        with self._database.reading() as connection:  # browsers say every few seconds that they look: no write then
            if connection.execute(ACTIVE, of_project).first() is not None:
                return False
        now = self._clock()

        def work(connection: Connection) -> bool:
            if connection.execute(ACTIVE, of_project).first() is not None:
                return False
            project = project_row(connection, project_id)
            insert_job(
                connection,
                project_id=project_id,
                spec=RefineSpec(),
                label_seq=project.label_seq,
                label_count=project.label_count,
                class_uids=_class_uids(connection, project_id),
                now=now,
            )
            return True

        return self._database.write(work)

    def drop_damaged_maps(self) -> None:
        """Forget maps whose planes a power cut took. Asked when the store is opened; looks at the last ones only, since
        the system writes everything to the disk within half a minute or so.
        """
        with self._database.reading() as connection:
            newest = connection.execute(NEWEST_FAST_MAP).scalar()
            if newest is None:
                return
            recent = connection.execute(FAST_MAPS_SINCE, {"since": newest - SURELY_ON_DISK_AFTER}).all()
        damaged = [row.image_id for row in recent if not self._are_whole(row.prediction_sha256, row.confidence_sha256)]
        if not damaged:
            return
        now = self._clock()

        def work(connection: Connection) -> None:
            for image_id in damaged:
                drop_map(connection, image_id, now)

        self._database.write(work)

    def _are_whole(self, *sha256s: str) -> bool:
        try:
            for sha256 in sha256s:
                self._blobs.read_whole(sha256)
        except BlobNotFound:
            return False
        return True

    def work(
        self, job_id: str, fence: int, after: int, state: str | None, now: datetime
    ) -> tuple[RefineWork, dict[str, LabelMap]]:
        """What there is to learn and draw, as of now, and the label maps of the images that changed.

        Where many changed, none of their maps is given.

        Args:
            after: the log position that the worker knows; 0: it knows no label.
            state: of the answer that it knows. Where the new answer has the same, nothing is new and `changed`, `gone`
                and `draw` are empty.

        Raises:
            LeaseLost, JobEnded, JobNotFound, BadArgument: as with every call for a refine job.
        """
        image_seq = 0 if state is None else int(state.partition(".")[0])
        with self._database.reading() as connection:
            job = _refine_job(connection, job_id, fence)
            project = project_row(connection, job.project_id)
            class_uids = _class_uids(connection, job.project_id)
            version = working_version(connection, job.project_id)
            in_view = self._images.image_in_view(job.project_id, now)
            draw = [] if in_view is None else self._images_to_draw(connection, project, class_uids, version, in_view)
            facts = (project.label_seq, class_uids, version, in_view, [(row.image_id, row.sha256) for row in draw])
            new_state = f"{project.image_seq}.{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]}"
            is_news = new_state != state
            rows = _changed(connection, project, after, image_seq) if is_news else []
            changed: list[SnapshotImage] = []
            label_maps: dict[str, LabelMap] = {}
            for row in rows:
                label_map = training_label_map(connection, row, class_uids, project.label_seq)
                changed.append(_described(row, int((label_map != UNLABELLED_INDEX).sum())))
                if len(rows) <= MAPS_AT_HAND:
                    label_maps[row.image_id] = label_map
            work = RefineWork(
                label_seq=project.label_seq,
                state=new_state,
                label_count=project.label_count,
                class_uids=class_uids,
                model_version=version,
                changed=changed,
                gone=_gone(connection, project, image_seq) if is_news and state is not None else [],
                draw=[_described(row, row.label_count) for row in draw] if is_news else [],
                idle=in_view is None,
            )
        return work, label_maps

    def add_map(self, job_id: str, fence: int, fast_map: FastMap) -> ImageMap:
        """Make this the image's map, unless it has one that is as good: then that one stays, and is returned.

        A map that a power cut takes away is drawn again, so nothing waits for the disk but the row.

        Raises:
            LeaseLost, JobEnded, JobNotFound, BadArgument: as with every call for a refine job; also a log position
                that is not there yet.
            ImageNotFound, ImageReplaced: the image was removed, or has other pixels by now.
            BlobDamaged: a plane is not height * width bytes long, or holds an index that is not in the class list.
            ClassNotFound: a class that the project does not have.
        """
        started = time.perf_counter()
        with self._database.reading() as connection:
            job = _refine_job(connection, job_id, fence)
            image = image_row(connection, fast_map.image_id)
            known = {label_class.class_uid for label_class in classes_of(connection, job.project_id)}
        if image.sha256 != fast_map.image_sha256:
            raise ImageReplaced  # before its planes are held against a size that is not theirs
        if not known.issuperset(fast_map.class_uids):
            raise ClassNotFound
        prediction, confidence = (
            _unpacked(packed, image.height * image.width) for packed in (fast_map.prediction, fast_map.confidence)
        )
        planes = examine_planes(prediction, confidence, len(fast_map.class_uids))
        prediction_sha256 = self._blobs.put_bytes(prediction, lasting=False)
        confidence_sha256 = self._blobs.put_bytes(confidence, lasting=False)
        now = self._clock()

        def work(connection: Connection) -> ImageMap:
            job = _refine_job(connection, job_id, fence)
            row = row_to_draw(connection, job, fast_map.image_id, fast_map.image_sha256, planes)
            project = project_row(connection, job.project_id)
            if fast_map.label_seq > project.label_seq:
                raise BadArgument(f"The log of this project ends at {project.label_seq}.")
            maps = maps_of(connection, fast_map.image_id)
            if maps and not _is_better(fast_map, maps[0]):
                return maps[0]
            timings = fast_map.timings_ms | {"store": round(1000 * (time.perf_counter() - started), 2)}
            return put_map(
                connection,
                row,
                planes,
                now,
                job_id=job_id,
                drawn_by="fast head",
                model_version=fast_map.model_version,
                step=0,
                label_seq=fast_map.label_seq,
                label_count=fast_map.label_count,
                timings_ms=json.dumps(timings),
                class_uids=json.dumps(fast_map.class_uids),
                prediction_sha256=prediction_sha256,
                confidence_sha256=confidence_sha256,
                candidates=candidate_list.dump_json(fast_map.candidates).decode(),
            )

        return self._database.write(work)

    def _images_to_draw(
        self,
        connection: Connection,
        project: Row[Any],
        class_uids: Sequence[str],
        version: int | None,
        in_view: str,
    ) -> list[Row[Any]]:
        """The image in view, those behind it and the most uncertain one: of these, the ones that want a fresh map."""
        of_project = {"of_project": project.project_id}
        candidates = list(connection.execute(IN_VIEW, of_project | {"in_view": in_view}))
        if candidates:
            candidates += connection.execute(BEHIND, of_project | {"position": candidates[0].position})
        candidates += connection.execute(MOST_UNCERTAIN, of_project)
        version_seq = _seq_of_version(connection, project.project_id, version)
        by_id = {row.image_id: row for row in candidates}
        return [
            row for row in by_id.values() if self._wants_map(row, project.label_seq, class_uids, version, version_seq)
        ]

    def _wants_map(
        self, row: Row[Any], label_seq: int, class_uids: Sequence[str], version: int | None, version_seq: int
    ) -> bool:
        """Whether the fast head could show the image better than its newest map does."""
        if row.drawn_by is None:
            return True
        if version_seq >= label_seq:
            return False  # the version knows all labels, and what it draws is better
        if row.drawn_by == "fast head":
            is_newest = (row.map_seq, row.drawn_from) == (label_seq, version)
            is_there = self._blobs.exists(row.prediction_sha256) and self._blobs.exists(row.confidence_sha256)
            return not (is_newest and json.loads(row.map_class_uids) == class_uids and is_there)
        return bool(row.map_seq < label_seq or (row.drawn_by == "version" and row.drawn_from != version))


def _refine_job(connection: Connection, job_id: str, fence: int) -> Row[Any]:
    """The row of a refine job that the caller holds. Raises LeaseLost, JobEnded, JobNotFound, BadArgument."""
    job = leased_job(connection, job_id, fence)
    if job.kind != JobKind.REFINE:
        raise BadArgument("Only a refine job keeps the fast head fitted.")
    return job


def _class_uids(connection: Connection, project_id: str) -> list[str]:
    """Class index -> class: those that are not retired."""
    return [each.class_uid for each in classes_of(connection, project_id) if not each.retired]


def _changed(connection: Connection, project: Row[Any], after: int, image_seq: int) -> Sequence[Row[Any]]:
    """The images with a log whose labels changed, or whose pixels did."""
    of_project = {"of_project": project.project_id}
    rows = {row.image_id: row for row in connection.execute(LABELLED, of_project | {"after": after})}
    if project.image_seq > image_seq:  # rarely; it looks at every image with a log
        came = {"after": 0, "after_image_seq": image_seq}
        rows |= {row.image_id: row for row in connection.execute(REPLACED, of_project | came)}
    return sorted(rows.values(), key=lambda row: int(row.position))


def _gone(connection: Connection, project: Row[Any], image_seq: int) -> list[str]:
    if project.image_seq == image_seq:
        return []
    of_project = {"of_project": project.project_id, "after_image_seq": image_seq}
    return list(connection.execute(GONE, of_project).scalars())


def _described(row: Row[Any], labelled_pixels: int) -> SnapshotImage:
    return SnapshotImage(
        image_id=row.image_id,
        sha256=row.sha256,
        name=row.name,
        width=row.width,
        height=row.height,
        labelled_pixels=labelled_pixels,
    )


def _seq_of_version(connection: Connection, project_id: str, version: int | None) -> int:
    """The log position that a version was trained at; -1 without a version."""
    if version is None:
        return -1
    seq = connection.execute(SEQ_OF_VERSION, {"of_project": project_id, "of_version": version}).scalar()
    return -1 if seq is None else int(seq)


def _is_better(fast_map: FastMap, there: ImageMap) -> bool:
    """Whether a map by the fast head takes the place of the one that is there.

    At the same log position a network beats the fast head on its features, and a training that still runs as well;
    a version that the project does not work with any more does not.
    """
    if there.label_seq != fast_map.label_seq:
        return there.label_seq < fast_map.label_seq
    return there.drawn_by == "fast head" or (
        there.drawn_by == "version" and there.model_version != fast_map.model_version
    )


def _unpacked(packed: bytes, size: int) -> bytes:
    """The plane, never unpacked beyond one byte more than it may have. Raises BlobDamaged."""
    unpacking = zlib.decompressobj()
    try:
        plane = unpacking.decompress(packed, size + 1)
    except zlib.error as error:
        raise BlobDamaged(f"A plane of the map cannot be unpacked: {error}.") from error
    if len(plane) != size or not unpacking.eof:
        raise BlobDamaged(f"A plane of this image's map has {size} bytes, packed by zlib.")
    return plane
