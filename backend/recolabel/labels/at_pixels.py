"""What is known of a few pixels, without painting whole images."""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass

import numpy as np

from recolabel.contract.labels import VOID, ClickEvent
from recolabel.labels.fold import HoldingLabel, pixels_left


@dataclass
class PixelFacts:
    """One pixel.

    Attributes:
        class_uid: what holds, as `label_map` would paint it: a class, void where annotators differ, None unlabelled.
        taught_from: the seq of the first label on this pixel that training sees; None: there is none.
    """

    class_uid: str | None = None
    taught_from: int | None = None


def facts_at(
    labels: Sequence[HoldingLabel],
    places: Collection[int],
    *,
    height: int,
    width: int,
    silent_classes: Set[str] = frozenset(),
    without: Set[str] = frozenset(),
) -> dict[int, PixelFacts]:
    """What is known of each place (y * width + x).

    Args:
        labels: that hold, in order of seq, as `fold` gives them.
        silent_classes: retired ones: their labels say nothing, but cover what the same annotator said before.
        without: event_ids of labels that training does not see.
    """
    facts = {place: PixelFacts() for place in places}
    wanted = np.array(sorted(facts), dtype=np.int64)
    said: dict[str, dict[int, str | None]] = {}
    for label in labels:
        by_annotator = said.setdefault(label.annotator_id, {})
        for class_uid, place in _touched(label, facts, wanted, height, width):
            by_annotator[place] = None if class_uid in silent_classes else class_uid
            if label.event.event_id not in without and facts[place].taught_from is None:
                facts[place].taught_from = label.seq
    for place, known in facts.items():
        voices = {by_annotator.get(place) for by_annotator in said.values()} - {None}
        known.class_uid = VOID if len(voices) > 1 else next(iter(voices), None)
    return facts


def _touched(
    label: HoldingLabel, facts: dict[int, PixelFacts], wanted: np.ndarray, height: int, width: int
) -> list[tuple[str, int]]:
    event = label.event
    if isinstance(event, ClickEvent) and not label.erasers:
        place = event.pixel.y * width + event.pixel.x
        return [(event.class_uid, place)] if place in facts else []
    touched = []
    for class_uid, pixels in pixels_left(label, height=height, width=width):
        touched += [(class_uid, int(place)) for place in wanted[np.isin(wanted, pixels)]]
    return touched
