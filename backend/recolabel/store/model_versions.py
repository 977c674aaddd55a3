"""Model versions. Published by one insert: a version is there whole or not at all, and is never replaced."""

from __future__ import annotations

import builtins
import json
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, insert, select, update

from recolabel.blobs import Blobs
from recolabel.contract.jobs import JobKind, JobState, TrainedImage, TrainSpec
from recolabel.contract.model_versions import MODEL_FILE, Metrics, ModelVersion, Publication
from recolabel.contract.projects import Project
from recolabel.contract.updates import ProjectChanged, VersionPublished
from recolabel.errors import BlobNotFound, ClassNotFound, LeaseLost, ModelVersionNotFound
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.ids import new_id
from recolabel.store.images import queue_drawing
from recolabel.store.job_states import cancel_drawing, job_row, leased_job, move, repeats_a_version
from recolabel.store.projects import classes_of, newest_version, project_of, project_row, working_version
from recolabel.store.updates import tell


class ModelVersions:
    """The model versions of all projects."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock

    def publish(self, job_id: str, fence: int, publication: Publication) -> ModelVersion:
        """End a training with a new version and queue the job that draws its maps, in one transaction.

        While another version is pinned, that one's maps stay.

        Saying it twice is harmless. A person's wish to stop does not stand in the way: what the training has so far
        is what that person gets.

        Raises:
            LeaseLost, JobEnded, JobNotFound: a stale fence cannot publish.
            BlobNotFound: an artifact has not been uploaded.
            ClassNotFound: the network speaks of a class that the project does not have.
        """
        if MODEL_FILE not in publication.artifacts:
            raise BlobNotFound(f"A model version needs its file {MODEL_FILE}.")
        sizes = {name: self._blobs.size(sha256) for name, sha256 in publication.artifacts.items()}
        now = self._clock()
        model_version_id = new_id(now)

        def work(connection: Connection) -> ModelVersion:
            job = job_row(connection, job_id)
            if job.state == JobState.SUCCEEDED and job.fence == fence and job.model_version is not None:
                return _version(connection, version_row(connection, job.project_id, job.model_version))
            job = leased_job(connection, job_id, fence)
            if job.kind != JobKind.TRAIN or repeats_a_version(job):
                raise LeaseLost("Only a training publishes a model version.")
            known = {label_class.class_uid for label_class in classes_of(connection, job.project_id)}
            if not known.issuperset(publication.class_uids):
                raise ClassNotFound
            version = (newest_version(connection, job.project_id) or 0) + 1
            connection.execute(
                insert(schema.model_version).values(
                    model_version_id=model_version_id,
                    project_id=job.project_id,
                    version=version,
                    job_id=job_id,
                    label_seq=job.label_seq,
                    label_count=job.label_count,
                    parent=publication.parent,
                    spec=job.spec,
                    class_uids=json.dumps(publication.class_uids),
                    config=json.dumps(publication.config),
                    metrics=publication.metrics.model_dump_json(),
                    code_version=publication.code_version,
                    images=trained_images.dump_json(publication.images).decode(),
                    created_at=now,
                )
            )
            connection.execute(
                insert(schema.artifact),
                [
                    {"model_version_id": model_version_id, "name": name, "sha256": sha256, "size": sizes[name]}
                    for name, sha256 in publication.artifacts.items()
                ],
            )
            move(
                connection,
                job,
                JobState.SUCCEEDED,
                now,
                why=f"published version {version}",
                model_version=version,
                finished_at=now,
            )
            tell(connection, job.project_id, VersionPublished(version=version))
            if working_version(connection, job.project_id) == version:
                cancel_drawing(connection, job.project_id, now, why="a newer version draws")
                queue_drawing(connection, job.project_id, now)
            return _version(connection, version_row(connection, job.project_id, version))

        return self._database.write(work)

    def pin(self, project_id: str, version: int | None) -> Project:
        """Work with a version instead of the newest, until told otherwise; None: with the newest again.

        Its maps take the place of those by another version, image by image: a job for that is queued at once.

        Raises:
            ProjectNotFound, ModelVersionNotFound: nothing was changed.
        """
        now = self._clock()

        def work(connection: Connection) -> Project:
            if project_row(connection, project_id).pinned_version != version:
                if version is not None:
                    version_row(connection, project_id, version)
                before = working_version(connection, project_id)
                connection.execute(
                    update(schema.project)
                    .where(schema.project.c.project_id == project_id)
                    .values(pinned_version=version)
                )
                tell(connection, project_id, ProjectChanged())
                after = working_version(connection, project_id)
                if after != before:
                    cancel_drawing(connection, project_id, now, why=f"version {after} draws", but_by=after)
                    queue_drawing(connection, project_id, now, training_will_draw=False)
            return project_of(connection, project_id)

        return self._database.write(work)

    def list(self, project_id: str) -> builtins.list[ModelVersion]:
        """The project's versions, newest first. Raises ProjectNotFound."""
        statement = (
            select(schema.model_version)
            .where(schema.model_version.c.project_id == project_id)
            .order_by(schema.model_version.c.version.desc())
        )
        with self._database.reading() as connection:
            project_row(connection, project_id)
            return [_version(connection, row) for row in connection.execute(statement).all()]

    def get(self, project_id: str, version: int) -> ModelVersion:
        """One version. Raises ModelVersionNotFound, ProjectNotFound."""
        with self._database.reading() as connection:
            project_row(connection, project_id)
            return _version(connection, version_row(connection, project_id, version))

    def artifact(self, project_id: str, version: int, name: str) -> str:
        """The blob of a version's file. Raises BlobNotFound, ModelVersionNotFound, ProjectNotFound."""
        with self._database.reading() as connection:
            project_row(connection, project_id)
            row = version_row(connection, project_id, version)
            sha256 = connection.execute(
                select(schema.artifact.c.sha256).where(
                    schema.artifact.c.model_version_id == row.model_version_id, schema.artifact.c.name == name
                )
            ).scalar()
        if sha256 is None:
            raise BlobNotFound(f"Version {version} has no file {name!r}.")
        return str(sha256)


trained_images: TypeAdapter[builtins.list[TrainedImage]] = TypeAdapter(builtins.list[TrainedImage])


def version_row(connection: Connection, project_id: str, version: int) -> Row[Any]:
    """The row of a version. Raises ModelVersionNotFound."""
    row = connection.execute(
        select(schema.model_version).where(
            schema.model_version.c.project_id == project_id, schema.model_version.c.version == version
        )
    ).one_or_none()
    if row is None:
        raise ModelVersionNotFound
    return row


def _version(connection: Connection, row: Row[Any]) -> ModelVersion:
    artifacts = connection.execute(
        select(schema.artifact.c.name, schema.artifact.c.size)
        .where(schema.artifact.c.model_version_id == row.model_version_id)
        .order_by(schema.artifact.c.name)
    ).all()
    return ModelVersion(
        model_version_id=row.model_version_id,
        project_id=row.project_id,
        version=row.version,
        job_id=row.job_id,
        label_seq=row.label_seq,
        label_count=row.label_count,
        parent=row.parent,
        spec=TrainSpec.model_validate_json(row.spec),
        class_uids=json.loads(row.class_uids),
        config=json.loads(row.config),
        metrics=Metrics.model_validate_json(row.metrics),
        code_version=row.code_version,
        created_at=row.created_at,
        artifacts={artifact.name: artifact.size for artifact in artifacts},
    )
