"""From the log up to one position to what a training or an export works on. Pure: the stores hand in the log.

The same log, position and class list give the same snapshot, whatever happened since; so a job can be run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def image_label_map(image: ImageFacts, events: Iterable[StoredEvent], class_uids: Sequence[str]) -> LabelMap:
    """Return the label map (height, width) of one image: class index, 254 void, 255 unlabelled."""
    return label_map(fold(events, image.sha256), class_uids, height=image.height, width=image.width)


def take_snapshot(
    project_id: str,
    label_seq: int,
    images: Iterable[ImageFacts],
    events_by_image: Mapping[str, Sequence[StoredEvent]],
    class_names: Mapping[str, str],
) -> LabelSnapshot:
    """Describe all labels that hold at one position of the log.

    Args:
        images: every image of the project, labelled or not.
        events_by_image: the log up to `label_seq`.
        class_names: class_uid -> name, in order of class index.
    """
    class_uids = list(class_names)
    described = []
    for image in images:
        events = events_by_image.get(image.image_id, ())
        labelled = 0
        if events:
            labelled = int(np.count_nonzero(image_label_map(image, events, class_uids) != UNLABELLED_INDEX))
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
