"""Jobs as people see them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from recolabel.api.deps import JobId, PartsDep, ProjectId, StoreDep
from recolabel.contract.jobs import Job, NewTraining

router = APIRouter(tags=["jobs"])


@router.get("/projects/{project_id}/jobs")
def list_jobs(project_id: ProjectId, store: StoreDep, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[Job]:
    """The project's jobs, newest first."""
    return store.jobs.list(project_id, limit)


@router.post(
    "/projects/{project_id}/jobs",
    status_code=201,
    responses={200: {"model": Job, "description": "A training is active already: that one."}},
)
def start_training(project_id: ProjectId, new: NewTraining, parts: PartsDep, response: Response) -> Job:
    """Start a training at this position of the log. 200: one is active already, and this is it."""
    job, created = parts.store.jobs.start_training(project_id, new)
    if created:
        parts.doorbell.ring(job.job_id)
    else:
        response.status_code = 200
    return job


@router.get("/jobs/{job_id}")
def get_job(job_id: JobId, store: StoreDep) -> Job:
    """One job."""
    return store.jobs.get(job_id)


@router.post("/jobs/{job_id}/cancel")
def cancel_job(job_id: JobId, store: StoreDep) -> Job:
    """Ask a job to stop. A queued one ends at once, a running one when its worker hears of it."""
    return store.jobs.cancel(job_id)
