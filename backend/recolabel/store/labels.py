"""The label log: append-only, idempotent, acknowledged only when on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, Select, bindparam, func, insert, select

from recolabel.blobs import Blobs
from recolabel.contract.labels import (
    MAX_STROKE_WORK,
    SUBPIXEL,
    VOID,
    Ack,
    ClickEvent,
    EraseEvent,
    Fate,
    FixedPoint,
    ImageLabels,
    LabelAcks,
    LabelEvent,
    MaskEvent,
    StoredEvent,
    StrokeEvent,
    UndoEvent,
)
from recolabel.contract.updates import LabelsChanged
from recolabel.errors import (
    ClassRetired,
    EventIdTaken,
    ImageReplaced,
    LabelRefused,
    OutsideImage,
    StrokeTooLong,
    UnknownClass,
    UnknownImage,
    UnknownTarget,
)
from recolabel.labels.fold import LabelMap
from recolabel.labels.raster import stroke_work
from recolabel.snapshots import ImageFacts, image_label_map
from recolabel.store import held_out, schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.images import image_row
from recolabel.store.judgements import judge_live
from recolabel.store.label_counts import add_counts, labels_by_class, recount_image, stored_event
from recolabel.store.projects import classes_of, project_row
from recolabel.store.updates import tell

LABEL_KINDS = ("click", "stroke", "mask")
IDS_PER_STATEMENT = 500

# Statements of the hot path stand here, made once: making them costs more than SQLite takes to run them.
APPEND = insert(schema.label_event)
KNOWN = select(schema.label_event.c.event_id, schema.label_event.c.seq, schema.label_event.c.payload_sha256).where(
    schema.label_event.c.event_id.in_(bindparam("event_ids", expanding=True))
)
NEWEST_SEQ = select(func.coalesce(func.max(schema.label_event.c.seq), 0))
IMAGE = select(schema.image).where(
    schema.image.c.image_id == bindparam("of_image"),
    schema.image.c.project_id == bindparam("of_project"),
    schema.image.c.removed_at.is_(None),
)

LOG_OF_IMAGE: Select[Any] = (
    select(
        schema.label_event.c.seq,
        schema.label_event.c.annotator_id,
        schema.label_event.c.server_time,
        schema.label_event.c.payload,
    )
    .where(schema.label_event.c.image_id == bindparam("of_image"), schema.label_event.c.seq <= bindparam("up_to"))
    .order_by(schema.label_event.c.seq)
)


class Labels:
    """The label log of all projects."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def append(self, project_id: str, events: Sequence[LabelEvent], annotator_id: str) -> LabelAcks:
        """Append events, each judged alone, and return their fates in the order given.

        An event that is on disk already is a duplicate if it is the same, else refused (event_id_taken). When this
        returns, whatever is stored or duplicate is on disk. Raises ProjectNotFound, Busy, StorageFull, StorageBroken;
        then nothing of the batch was stored.
        """
        now = self._clock()
        payloads = [event.model_dump_json() for event in events]

        def work(connection: Connection) -> LabelAcks:
            return _Appending(connection, self._blobs, project_id, annotator_id, now).append(events, payloads)

        acks = self._database.write(work)
        self._database.remember_seq(acks.label_seq)
        return acks

    def of_image(self, image_id: str, after_seq: int = 0) -> ImageLabels:
        """The image's log behind `after_seq`, oldest first. Raises ImageNotFound."""
        with self._database.reading() as connection:
            row = image_row(connection, image_id)
            events = _events(
                connection,
                _log().where(schema.label_event.c.image_id == image_id, schema.label_event.c.seq > after_seq),
            )
        return ImageLabels(image_id=image_id, last_seq=row.last_seq, events=events)

    def of_image_up_to(self, image_id: str, seq: int) -> list[StoredEvent]:
        """The image's log up to and with `seq`, oldest first. Raises ImageNotFound."""
        with self._database.reading() as connection:
            image_row(connection, image_id)
            return events_of_image(connection, image_id, seq)

    def log(self, project_id: str, after: int = 0, limit: int = 1_000, up_to: int | None = None) -> list[StoredEvent]:
        """A stretch of the project's log: behind `after`, up to and with `up_to`. Raises ProjectNotFound."""
        statement = _log().where(schema.label_event.c.project_id == project_id, schema.label_event.c.seq > after)
        if up_to is not None:
            statement = statement.where(schema.label_event.c.seq <= up_to)
        with self._database.reading() as connection:
            project_row(connection, project_id)
            return _events(connection, statement.limit(limit))

    def class_counts(self, project_id: str) -> dict[str, int]:
        """Labels that hold, by class; 0 for a class without. Retired classes and void are left out."""
        with self._database.reading() as connection:
            counts = labels_by_class(connection, project_id)
            classes = classes_of(connection, project_id)
        return {
            label_class.class_uid: counts.get(label_class.class_uid, 0)
            for label_class in classes
            if not label_class.retired
        }

    def label_map(self, image_id: str, class_uids: Sequence[str] | None = None, up_to: int | None = None) -> LabelMap:
        """What is known of the image's pixels: (height, width) uint8, class index, 254 void, 255 unlabelled.

        Args:
            class_uids: class index -> class; by default the project's classes that are not retired, by position.
            up_to: position in the log; by default all of it.

        Raises:
            ImageNotFound: there is no such image.
        """
        with self._database.reading() as connection:
            row = image_row(connection, image_id)
            events = events_of_image(connection, image_id, row.last_seq if up_to is None else up_to)
            if class_uids is None:
                class_uids = [
                    label_class.class_uid
                    for label_class in classes_of(connection, row.project_id)
                    if not label_class.retired
                ]
        return image_label_map(facts_of(row), events, class_uids)


