"""The worker's door: claim a job, keep the lease, fetch inputs, hand in outputs.

Every call but the claim names the fence of its lease; one that is outdated is refused with `lease_lost`.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response

from recolabel.api.deps import BlobsDep, Fence, HeldJob, ImageId, JobId, Parts, PartsDep, ReceivedFile, StoreDep
from recolabel.api.feed import heard
from recolabel.api.files import blob_answer
from recolabel.api.label_maps import PngResponse
from recolabel.contract.images import ImageMap, Sha256
from recolabel.contract.jobs import (
    CheckpointReport,
    Claim,
    Failure,
    FastMap,
    Job,
    JobInputs,
    Lease,
    MapUpload,
    NextImage,
    OpenImage,
    RefineWork,
    Renewal,
    RenewalReply,
    ReproductionReport,
)
from recolabel.contract.model_versions import ModelVersion, Publication
from recolabel.contract.projects import MAX_CLASSES, Id
from recolabel.formats.indexed_png import write_png
from recolabel.store import Store
from recolabel.store.refining import STATE_FORM

router = APIRouter(prefix="/leases", tags=["leases"])

BlobName = Annotated[Sha256, Path()]

_LOOK_AGAIN_SECONDS = 1.0
"""Whoever waits looks again after so long without a change: time alone changes what is in view."""

_BLOB = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post("", response_model=Lease, responses={204: {"description": "There is nothing to do."}})
async def claim_job(claim: Claim, request: Request, parts: PartsDep) -> Lease | Response:
    """Claim the oldest job that waits, whichever bell woke the worker. With `wait_seconds` wait for one to come."""
    ends_at = time.monotonic() + claim.wait_seconds
    while True:
        beat = parts.feed.next_beat()
        lease = await to_thread.run_sync(parts.store.jobs.claim, claim, datetime.now(UTC))
        if lease is not None:
            return lease
        # A job must not be given to a worker that has left: it would lie there until its lease runs out.
        if not await _news(parts, beat, ends_at) or await request.is_disconnected():
            return Response(status_code=204)


@router.post("/{job_id}/renew")
def renew_lease(job_id: JobId, fence: Fence, renewal: Renewal, store: StoreDep) -> RenewalReply:
    """Keep the lease, say how far the job is, and hear whether it should stop."""
    return store.jobs.renew(job_id, fence, renewal.progress, datetime.now(UTC))


@router.get("/{job_id}/inputs")
def get_inputs(job_id: JobId, fence: Fence, store: StoreDep) -> JobInputs:
    """What the job works on, at its position of the log."""
    return store.jobs.inputs(job_id, fence)


@router.get("/{job_id}/refine-work")
async def get_refine_work(
    job_id: JobId,
    fence: Fence,
    parts: PartsDep,
    after: Annotated[int, Query(ge=0, lt=2**63, description="`label_seq` of the answer before; 0: all labels")] = 0,
    state: Annotated[
        str | None, Query(pattern=STATE_FORM, description="`state` of the answer before: wait until it is another")
    ] = None,
    wait_seconds: Annotated[float, Query(ge=0, le=30, description="how long the answer may wait for news")] = 0.0,
) -> RefineWork:
    """What the fast head should learn and draw: at once when that is new to the asker, else as soon as it changes."""
    ends_at = time.monotonic() + wait_seconds
    while True:
        beat = parts.feed.next_beat()
        work = await to_thread.run_sync(_refine_work, parts.store, job_id, fence, after, state)
        if work.state != state or not await _news(parts, beat, ends_at):
            return work


@router.get("/{job_id}/label-maps/{image_id}", response_class=PngResponse)
def get_label_map_of_job(
    job_id: JobId,
    fence: Fence,
    image_id: ImageId,
    store: StoreDep,
    label_seq: Annotated[int | None, Query(ge=0, lt=2**63, description="log position; the job's when left out")] = None,
    class_uid: Annotated[
        list[Id] | None,
        Query(max_length=MAX_CLASSES, description="class index -> class, once each; the job's when left out"),
    ] = None,
    image_sha256: Annotated[Sha256 | None, Query(description="of the pixels that the worker knows")] = None,
) -> PngResponse:
    """An image's labels: value = class index of the snapshot, 254 void, 255 unlabelled. Held-out clicks are left out.

    A refine job names position and classes of its RefineWork, so the answer is the same whatever changed since.
    """
    label_map = store.jobs.label_map(
        job_id, fence, image_id, label_seq=label_seq, class_uids=class_uid, image_sha256=image_sha256
    )
    return PngResponse(write_png(label_map, []))


@router.put("/{job_id}/blobs/{sha256}", status_code=204, openapi_extra=_BLOB)
def put_blob(job: HeldJob, sha256: BlobName, file: ReceivedFile, parts: PartsDep) -> None:  # noqa: ARG001 - the lease
    """Upload a file of the job. It must have the hash that it is sent as."""
    with file.open("rb") as opened:
        parts.blobs.put_stream(opened, sha256)


@router.get("/{job_id}/blobs/{sha256}", response_class=Response)
def get_blob(job: HeldJob, sha256: BlobName, request: Request, blobs: BlobsDep) -> Response:  # noqa: ARG001 - the lease
    """A file of the job: its checkpoint, or the model that it starts from."""
    return blob_answer(request, blobs, sha256, "application/octet-stream")


@router.post("/{job_id}/checkpoints", status_code=204)
def record_checkpoint(job_id: JobId, fence: Fence, report: CheckpointReport, store: StoreDep) -> None:
    """Name the uploaded file that the job can resume from."""
    store.jobs.record_checkpoint(job_id, fence, report)


@router.get("/{job_id}/open-image")
def get_open_image(job: HeldJob, store: StoreDep) -> OpenImage:
    """The image of the job's project that a person looks at, for an early look at the training."""
    project_id = store.jobs.get(job).project_id
    return OpenImage(image_id=store.images.image_in_view(project_id, datetime.now(UTC)))


