"""The states of a job and the moves between them: one table, compare-and-set, a line of history for each move.

Also the right to work on a job: every write of a worker names job and fence, and passes through `leased_job`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, TypeAdapter
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from recolabel.contract.jobs import ACTIVE_STATES, Job, JobKind, JobSpec, JobState, Progress
from recolabel.contract.updates import JobChanged
from recolabel.errors import JobEnded, JobNotFound, LeaseLost
from recolabel.store import schema
from recolabel.store.ids import new_id
from recolabel.store.orphans import leave_behind
from recolabel.store.updates import tell

ALLOWED: Mapping[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.LEASED, JobState.CANCELLED}),
    JobState.LEASED: frozenset(
        {JobState.RUNNING, JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}
    ),
    JobState.RUNNING: frozenset({JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""The moves of a job. Back to QUEUED: its worker fell silent or failed in a way that another start may mend."""

HELD_STATES = (JobState.LEASED, JobState.RUNNING)


JOB = (
    select(schema.job)
    .join(schema.project, schema.project.c.project_id == schema.job.c.project_id)
    .where(schema.job.c.job_id == bindparam("of_job"), schema.project.c.deleted_at.is_(None))
)


def job_row(connection: Connection, job_id: str) -> Row[Any]:
    """The row of a job whose project is there. Raises JobNotFound."""
    row = connection.execute(JOB, {"of_job": job_id}).one_or_none()
    if row is None:
        raise JobNotFound
    return row


def leased_job(connection: Connection, job_id: str, fence: int) -> Row[Any]:
    """The row of a job that the caller holds.

    A lease past its deadline still counts until the sweep has given the job on: stopping a worker that came back in
    time would throw its work away for nothing.

    Raises:
        JobNotFound: there is no such job.
        LeaseLost: another claim has been made since, or the job waits in the queue again.
        JobEnded: it ended under this fence.
    """
    row = job_row(connection, job_id)
    if row.fence != fence or row.state == JobState.QUEUED:
        raise LeaseLost
    if row.state not in HELD_STATES:
        raise JobEnded
    return row


def move(connection: Connection, row: Row[Any], to: JobState, at: datetime, *, why: str, **changes: Any) -> Row[Any]:
    """Move a job to another state, write its history, tell the browsers; return the new row.

    Compare-and-set on state and fence. All moves run in the writer's transaction, so a mismatch is our own mistake.
    """
    was = JobState(row.state)
    assert to in ALLOWED[was], f"a job cannot go from {was} to {to}"
    moved = connection.execute(
        update(schema.job)
        .where(schema.job.c.job_id == row.job_id, schema.job.c.state == was, schema.job.c.fence == row.fence)
        .values(state=to, **changes)
    )
    assert moved.rowcount == 1, "the job changed under the writer"
    remember(connection, row.job_id, changes.get("fence", row.fence), at, was, to, why)
    if to not in ACTIVE_STATES:
        forget_checkpoints(connection, row.job_id, at, keep=0)
    new = connection.execute(select(schema.job).where(schema.job.c.job_id == row.job_id)).one()
    tell_of_job(connection, new)
    return new


def insert_job(
    connection: Connection,
    *,
    project_id: str,
    spec: JobSpec,
    label_seq: int,
    label_count: int,
    class_uids: Sequence[str],
    now: datetime,
) -> Row[Any]:
    """Queue a job, inside the caller's transaction."""
    job_id = new_id(now)
    connection.execute(
        insert(schema.job).values(
            job_id=job_id,
            project_id=project_id,
            kind=spec.kind,
            state=JobState.QUEUED,
            spec=spec.model_dump_json(),
            label_seq=label_seq,
            label_count=label_count,
            class_uids=json.dumps(list(class_uids)),
            attempt=0,
            fence=0,
            progress=Progress().model_dump_json(),
            cancel_requested=0,
            created_at=now,
        )
    )
    remember(connection, job_id, 0, now, None, JobState.QUEUED, "created")
    row = job_row(connection, job_id)
    tell_of_job(connection, row)
    return row


def tell_of_job(connection: Connection, row: Row[Any]) -> None:
    """Tell the browsers how a job stands; not of one that keeps the fast head fitted, which nobody asked for."""
    if row.kind != JobKind.REFINE:
        tell(connection, row.project_id, JobChanged(job=job_of(row)))


def cancel_active(
    connection: Connection, project_id: str, now: datetime, *, why: str, kind: JobKind | None = None
) -> None:
    """End the project's active jobs (of one kind) at once, held or not."""
    statement = select(schema.job).where(schema.job.c.project_id == project_id, schema.job.c.state.in_(ACTIVE_STATES))
    if kind is not None:
        statement = statement.where(schema.job.c.kind == kind)
    for row in connection.execute(statement).all():
        move(connection, row, JobState.CANCELLED, now, why=why, cancel_requested=1, finished_at=now)


def cancel_drawing(
    connection: Connection, project_id: str, now: datetime, *, why: str, but_by: int | None = None
) -> None:
    """End the active jobs that draw all images, but for one by version `but_by`. Single images asked for go on."""
    active = select(schema.job).where(schema.job.c.project_id == project_id, schema.job.c.state.in_(ACTIVE_STATES))
    for row in connection.execute(active).all():
        if draws_all_images(row) and json.loads(row.spec)["model_version"] != but_by:
            move(connection, row, JobState.CANCELLED, now, why=why, cancel_requested=1, finished_at=now)


def draws_all_images(row: Row[Any]) -> bool:
    """Whether a job draws the project's images one after the other, not a single one that somebody compares on."""
    return row.kind == JobKind.PREDICT and json.loads(row.spec).get("image_id") is None


def repeats_a_version(row: Row[Any]) -> bool:
    """Whether a job trains what a version was trained on once more, to compare the bits."""
    return row.kind == JobKind.TRAIN and json.loads(row.spec).get("reproduce_version") is not None


def forget_checkpoints(connection: Connection, job_id: str, now: datetime, *, keep: int) -> None:
    """Drop a job's checkpoints but for the newest `keep`; their blobs become orphans."""
    old = connection.execute(
        select(schema.checkpoint.c.entry, schema.checkpoint.c.sha256)
        .where(schema.checkpoint.c.job_id == job_id)
        .order_by(schema.checkpoint.c.entry.desc())
        .offset(keep)
    ).all()
    if old:
        connection.execute(delete(schema.checkpoint).where(schema.checkpoint.c.entry.in_([row.entry for row in old])))
        leave_behind(connection, [row.sha256 for row in old], now)


def job_of(row: Row[Any]) -> Job:
    """The job as people see it."""
    return Job(
        job_id=row.job_id,
        project_id=row.project_id,
        kind=JobKind(row.kind),
        state=JobState(row.state),
        spec=_spec.validate_json(row.spec),
        label_seq=row.label_seq,
        attempt=row.attempt,
        progress=Progress.model_validate_json(row.progress),
        cancel_requested=bool(row.cancel_requested),
        model_version=row.model_version,
        reproduced=None if row.reproduced is None else bool(row.reproduced),
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


_spec: TypeAdapter[JobSpec] = TypeAdapter(Annotated[JobSpec, Field(discriminator="kind")])


def remember(
    connection: Connection,
    job_id: str,
    fence: int,
    at: datetime,
    from_state: JobState | None,
    to_state: JobState,
    why: str,
) -> None:
    """Add a line to the job's history."""
    connection.execute(
        insert(schema.job_history).values(
            job_id=job_id, fence=fence, at=at, from_state=from_state, to_state=to_state, why=why
        )
    )
