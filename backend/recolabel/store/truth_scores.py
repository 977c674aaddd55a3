"""How the maps of model versions agree with masks that were imported as ground truth, counted pixel by pixel."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert

from recolabel.blobs import Blobs
from recolabel.errors import BlobNotFound
from recolabel.store import schema

log = logging.getLogger(__name__)

TRUTH = select(schema.ground_truth).where(
    schema.ground_truth.c.image_id == bindparam("of_image"),
    schema.ground_truth.c.image_sha256 == bindparam("of_pixels"),
)


@dataclass(frozen=True)
class TruthCounts:
    """(true class, predicted class, pixels) for the pairs that occur."""

    pairs: list[tuple[str, str, int]]


def count_pixels(
    truth: NDArray[np.uint8], true_classes: Sequence[str], prediction: NDArray[np.uint8], classes: Sequence[str]
) -> TruthCounts:
    """Count the pixels of each pair of classes. Pixels without a true class count for nothing.

    Args:
        truth, prediction: planes of one size, flattened; indices in the class lists.
    """
    is_known = (truth < len(true_classes)) & (prediction < len(classes))
    codes = truth[is_known].astype(np.int64) * len(classes) + prediction[is_known]
    counts = np.bincount(codes, minlength=len(true_classes) * len(classes))
    return TruthCounts(
        [
            (true_classes[code // len(classes)], classes[code % len(classes)], int(counts[code]))
            for code in np.flatnonzero(counts).tolist()
        ]
    )


def count_against_truth(
    connection: Connection, blobs: Blobs, image_id: str, image_sha256: str, prediction: bytes, classes: Sequence[str]
) -> TruthCounts | None:
    """Count a prediction against the image's true mask; None when there is none, or it does not fit."""
    row = connection.execute(TRUTH, {"of_image": image_id, "of_pixels": image_sha256}).one_or_none()
    if row is None:
        return None
    try:
        truth = np.frombuffer(zlib.decompress(blobs.read(row.plane_sha256)), dtype=np.uint8)
    except (BlobNotFound, OSError, zlib.error):
        log.warning("the true mask of image %s cannot be read; the version is not scored there", image_id)
        return None
    if truth.size != len(prediction):
        return None
    return count_pixels(truth, json.loads(row.class_uids), np.frombuffer(prediction, dtype=np.uint8), classes)


def keep_score(connection: Connection, project_id: str, image_id: str, version: int, counts: TruthCounts) -> None:
    """Write down the counts of a version on an image, in the place of older ones."""
    values = {"project_id": project_id, "pairs": json.dumps(counts.pairs)}
    connection.execute(
        insert(schema.truth_score)
        .values(image_id=image_id, model_version=version, **values)
        .on_conflict_do_update(index_elements=["image_id", "model_version"], set_=values)
    )
