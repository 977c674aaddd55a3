"""Labels as a person's hand would make them, for tests that speak HTTP instead of moving a mouse."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from recolabel.client import Client
from recolabel.contract.images import ImageInfo
from recolabel.contract.labels import ClickEvent, Pixel
from recolabel.contract.projects import Project
from recolabel.demo import COUNT
from tests.servers import wait_for


class Hand:
    """One annotator's client: counts its events."""

    def __init__(self) -> None:
        self.client_id = str(uuid.uuid4())
        self.count = 0

    def click(self, image: ImageInfo, class_uid: str, y: int, x: int) -> ClickEvent:
        """A click on the pixel (y, x)."""
        self.count += 1
        return ClickEvent(
            event_id=str(uuid.uuid4()),
            image_id=image.image_id,
            image_sha256=image.sha256,
            client_id=self.client_id,
            client_seq=self.count,
            client_time=datetime.now(UTC),
            class_uid=class_uid,
            pixel=Pixel(x=x, y=y),
        )


def demo_project(client: Client) -> Project:
    """The project that `recolabel up --demo` makes, once all its pictures are in."""
    wait_for(
        lambda: [project.image_count for project in client.projects()] == [COUNT], seconds=90, what="the demo project"
    )
    return client.projects()[0]


def read_mask(path: Path) -> np.ndarray:
    """The class indices of a ground truth mask, (H, W) uint8."""
    with Image.open(path) as mask:
        return np.asarray(mask)


def class_balanced_clicks(
    mask: np.ndarray, classes: Sequence[int], count: int, rng: random.Random
) -> list[tuple[int, int, int]]:
    """Draw up to `count` pixels (class, y, x), going round the classes that the mask shows."""
    shown = [index for index in classes if (mask == index).any()]
    drawn: list[tuple[int, int, int]] = []
    while shown and len(drawn) < count:
        index = shown[len(drawn) % len(shown)]
        ys, xs = np.nonzero(mask == index)
        pick = rng.randrange(len(ys))
        drawn.append((index, int(ys[pick]), int(xs[pick])))
    return drawn


def label_from_masks(
    client: Client,
    images: Sequence[ImageInfo],
    masks: Mapping[str, np.ndarray],
    class_uids: Sequence[str],
    *,
    clicks_per_image: int,
    seed: int = 0,
) -> int:
    """Click class-balanced random pixels of each image, answered from its mask; the number of clicks."""
    hand, rng = Hand(), random.Random(seed)
    events = [
        hand.click(image, class_uids[index], y, x)
        for image in images
        for index, y, x in class_balanced_clicks(masks[image.name], range(len(class_uids)), clicks_per_image, rng)
    ]
    for start in range(0, len(events), 256):
        client.append_labels(images[0].project_id, events[start : start + 256])
    return len(events)


def mean_iou(pairs: Sequence[tuple[np.ndarray, np.ndarray]], class_count: int) -> float:
    """Mean IoU over the classes that the truth shows; pixels without a class in the truth do not count.

    Args:
        pairs: (prediction, truth), both (H, W) uint8 class indices.
        class_count: C; truth values >= C are void.
    """
    confusion = np.zeros((class_count, class_count), dtype=np.int64)
    for prediction, truth in pairs:
        known = truth < class_count
        codes = truth[known].astype(np.int64) * class_count + np.minimum(prediction[known], class_count - 1)
        confusion += np.bincount(codes, minlength=class_count**2).reshape(class_count, class_count)
    shown = confusion.sum(1) > 0
    intersection = np.diag(confusion)
    union = confusion.sum(0) + confusion.sum(1) - intersection
    return float((intersection[shown] / union[shown]).mean())
