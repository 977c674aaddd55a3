"""Label events: everything an annotator ever says about pixels, append-only.

Strokes and erasers are polylines in sixteenths of a pixel (fixed point): pixel (x, y) covers
[16x, 16x + 16) and its centre is at (16x + 8, 16y + 8). Which pixels a stroke covers is defined in
`recolabel.labels.raster`, in integers, and shared with the browser through golden files.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from recolabel.contract.images import Sha256
from recolabel.contract.projects import Contract, Id

SUBPIXEL = 16
"""Fixed-point units in a pixel."""
MAX_SIDE = 32_768
MAX_STROKE_POINTS = 4_096
MAX_RADIUS = 256 * SUBPIXEL
MAX_STROKE_WORK = 1 << 27
"""Of a stroke: samples (two a pixel of its way) times rows under its brush. Drawing that much takes some seconds."""
MAX_SPANS = 1_000_000
MAX_TARGETS = 10_000
MAX_BATCH = 256

VOID = "void"
"""Said in place of a class: no class fits these pixels. They enter no loss and get no pseudo-label."""

ClassOrVoid = Id | Literal["void"]


Asked = Literal["guided", "random"]
"""How the pixel of a question was chosen: by a strategy, or drawn evenly from all pixels of all images."""


class Pixel(Contract):
    """A pixel of the canonical image."""

    x: int = Field(ge=0, lt=MAX_SIDE)
    y: int = Field(ge=0, lt=MAX_SIDE)


class FixedPoint(Contract):
    """A position in sixteenths of a pixel. Strokes may leave the image by up to their radius."""

    x: int = Field(ge=-MAX_RADIUS, lt=MAX_SIDE * SUBPIXEL + MAX_RADIUS)
    y: int = Field(ge=-MAX_RADIUS, lt=MAX_SIDE * SUBPIXEL + MAX_RADIUS)


Polyline = Annotated[list[FixedPoint], Field(min_length=1, max_length=MAX_STROKE_POINTS)]
Radius = Annotated[int, Field(ge=0, le=MAX_RADIUS, description="in sixteenths of a pixel")]


class EventBase(Contract):
    """What every label event carries."""

    event_id: Id = Field(description="made by the client (UUIDv7); sending it twice stores it once")
    image_id: Id
    image_sha256: Sha256 = Field(description="the pixels that the annotator saw")
    client_id: Id = Field(description="one browser tab or one command line run")
    client_seq: int = Field(ge=0, lt=2**31, description="counts up per client, so that the server can see gaps")
    client_time: datetime


class ClickEvent(EventBase):
    """One pixel belongs to a class, or to none (void)."""

    kind: Literal["click"] = "click"
    class_uid: ClassOrVoid
    pixel: Pixel
    question_id: Id | None = Field(default=None, description="the question that this click answers")
    asked: Asked | None = Field(default=None, description="how that question's pixel was chosen, as it said")


class StrokeEvent(EventBase):
    """All pixels under a brush stroke belong to a class, or to none (void)."""

    kind: Literal["stroke"] = "stroke"
    class_uid: ClassOrVoid
    points: Polyline
    radius: Radius


class EraseEvent(EventBase):
    """The pixels under a stroke become unlabelled - in the labels named as targets only.

    A label that the eraser's hand had not seen yet stays whole.
    """

    kind: Literal["erase"] = "erase"
    points: Polyline
    radius: Radius
    targets: list[Id] = Field(min_length=1, max_length=MAX_TARGETS)


class UndoEvent(EventBase):
    """Takes earlier events back. Undoing an undo is redo."""

    kind: Literal["undo"] = "undo"
    targets: list[Id] = Field(min_length=1, max_length=MAX_TARGETS)


class ClassSpans(Contract):
    """Runs of pixels of one class: y, x of the first pixel, length, flattened."""

    class_uid: ClassOrVoid
    spans: list[int] = Field(min_length=3, max_length=3 * MAX_SPANS)


class MaskEvent(EventBase):
    """An imported mask: many labelled pixels as one label."""

    kind: Literal["mask"] = "mask"
    classes: list[ClassSpans] = Field(min_length=1, max_length=256)


LabelEvent = Annotated[
    ClickEvent | StrokeEvent | EraseEvent | UndoEvent | MaskEvent,
    Field(discriminator="kind"),
]


class StoredEvent(Contract):
    """A label event as the log keeps it."""

    seq: int = Field(ge=1, description="server order, counts up over the whole server")
    annotator_id: str
    server_time: datetime
    event: LabelEvent


class LabelBatch(Contract):
    """1 to 256 events. Each is judged alone: one bad event never blocks the others."""

    events: list[LabelEvent] = Field(min_length=1, max_length=MAX_BATCH)


class Fate(StrEnum):
    """What became of one sent event."""

    STORED = "stored"  # on disk
    DUPLICATE = "duplicate"  # was on disk already, nothing changed
    REFUSED = "refused"  # cannot be stored as it is; code and reason say why


class Ack(Contract):
    """The fate of one event. Acknowledged (stored, duplicate) means on disk."""

    event_id: Id
    fate: Fate
    seq: int | None = Field(default=None, description="position in the log, when stored or duplicate")
    code: str | None = Field(default=None, description="refused: machine-readable, e.g. outside_image")
    reason: str | None = Field(default=None, description="refused: a sentence for people")


class LabelAcks(Contract):
    """One fate per sent event, in the order sent, and the project's newest position."""

    acks: list[Ack]
    label_seq: int


class ImageLabels(Contract):
    """The whole log of one image, oldest first; the browser folds it as the server does."""

    image_id: Id
    last_seq: int
    events: list[StoredEvent]


class SnapshotImage(Contract):
    """One image of a snapshot."""

    image_id: Id
    sha256: Sha256
    name: str
    width: int
    height: int
    labelled_pixels: int = Field(ge=0, description="pixels with a class or void")


class LabelSnapshot(Contract):
    """All labels of a project that hold at one log position. Label maps are fetched image by image."""

    project_id: Id
    label_seq: int
    class_uids: list[Id] = Field(description="class index -> class")
    class_names: list[str]
    images: list[SnapshotImage] = Field(description="every image of the project, labelled or not")