class _Appending:
    """One batch inside its transaction: what was looked up already, and what is to be written at its end."""

    def __init__(self, connection: Connection, blobs: Blobs, project_id: str, annotator_id: str, now: datetime) -> None:
        self._connection = connection
        self._blobs = blobs
        self._project_id = project_id
        self._annotator_id = annotator_id
        self._now = now
        self._label_seq = int(project_row(connection, project_id).label_seq)
        self._retired = {
            label_class.class_uid: label_class.retired for label_class in classes_of(connection, project_id)
        }
        self._images: dict[str, Row[Any] | None] = {}
        self._new_rows: list[dict[str, Any]] = []
        self._new: dict[str, tuple[int, str, LabelEvent]] = {}  # event_id -> seq, payload_sha256, event

    def append(self, events: Sequence[LabelEvent], payloads: Sequence[str]) -> LabelAcks:
        digests = [hashlib.sha256(payload.encode()).hexdigest() for payload in payloads]
        known = self._known([event.event_id for event in events])
        next_seq = self._newest_seq() + 1
        acks = []
        for event, payload, digest in zip(events, payloads, digests, strict=True):
            try:
                twin = known.get(event.event_id)
                if twin is not None:
                    if twin[1] != digest:
                        raise EventIdTaken
                    acks.append(Ack(event_id=event.event_id, fate=Fate.DUPLICATE, seq=twin[0]))
                    continue
                self._examine(event)
            except LabelRefused as refusal:
                acks.append(Ack(event_id=event.event_id, fate=Fate.REFUSED, code=refusal.code, reason=refusal.sentence))
                continue
            known[event.event_id] = (next_seq, digest)
            self._take(event, payload, digest, next_seq)
            acks.append(Ack(event_id=event.event_id, fate=Fate.STORED, seq=next_seq))
            next_seq += 1
        self._write()
        return LabelAcks(acks=acks, label_seq=self._label_seq)

    def _examine(self, event: LabelEvent) -> None:
        """Raise the LabelRefused that fits, if the event cannot be stored."""
        image = self._image(event.image_id)
        if image is None:
            raise UnknownImage
        if event.image_sha256 != image.sha256:
            raise ImageReplaced
        if isinstance(event, UndoEvent):
            self._examine_targets(event, None)
        elif isinstance(event, EraseEvent):
            _examine_line(event.points, event.radius, image)
            self._examine_targets(event, LABEL_KINDS)
        elif isinstance(event, ClickEvent):
            self._examine_class(event.class_uid)
            if event.pixel.x >= image.width or event.pixel.y >= image.height:
                raise OutsideImage(
                    f"The pixel ({event.pixel.x}, {event.pixel.y}) lies outside the image "
                    f"of {image.width} x {image.height} pixels."
                )
        elif isinstance(event, StrokeEvent):
            self._examine_class(event.class_uid)
            _examine_line(event.points, event.radius, image)
        else:
            for part in event.classes:
                self._examine_class(part.class_uid)
            _examine_spans(event, image)

    def _examine_class(self, class_uid: str) -> None:
        if class_uid == VOID:
            return
        retired = self._retired.get(class_uid)
        if retired is None:
            raise UnknownClass
        if retired:
            raise ClassRetired

    def _examine_targets(self, event: UndoEvent | EraseEvent, kinds: Sequence[str] | None) -> None:
        missing = set(event.targets)
        for target in event.targets:
            new = self._new.get(target)
            if new is not None and new[2].image_id == event.image_id and (kinds is None or new[2].kind in kinds):
                missing.discard(target)
        wanted = sorted(missing)
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            part = wanted[start : start + IDS_PER_STATEMENT]
            statement = select(schema.label_event.c.event_id).where(
                schema.label_event.c.event_id.in_(part), schema.label_event.c.image_id == event.image_id
            )
            if kinds is not None:
                statement = statement.where(schema.label_event.c.kind.in_(kinds))
            missing.difference_update(self._connection.execute(statement).scalars())
        if missing:
            raise UnknownTarget

    def _take(self, event: LabelEvent, payload: str, digest: str, seq: int) -> None:
        self._label_seq = seq
        self._new[event.event_id] = (seq, digest, event)
        self._new_rows.append(
            {
                "seq": seq,
                "event_id": event.event_id,
                "project_id": self._project_id,
                "image_id": event.image_id,
                "image_sha256": event.image_sha256,
                "annotator_id": self._annotator_id,
                "client_id": event.client_id,
                "client_seq": event.client_seq,
                "kind": event.kind,
                "server_time": self._now,
                "payload": payload,
                "payload_sha256": digest,
            }
        )

    def _write(self) -> None:
        """Write what was taken, and everything that is derived from it."""
        if not self._new_rows:
            return
        self._connection.execute(APPEND, self._new_rows)
        clicks = [(seq, event) for seq, _, event in self._new.values() if isinstance(event, ClickEvent)]
        out = held_out.decide(self._connection, self._project_id, clicks)
        judge_live(self._connection, self._blobs, self._project_id, clicks, out)
        by_image: dict[str, list[tuple[int, str, LabelEvent]]] = {}
        for entry in self._new.values():
            by_image.setdefault(entry[2].image_id, []).append(entry)
        for image_id, entries in by_image.items():
            last_seq = entries[-1][0]
            events = [event for _, _, event in entries]
            self._count(image_id, last_seq, events)
            for client_id in dict.fromkeys(event.client_id for event in events):
                hint = LabelsChanged(image_id=image_id, last_seq=last_seq, client_id=client_id)
                tell(self._connection, self._project_id, hint)

    def _count(self, image_id: str, last_seq: int, events: Sequence[LabelEvent]) -> None:
        by_class: dict[str, int] = {}
        count = 0
        for event in events:
            if isinstance(event, UndoEvent | EraseEvent):
                continue
            said = [part.class_uid for part in event.classes] if isinstance(event, MaskEvent) else [event.class_uid]
            count += 1
            for class_uid in dict.fromkeys(said):
                by_class[class_uid] = by_class.get(class_uid, 0) + 1
        add_counts(self._connection, self._project_id, image_id, last_seq, count, by_class)
        if any(isinstance(event, UndoEvent | EraseEvent) for event in events):
            recount_image(self._connection, image_id)

    def _known(self, event_ids: Sequence[str]) -> dict[str, tuple[int, str]]:
        known: dict[str, tuple[int, str]] = {}
        for start in range(0, len(event_ids), IDS_PER_STATEMENT):
            ids = list(event_ids[start : start + IDS_PER_STATEMENT])
            for row in self._connection.execute(KNOWN, {"event_ids": ids}):
                known[row.event_id] = (row.seq, row.payload_sha256)
        return known

    def _newest_seq(self) -> int:
        return int(self._connection.execute(NEWEST_SEQ).scalar_one())

    def _image(self, image_id: str) -> Row[Any] | None:
        if image_id not in self._images:
            self._images[image_id] = self._connection.execute(
                IMAGE, {"of_image": image_id, "of_project": self._project_id}
            ).one_or_none()
        return self._images[image_id]


