"""From the log of one image to the labels that hold, and from those to a label map.

The log is never changed: taking back and erasing are events as well. What holds is found by walking from the newest
event to the oldest, because only a later undo that holds itself can take an event back (undoing an undo is redo).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recolabel.contract.labels import VOID, ClickEvent, EraseEvent, MaskEvent, StoredEvent, StrokeEvent, UndoEvent
from recolabel.labels.raster import Pixels, label_pixels, stroke_pixels

VOID_INDEX = 254
"""In a label map: somebody said that no class fits."""
UNLABELLED_INDEX = 255
"""In a label map: nobody spoke about this pixel."""

LabelMap = NDArray[np.uint8]


@dataclass(frozen=True)
class HoldingLabel:
    """A click, stroke or mask that nobody has taken back, with the erasers that hold and name it."""

    seq: int
    annotator_id: str
    event: ClickEvent | StrokeEvent | MaskEvent
    erasers: tuple[EraseEvent, ...]

    @property
    def class_uids(self) -> list[str]:
        """The classes (or void) that it speaks of, each once."""
        if isinstance(self.event, MaskEvent):
            return list(dict.fromkeys(part.class_uid for part in self.event.classes))
        return [self.event.class_uid]


def fold(events: Iterable[StoredEvent], image_sha256: str) -> list[HoldingLabel]:
    """Return the labels that hold, in order of `seq`.

    Args:
        events: the image's log, in any order.
        image_sha256: of the image's present pixels; events about other pixels say nothing.
    """
    taken_back: set[str] = set()
    erasers: dict[str, list[EraseEvent]] = {}
    labels: list[StoredEvent] = []
    seen = (stored for stored in events if stored.event.image_sha256 == image_sha256)
    for stored in sorted(seen, key=lambda stored: stored.seq, reverse=True):
        event = stored.event
        if event.event_id in taken_back:
            continue
        if isinstance(event, UndoEvent):
            taken_back.update(event.targets)
        elif isinstance(event, EraseEvent):
            for target in event.targets:
                erasers.setdefault(target, []).append(event)
        else:
            labels.append(stored)
    holding = []
    for stored in reversed(labels):
        event = stored.event
        assert isinstance(event, ClickEvent | StrokeEvent | MaskEvent)
        holding.append(
            HoldingLabel(
                seq=stored.seq,
                annotator_id=stored.annotator_id,
                event=event,
                erasers=tuple(erasers.get(event.event_id, ())),
            )
        )
    return holding


def pixels_left(label: HoldingLabel, *, height: int, width: int) -> list[tuple[str, Pixels]]:
    """Return the class (or void) and pixels of a label, without what its erasers took."""
    parts = label_pixels(label.event, height=height, width=width)
    if not label.erasers:
        return parts
    erased = np.unique(
        np.concatenate(
            [stroke_pixels(eraser.points, eraser.radius, height=height, width=width) for eraser in label.erasers]
        )
    )
    return [(class_uid, pixels[~np.isin(pixels, erased, assume_unique=True)]) for class_uid, pixels in parts]


def count_by_class(labels: Iterable[HoldingLabel], *, height: int, width: int) -> tuple[int, dict[str, int]]:
    """Count the labels that still have a pixel, and per class (or void) those that have one of that class."""
    count = 0
    by_class: dict[str, int] = {}
    for label in labels:
        if label.erasers:
            left = [class_uid for class_uid, pixels in pixels_left(label, height=height, width=width) if pixels.size]
        else:
            left = label.class_uids
        count += bool(left)
        for class_uid in dict.fromkeys(left):
            by_class[class_uid] = by_class.get(class_uid, 0) + 1
    return count, by_class


def label_map(labels: Sequence[HoldingLabel], class_uids: Sequence[str], *, height: int, width: int) -> LabelMap:
    """Paint the labels that hold.

    Of one annotator the later label wins. Where two annotators say different things, the pixel is void. A class that
    is not in `class_uids` (retired since) says nothing, but still covers what the same annotator said before.

    Args:
        labels: in order of seq, as `fold` gives them.
        class_uids: class index -> class; at most 250.

    Returns:
        (height, width), uint8: class index, 254 void, 255 unlabelled.
    """
    index_of: Mapping[str, int] = {uid: index for index, uid in enumerate(class_uids)} | {VOID: VOID_INDEX}
    said: dict[str, LabelMap] = {}
    for label in labels:
        plane = said.get(label.annotator_id)
        if plane is None:
            plane = said[label.annotator_id] = np.full(height * width, UNLABELLED_INDEX, dtype=np.uint8)
        for class_uid, pixels in pixels_left(label, height=height, width=width):
            plane[pixels] = index_of.get(class_uid, UNLABELLED_INDEX)
    together = np.full(height * width, UNLABELLED_INDEX, dtype=np.uint8)
    for plane in said.values():
        speaks = plane != UNLABELLED_INDEX
        silent = together == UNLABELLED_INDEX
        together[speaks & ~silent & (plane != together)] = VOID_INDEX
        np.copyto(together, plane, where=silent & speaks)
    return together.reshape(height, width)
