"""The worker's door: claim a job, keep the lease, fetch inputs, hand in outputs.

Every call but the claim names the fence of its lease; one that is outdated is refused with `lease_lost`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from recolabel.api.deps import BlobsDep, Fence, JobId, PartsDep, ReceivedFile, StoreDep, held_lease
from recolabel.api.files import blob_answer
from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.images import ImageMap, Sha256
from recolabel.contract.jobs import (
    CheckpointReport,
    Claim,
    Failure,
    Job,
    JobInputs,
    JobState,
    Lease,
    MapUpload,
    NextImage,
    OpenImage,
    Renewal,
    RenewalReply,
)
from recolabel.contract.model_versions import ModelVersion, Publication
from recolabel.contract.projects import Id
from recolabel.errors import ContractMismatch
from recolabel.snapshots import label_map_at

router = APIRouter(prefix="/leases", tags=["leases"])


@router.post(
    "", response_model=Lease, responses={204: {"description": "There is nothing to do.", "model": None}}
)
def claim_job(claim: Claim, store: StoreDep) -> Lease | Response:
    """Claim the job that was rung for, or any that waits."""
    _check_contract(claim.contract_version)
    return store.jobs.claim(claim, datetime.now(UTC)) or Response(status_code=204)


@router.post("/{job_id}/renew")
def renew_lease(job_id: JobId, fence: Fence, renewal: Renewal, store: StoreDep) -> RenewalReply:
    """Keep the lease, say how far the job is, and hear whether it should stop."""
    return store.jobs.renew(job_id, fence, renewal.progress, datetime.now(UTC))