def facts_of(row: Row[Any]) -> ImageFacts:
    """What a snapshot needs of an image's row."""
    return ImageFacts(image_id=row.image_id, sha256=row.sha256, name=row.name, width=row.width, height=row.height)


def events_of_image(connection: Connection, image_id: str, up_to: int) -> list[StoredEvent]:
    """The image's log up to and with `up_to`, oldest first."""
    return [stored_event(row) for row in connection.execute(LOG_OF_IMAGE, {"of_image": image_id, "up_to": up_to})]


def training_label_map(connection: Connection, image: Row[Any], class_uids: Sequence[str], up_to: int) -> LabelMap:
    """What a training or fit may know of an image's pixels at a log position: held-out clicks are not among them."""
    return image_label_map(
        facts_of(image),
        events_of_image(connection, image.image_id, up_to),
        class_uids,
        without=held_out.held_out_of_image(connection, image.image_id),
    )


def events_of_project(connection: Connection, project_id: str, up_to: int) -> dict[str, list[StoredEvent]]:
    """The project's log up to and with `up_to`, oldest first, by image."""
    by_image: dict[str, list[StoredEvent]] = {}
    statement = _log().where(schema.label_event.c.project_id == project_id, schema.label_event.c.seq <= up_to)
    for stored in _events(connection, statement):
        by_image.setdefault(stored.event.image_id, []).append(stored)
    return by_image


