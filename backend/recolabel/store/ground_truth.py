"""Masks that are never labels: no training sees them, and each version is scored against them as it draws."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from recolabel.blobs import Blobs
from recolabel.contract.evaluation import GroundTruthReply
from recolabel.contract.projects import MAX_CLASSES
from recolabel.labels.fold import LabelMap
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.images import image_row
from recolabel.store.orphans import leave_behind
from recolabel.store.truth_scores import TruthCounts, count_pixels, keep_score

MAPS_OF_VERSIONS = select(schema.image_map).where(
    schema.image_map.c.image_id == bindparam("of_image"), schema.image_map.c.drawn_by == "version"
)


class GroundTruth:
    """The masks of all images that have one."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def put(self, image_id: str, image_sha256: str, mask: LabelMap, class_uids: Sequence[str]) -> GroundTruthReply:
        """Keep the true mask of an image's present pixels; an older one goes, with the scores against it.

        Args:
            mask: (height, width), uint8: index in `class_uids`; 254 and 255 count for nothing.

        Raises:
            ImageNotFound: there is no such image.
        """
        packed = zlib.compress(np.ascontiguousarray(mask).tobytes(), 6)
        sha256 = self._blobs.put_bytes(packed)
        now = self._clock()
        with self._database.reading() as connection:
            drawn = connection.execute(MAPS_OF_VERSIONS, {"of_image": image_id}).one_or_none()
        counts: TruthCounts | None = None
        if drawn is not None and drawn.width * drawn.height == mask.size:
            prediction: NDArray[np.uint8] = np.frombuffer(self._blobs.read(drawn.prediction_sha256), dtype=np.uint8)
            counts = count_pixels(mask.ravel(), class_uids, prediction, json.loads(drawn.class_uids))

        def work(connection: Connection) -> None:
            row = image_row(connection, image_id)
            truth = schema.ground_truth.c
            before = connection.execute(select(truth.plane_sha256).where(truth.image_id == image_id)).scalar()
            values = {
                "project_id": row.project_id,
                "image_sha256": image_sha256,
                "plane_sha256": sha256,
                "class_uids": json.dumps(list(class_uids)),
            }
            connection.execute(
                insert(schema.ground_truth)
                .values(image_id=image_id, **values)
                .on_conflict_do_update(index_elements=["image_id"], set_=values)
            )
            if before is not None:
                leave_behind(connection, {before} - {sha256}, now)
            if before != sha256:
                connection.execute(delete(schema.truth_score).where(schema.truth_score.c.image_id == image_id))
            if counts is not None and drawn is not None and row.sha256 == image_sha256:
                keep_score(connection, row.project_id, image_id, drawn.model_version, counts)

        self._database.write(work)
        return GroundTruthReply(image_id=image_id, pixels=int((mask < MAX_CLASSES).sum()))