@router.post("/{job_id}/next-image")
def next_image(job_id: JobId, fence: Fence, store: StoreDep) -> NextImage:
    """The image that a predict job should draw next: the one open in a browser first."""
    return store.jobs.next_image(job_id, fence, datetime.now(UTC))


@router.post("/{job_id}/maps", status_code=201)
def add_map(job_id: JobId, fence: Fence, upload: MapUpload, store: StoreDep) -> ImageMap:
    """Publish a prediction for one image. Its planes are uploaded as blobs before.

    What a job for a single image draws is kept beside the image's newest map, to compare versions.
    """
    if store.version_maps.is_drawn_by(job_id):
        return store.version_maps.add(job_id, fence, upload)
    return store.images.add_map(job_id, fence, upload)


@router.post("/{job_id}/fast-maps", status_code=201)
def add_fast_map(job_id: JobId, fence: Fence, fast_map: FastMap, store: StoreDep) -> ImageMap:
    """Publish a map by the fast head, planes and all. Answers with the image's map from now on: a better one of
    before stays.
    """
    return store.refining.add_map(job_id, fence, fast_map)


@router.post("/{job_id}/publish", status_code=201)
def publish(job_id: JobId, fence: Fence, publication: Publication, store: StoreDep) -> ModelVersion:
    """Hand in a trained network: a new model version, and the end of the job. Its files are uploaded before."""
    return store.model_versions.publish(job_id, fence, publication)


@router.post("/{job_id}/reproduced")
def reproduced(job_id: JobId, fence: Fence, report: ReproductionReport, store: StoreDep) -> Job:
    """End a training that repeats a version, with the sum of what it gave."""
    return store.reproductions.finish(job_id, fence, report)


@router.post("/{job_id}/finish")
def finish(job_id: JobId, fence: Fence, store: StoreDep) -> Job:
    """End a predict or refine job."""
    return store.jobs.finish(job_id, fence)


@router.post("/{job_id}/fail")
def fail(job_id: JobId, fence: Fence, failure: Failure, store: StoreDep) -> Job:
    """Give a job back undone. With `retry` it is queued again while attempts are left."""
    return store.jobs.fail(job_id, fence, failure)


def _refine_work(store: Store, job_id: str, fence: int, after: int, state: str | None) -> RefineWork:
    work, label_maps = store.refining.work(job_id, fence, after, state, datetime.now(UTC))
    return work.model_copy(
        update={"label_maps": {image_id: write_png(label_map, []) for image_id, label_map in label_maps.items()}}
    )


async def _news(parts: Parts, beat: asyncio.Event, ends_at: float) -> bool:
    """Wait until it is worth to look again; False: the time is up, or the server stops. Holds no thread."""
    left = ends_at - time.monotonic()
    if left <= 0 or parts.feed.closed:
        return False
    await heard(beat, min(left, _LOOK_AGAIN_SECONDS))
    return True
