"""Trainings that are run once more, to see whether they give the same bits. They publish nothing."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, Row, select

from recolabel.contract.jobs import ACTIVE_STATES, Job, JobKind, JobState, ReproductionReport, TrainSpec
from recolabel.contract.model_versions import MODEL_FILE, ReproductionStart
from recolabel.errors import BadArgument, TrainingActive
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.job_states import insert_job, job_of, job_row, leased_job, move, repeats_a_version
from recolabel.store.model_versions import trained_images, version_row
from recolabel.store.projects import project_row


class Reproductions:
    """Repeated trainings of all projects."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def start(self, project_id: str, version: int, code_version: str) -> ReproductionStart:
        """Queue the training of a version once more: same log position, parent, seed, settings and classes.

        Args:
            code_version: of the code that runs now.

        Raises:
            ProjectNotFound, ModelVersionNotFound.
            TrainingActive: one training of a project at a time.
        """
        now = self._clock()

        def work(connection: Connection) -> ReproductionStart:
            project_row(connection, project_id)
            known = version_row(connection, project_id, version)
            active = select(schema.job.c.job_id).where(
                schema.job.c.project_id == project_id,
                schema.job.c.kind == JobKind.TRAIN,
                schema.job.c.state.in_(ACTIVE_STATES),
            )
            if connection.execute(active).first() is not None:
                raise TrainingActive
            spec = TrainSpec.model_validate_json(known.spec).model_copy(update={"reproduce_version": version})
            row = insert_job(
                connection,
                project_id=project_id,
                spec=spec,
                label_seq=known.label_seq,
                label_count=known.label_count,
                class_uids=json.loads(known.class_uids),
                now=now,
            )
            return ReproductionStart(job=job_of(row), remarks=_remarks(connection, known, code_version))

        return self._database.write(work)

    def finish(self, job_id: str, fence: int, report: ReproductionReport) -> Job:
        """End a repeated training with the verdict. Saying it twice is harmless.

        Raises:
            LeaseLost, JobEnded, JobNotFound: as with every call of a worker.
            BadArgument: the job repeats no version.
        """
        now = self._clock()

        def work(connection: Connection) -> Job:
            row = job_row(connection, job_id)
            if row.state == JobState.SUCCEEDED and row.fence == fence and row.reproduced is not None:
                return job_of(row)
            row = leased_job(connection, job_id, fence)
            if not repeats_a_version(row):
                raise BadArgument("This job repeats no version; a training ends by publishing its own.")
            version = json.loads(row.spec)["reproduce_version"]
            known = version_row(connection, row.project_id, version)
            is_same = report.sha256 == _model_sha256(connection, known.model_version_id)
            why = f"same bits as version {version}" if is_same else f"differs from version {version}"
            return job_of(
                move(connection, row, JobState.SUCCEEDED, now, why=why, reproduced=int(is_same), finished_at=now)
            )

        return self._database.write(work)


def _model_sha256(connection: Connection, model_version_id: str) -> str:
    found: str = connection.execute(
        select(schema.artifact.c.sha256).where(
            schema.artifact.c.model_version_id == model_version_id, schema.artifact.c.name == MODEL_FILE
        )
    ).scalar_one()
    return found


def _remarks(connection: Connection, known: Row[Any], code_version: str) -> list[str]:
    """What speaks against the same bits before anything has run."""
    remarks = []
    if known.code_version != code_version:
        remarks.append(
            f"Version {known.version} was trained by ReCoLabel {known.code_version}, this is {code_version}."
        )
    elif code_version.endswith(".dirty"):
        remarks.append("This code has changes that no revision names; they may be others than those of the training.")
    machine = json.loads(known.config).get("machine", {})
    device = str(machine.get("device", "cpu"))
    if device != "cpu":
        remarks.append(f"It was trained on {device}; only processors (cpu) promise the same bits.")
    images = trained_images.validate_json(known.images)
    if not images:
        remarks.append("It was trained before the images of a training were noted; those of the project are taken.")
    rows = connection.execute(
        select(schema.image.c.image_id, schema.image.c.sha256).where(
            schema.image.c.project_id == known.project_id, schema.image.c.removed_at.is_(None)
        )
    ).all()
    now_there = {row.image_id: row.sha256 for row in rows}
    removed = sum(image.image_id not in now_there for image in images)
    replaced = sum(now_there.get(image.image_id, image.sha256) != image.sha256 for image in images)
    for count, what in ((removed, "removed"), (replaced, "replaced")):
        if count:
            these = "1 of the images that it looked at was" if count == 1 else f"{count} of its images were"
            remarks.append(f"{these} {what} since, so the bits will differ.")
    return remarks
