"""From the log up to one position to what a training or an export works on. Pure: the stores hand in the log.

The same log, position and class list give the same snapshot, whatever happened since; so a job can be run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from recolabel.contract.labels import LabelSnapshot, SnapshotImage, StoredEvent
from recolabel.labels.fold import UNLABELLED_INDEX, LabelMap, fold, label_map


@dataclass(frozen=True)
class ImageFacts:
    """What a snapshot needs to know of an image besides its log."""

    image_id: str
    sha256: str
    name: str
    width: int
    height: int


def image_label_map(
    image: ImageFacts,
    events: Iterable[StoredEvent],
    class_uids: Sequence[str],
    *,
    without: Set[str] = frozenset(),
) -> LabelMap:
    """Return the label map (height, width) of one image: class index, 254 void, 255 unlabelled.

    Args:
        without: event_ids of labels that are left out, as if nobody had made them: the held-out clicks, wherever the
            map is for a training. People and exports see all.
    """
    labels = fold(events, image.sha256)
    if without:
        labels = [label for label in labels if label.event.event_id not in without]
    return label_map(labels, class_uids, height=image.height, width=image.width)


def take_snapshot(
    project_id: str,
    label_seq: int,
    images: Iterable[ImageFacts],
    events_by_image: Mapping[str, Sequence[StoredEvent]],
    class_names: Mapping[str, str],
    *,
    without: Set[str] = frozenset(),
) -> LabelSnapshot:
    """Describe all labels that hold at one position of the log.

    Args:
        images: every image of the project, labelled or not.
        events_by_image: the log up to `label_seq`.
        class_names: class_uid -> name, in order of class index.
        without: event_ids of labels that are left out, as in `image_label_map`.
    """
    class_uids = list(class_names)
    described = []
    for image in images:
        events = events_by_image.get(image.image_id, ())
        labelled = 0
        if events:
            seen = image_label_map(image, events, class_uids, without=without)
            labelled = int(np.count_nonzero(seen != UNLABELLED_INDEX))
        described.append(
            SnapshotImage(
                image_id=image.image_id,
                sha256=image.sha256,
                name=image.name,
                width=image.width,
                height=image.height,
                labelled_pixels=labelled,
            )
        )
    return LabelSnapshot(
        project_id=project_id,
        label_seq=label_seq,
        class_uids=class_uids,
        class_names=list(class_names.values()),
        images=described,
    )