def _log() -> Select[Any]:
    event = schema.label_event.c
    return select(event.seq, event.annotator_id, event.server_time, event.payload).order_by(event.seq)


def _events(connection: Connection, statement: Select[Any]) -> list[StoredEvent]:
    return [stored_event(row) for row in connection.execute(statement)]


def _examine_line(points: Sequence[FixedPoint], radius: int, image: Row[Any]) -> None:
    """Refuse a stroke that nobody could draw in reasonable time, or that stays away from the image.

    The latter is judged by boxes around its parts, so slightly too mild.
    """
    if stroke_work(points, radius, height=image.height) > MAX_STROKE_WORK:
        raise StrokeTooLong
    corners = np.array([(point.x, point.y) for point in points], dtype=np.int64)
    ends = np.vstack([corners[1:], corners[-1:]])
    low, high = np.minimum(corners, ends) - radius, np.maximum(corners, ends) + radius
    border = np.array([image.width, image.height]) * SUBPIXEL
    if not ((high >= 0) & (low < border)).all(axis=1).any():
        raise OutsideImage(f"The stroke lies outside the image of {image.width} x {image.height} pixels.")


def _examine_spans(event: MaskEvent, image: Row[Any]) -> None:
    for part in event.classes:
        if len(part.spans) % 3:
            raise LabelRefused("The runs of a mask come in threes: y, x, length.")
        try:
            runs = np.array(part.spans, dtype=np.int64).reshape(-1, 3)
        except OverflowError as error:
            raise OutsideImage("A run of the mask lies outside the image.") from error
        y, x, length = runs[:, 0], runs[:, 1], runs[:, 2]
        if (length < 1).any():
            raise LabelRefused("A run of the mask has no pixel.")
        inside = (y >= 0) & (y < image.height) & (x >= 0) & (x < image.width) & (length <= image.width - x)
        if not inside.all():
            raise OutsideImage(f"The mask lies outside the image of {image.width} x {image.height} pixels.")
