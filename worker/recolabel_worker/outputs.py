"""What a job hands in: maps with candidates, checkpoints, published versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recolabel.client import Client
from recolabel.contract.images import ImageMap
from recolabel.contract.jobs import CheckpointReport, MapUpload
from recolabel.contract.labels import SnapshotImage
from recolabel.contract.model_versions import ARTIFACT_NAMES, ModelVersion, Publication
from recolabel.contract.questions import Candidate
from recolabel.errors import ServerRefused
from recolabel_worker.job import Job

_GONE = {"image_not_found", "image_replaced", "unknown_image"}


def add_map(
    job: Job,
    image: SnapshotImage,
    *,
    prediction: npt.NDArray[np.uint8],
    confidence: npt.NDArray[np.uint8],
    candidates: Sequence[Candidate],
    class_uids: Sequence[str],
    step: int,
) -> ImageMap | None:
    """Upload a prediction of one image; None when the image was removed or replaced meanwhile.

    Args:
        prediction: (H, W) indices into `class_uids`.
        confidence: (H, W), round(255 * largest class probability).
    """
    assert prediction.shape == confidence.shape == (image.height, image.width)

    def upload(client: Client, job_id: str, fence: int) -> ImageMap:
        return client.add_map(
            job_id,
            fence,
            MapUpload(
                image_id=image.image_id,
                image_sha256=image.sha256,
                step=step,
                class_uids=list(class_uids),
                prediction=client.put_blob(job_id, fence, prediction.tobytes()),
                confidence=client.put_blob(job_id, fence, confidence.tobytes()),
                candidates=list(candidates),
            ),
        )

    try:
        return job.ask(upload)
    except ServerRefused as refusal:
        if refusal.problem_code in _GONE:
            return None
        raise


def put_checkpoint(job: Job, file: Path, step: int) -> str:
    """Upload a checkpoint and make it the one that the job resumes from; gives its sha256."""

    def upload(client: Client, job_id: str, fence: int) -> str:
        sha256 = client.put_blob(job_id, fence, file)
        client.record_checkpoint(job_id, fence, CheckpointReport(step=step, sha256=sha256))
        return sha256

    return job.ask(upload)


def publish(job: Job, folder: Path, publication: Publication) -> ModelVersion:
    """Upload the artifacts in `folder` and publish them; `publication.artifacts` is filled in here."""
    artifacts: Mapping[str, str] = {
        name: job.ask(partial(Client.put_blob, content=folder / name)) for name in ARTIFACT_NAMES
    }
    complete = publication.model_copy(update={"artifacts": dict(artifacts)})
    return job.ask(lambda client, job_id, fence: client.publish(job_id, fence, complete))
