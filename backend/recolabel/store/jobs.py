"""Jobs: the row is the job. What people may do with one, and what a worker may while it holds the lease."""

from __future__ import annotations

import builtins
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from recolabel.blobs import Blobs
from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.jobs import (
    ACTIVE_STATES,
    CheckpointReport,
    Claim,
    Failure,
    Job,
    JobInputs,
    JobKind,
    JobState,
    Lease,
    NewTraining,
    NextImage,
    Progress,
    RenewalReply,
    Reproduction,
    TrainSpec,
)
from recolabel.contract.model_versions import MODEL_FILE
from recolabel.contract.projects import LabelClass, ProjectSettings
from recolabel.errors import (
    BadArgument,
    BlobNotFound,
    ContractMismatch,
    ImageNotFound,
    ImageReplaced,
    NothingToTrain,
)
from recolabel.labels.fold import LabelMap
from recolabel.retraining import LabelProgress
from recolabel.settings import Settings
from recolabel.snapshots import take_snapshot
from recolabel.store import schema
from recolabel.store.clock import Clock
from recolabel.store.database import Database
from recolabel.store.held_out import held_out_of_project
from recolabel.store.images import Images, has_newer_fast_map, image_row
from recolabel.store.job_states import (
    HELD_STATES,
    cancel_drawing,
    forget_checkpoints,
    insert_job,
    job_of,
    job_row,
    leased_job,
    move,
    remember,
    repeats_a_version,
    tell_of_job,
)
from recolabel.store.label_counts import labels_by_class
from recolabel.store.labels import LABEL_KINDS, events_of_project, facts_of, training_label_map
from recolabel.store.orphans import sweep_orphans
from recolabel.store.projects import classes_of, newest_version, project_row, working_version
from recolabel.store.refining import Refining
from recolabel.store.updates import forget_old

KEPT_CHECKPOINTS = 2
PRUNE_EVERY = timedelta(minutes=1)


class Jobs:
    """The jobs of all projects, and what a worker may ask while it holds one."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        images: Images,
        refining: Refining,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._images = images
        self._refining = refining
        self._settings = settings
        self._clock = clock
        self._pruned_at: datetime | None = None

    # --- for people -------------------------------------------------------------------------------------------

    def start_training(self, project_id: str, wish: NewTraining) -> tuple[Job, bool]:
        """Queue a training of the labels of this moment; False: one is active already, and that one is returned.

        Maps that an older version still draws are given up: the new version draws everything anyway. A pinned version
        goes on, since the new one will not take its place.

        Raises:
            ProjectNotFound: there is no such project.
            NothingToTrain: fewer than two classes have labels that hold.
        """
        now = self._clock()

        def work(connection: Connection) -> tuple[Job, bool]:
            project = project_row(connection, project_id)
            active = connection.execute(
                select(schema.job).where(
                    schema.job.c.project_id == project_id,
                    schema.job.c.kind == JobKind.TRAIN,
                    schema.job.c.state.in_(ACTIVE_STATES),
                )
            ).one_or_none()
            if active is not None:
                return job_of(active), False
            counts = labels_by_class(connection, project_id)
            class_uids = [label_class.class_uid for label_class in active_classes(connection, project_id)]
            if sum(counts.get(class_uid, 0) > 0 for class_uid in class_uids) < 2:
                raise NothingToTrain
            if project.pinned_version is None:
                cancel_drawing(connection, project_id, now, why="a training starts")
            spec = TrainSpec(
                method=wish.method,
                use_reco=wish.use_reco,
                steps=wish.steps,
                seed=wish.seed,
                warm_start_version=working_version(connection, project_id) if wish.warm_start else None,
            )
            row = insert_job(
                connection,
                project_id=project_id,
                spec=spec,
                label_seq=project.label_seq,
                label_count=project.label_count,
                class_uids=class_uids,
                now=now,
            )
            return job_of(row), True

        return self._database.write(work)

    def list(self, project_id: str, limit: int = 50) -> builtins.list[Job]:
        """The project's jobs, newest first, but for those that keep the fast head fitted. Raises ProjectNotFound."""
        with self._database.reading() as connection:
            project_row(connection, project_id)
            rows = connection.execute(
                select(schema.job)
                .where(schema.job.c.project_id == project_id, schema.job.c.kind != JobKind.REFINE)
                .order_by(schema.job.c.number.desc())
                .limit(limit)
            ).all()
        return [job_of(row) for row in rows]

    def get(self, job_id: str) -> Job:
        """One job. Raises JobNotFound."""
        with self._database.reading() as connection:
            return job_of(job_row(connection, job_id))

    def cancel(self, job_id: str) -> Job:
        """Stop a job. One that has ended stays as it is.

        A training that a worker holds is asked to stop, so that it can hand in what it has; the worker learns of it
        at its next renewal. Everything else ends at once: maps that were drawn are kept one by one.
        """
        now = self._clock()

        def work(connection: Connection) -> Job:
            row = job_row(connection, job_id)
            if row.state not in ACTIVE_STATES:
                return job_of(row)
            _cancel(connection, row, now, why="cancelled by a person")
            return job_of(job_row(connection, job_id))

        return self._database.write(work)

    def projects_that_may_train(self) -> builtins.list[LabelProgress]:
        """The projects that train by themselves and have new label events, with what `should_train` asks for."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(schema.project).where(schema.project.c.deleted_at.is_(None), schema.project.c.label_seq > 0)
            ).all()
            found = [_label_progress(connection, row) for row in rows if _trains_by_itself(row)]
        return [progress for progress in found if progress is not None]

    # --- for workers ------------------------------------------------------------------------------------------

    def claim(self, claim: Claim, now: datetime) -> Lease | None:
        """Give the asking worker the oldest queued job of all projects, of the kinds that it does. None: there is
        none, or the one it was rung for waits no longer. Does not wait, whatever the claim says.

        First come, first served: a training does not overtake the drawing of another project. That of its own project
        it has ended already when it was made.

        Raises:
            ContractMismatch: worker and server speak different versions of the contract.
        """
        if claim.contract_version != CONTRACT_VERSION:
            raise ContractMismatch(
                f"The server speaks contract {CONTRACT_VERSION}, the worker {claim.contract_version}: "
                "upgrade the older of the two."
            )
        statement = select(schema.job.c.job_id).where(
            schema.job.c.state == JobState.QUEUED, schema.job.c.kind.in_(claim.kinds)
        )
        if claim.job_id is not None:  # a bell must not let its job overtake one that waits for longer
            rung_for = select(schema.job.c.number).where(
                schema.job.c.job_id == claim.job_id, schema.job.c.state == JobState.QUEUED
            )
            statement = statement.where(schema.job.c.number <= rung_for.scalar_subquery())
        # Somebody waits for a single image at a slider, and it takes a second: it goes before everything else.
        is_single = func.json_extract(schema.job.c.spec, "$.image_id").is_not(None)
        statement = statement.order_by(is_single.desc(), schema.job.c.number).limit(1)
        with self._database.reading() as connection:  # idle workers ask all the time and must not cost a write
            if connection.execute(statement).scalar() is None:
                return None

        def work(connection: Connection) -> Lease | None:
            job_id = connection.execute(statement).scalar()
            if job_id is None:
                return None
            row = job_row(connection, job_id)
            row = move(
                connection,
                row,
                JobState.LEASED,
                now,
                why=f"claimed by {claim.worker_id}",
                fence=row.fence + 1,
                attempt=row.attempt + 1,
                worker_id=claim.worker_id,
                deadline=self._deadline(now),
            )
            return Lease(
                job=job_of(row),
                fence=row.fence,
                lease_seconds=self._settings.lease_seconds,
                checkpoint=row.checkpoint_sha256,
            )

        return self._database.write(work)

    def renew(self, job_id: str, fence: int, progress: Progress | None, now: datetime) -> RenewalReply:
        """Put the deadline off and take the worker's progress down. Raises LeaseLost, JobEnded, JobNotFound."""

        def work(connection: Connection) -> RenewalReply:
            row = leased_job(connection, job_id, fence)
            changes: dict[str, Any] = {"deadline": self._deadline(now)}
            if progress is not None:
                changes["progress"] = progress.model_dump_json()
            if progress is not None and row.state == JobState.LEASED:
                row = move(connection, row, JobState.RUNNING, now, why="the worker reports progress", **changes)
            else:
                connection.execute(update(schema.job).where(schema.job.c.job_id == job_id).values(changes))
                if progress is not None:
                    row = job_row(connection, job_id)
                    tell_of_job(connection, row)
            return RenewalReply(cancel_requested=bool(row.cancel_requested), lease_seconds=self._settings.lease_seconds)

        return self._database.write(work)

    def inputs(self, job_id: str, fence: int) -> JobInputs:
        """What the job works on, at its position of the log. Raises LeaseLost, JobEnded, JobNotFound."""
        with self._database.reading() as connection:
            job = leased_job(connection, job_id, fence)
            class_uids = json.loads(job.class_uids)
            names = {label_class.class_uid: label_class.name for label_class in classes_of(connection, job.project_id)}
            images = connection.execute(
                select(schema.image)
                .where(schema.image.c.project_id == job.project_id, schema.image.c.removed_at.is_(None))
                .order_by(schema.image.c.position)
            ).all()
            events = events_of_project(connection, job.project_id, job.label_seq)
            held_out = held_out_of_project(connection, job.project_id)
            if job.kind == JobKind.TRAIN:  # what came later would change the training between two attempts
                images = [row for row in images if row.added_at <= job.created_at]
            version = _starting_version(job)
            start = None if version is None else _version_row(connection, job.project_id, version)
            model = None if start is None else _artifact(connection, start.model_version_id, MODEL_FILE)
            reproduction = _reproduction(connection, job) if repeats_a_version(job) else None
        snapshot = take_snapshot(
            job.project_id,
            job.label_seq,
            [facts_of(row) for row in images],
            events,
            {class_uid: names[class_uid] for class_uid in class_uids},
            without=held_out,
        )
        return JobInputs(
            snapshot=snapshot,
            warm_start_model=model,
            warm_start_class_uids=[] if start is None else json.loads(start.class_uids),
            reproduction=reproduction,
        )

    def label_map(
        self,
        job_id: str,
        fence: int,
        image_id: str,
        *,
        label_seq: int | None = None,
        class_uids: Sequence[str] | None = None,
        image_sha256: str | None = None,
    ) -> LabelMap:
        """An image's labels, (height, width) uint8: class index, 254 void, 255 unlabelled. Held-out clicks are not
        among them.

        Args:
            label_seq: position of the log; the job's own when left out.
            class_uids: class index -> class; the job's own when left out. A class that is not among them says nothing.
            image_sha256: of the pixels that the caller knows.

        Raises:
            LeaseLost, JobEnded, JobNotFound, ImageNotFound.
            ImageReplaced: the image has other pixels by now.
        """
        with self._database.reading() as connection:
            job = leased_job(connection, job_id, fence)
            row = image_row(connection, image_id)
            if row.project_id != job.project_id:
                raise ImageNotFound
            if image_sha256 not in (None, row.sha256):
                raise ImageReplaced
            return training_label_map(
                connection,
                row,
                json.loads(job.class_uids) if class_uids is None else class_uids,
                job.label_seq if label_seq is None else label_seq,
            )

    def record_checkpoint(self, job_id: str, fence: int, report: CheckpointReport) -> None:
        """Note a checkpoint whose blob is stored; only now may the job resume from it.

        Raises:
            BlobNotFound, LeaseLost, JobEnded, JobNotFound.
        """
        if not self._blobs.exists(report.sha256):
            raise BlobNotFound("The checkpoint has not been uploaded.")
        now = self._clock()

        def work(connection: Connection) -> None:
            leased_job(connection, job_id, fence)
            connection.execute(
                insert(schema.checkpoint).values(
                    job_id=job_id, fence=fence, step=report.step, sha256=report.sha256, created_at=now
                )
            )
            connection.execute(
                update(schema.job).where(schema.job.c.job_id == job_id).values(checkpoint_sha256=report.sha256)
            )
            forget_checkpoints(connection, job_id, now, keep=KEPT_CHECKPOINTS)

        self._database.write(work)

    def next_image(self, job_id: str, fence: int, now: datetime) -> NextImage:
        """The image that a predict job should draw next: the one open in a browser, then most labels, then most
        uncertain. Null when all are drawn. Raises LeaseLost, JobEnded, JobNotFound.
        """
        image = schema.image.c
        with self._database.reading() as connection:
            job = leased_job(connection, job_id, fence)
            only = json.loads(job.spec).get("image_id")
            if only is not None:
                return _single_image(connection, job, only)
            version = _starting_version(job)
            of_project = (image.project_id == job.project_id) & image.removed_at.is_(None)
            in_view = self._images.image_in_view(job.project_id, now)
            not_drawn = (
                of_project
                & image.map_version.is_distinct_from(version)
                & ~has_newer_fast_map(job.label_seq, version, in_view)
            )
            total = connection.execute(select(func.count()).select_from(schema.image).where(of_project)).scalar_one()
            missing = connection.execute(select(func.count()).select_from(schema.image).where(not_drawn)).scalar_one()
            image_id = connection.execute(
                select(image.image_id)
                .where(not_drawn)
                .order_by(
                    (image.image_id == (in_view or "")).desc(),
                    image.label_count.desc(),
                    image.uncertainty.desc().nulls_last(),
                    image.position,
                )
                .limit(1)
            ).scalar()
        return NextImage(image_id=image_id, done=total - missing, total=total)

    def finish(self, job_id: str, fence: int) -> Job:
        """End a predict or refine job well. Saying it twice is harmless.

        Raises:
            LeaseLost, JobEnded, JobNotFound: as with every call of a worker.
            BadArgument: a training, which ends with a model version.
        """
        now = self._clock()

        def work(connection: Connection) -> Job:
            row = job_row(connection, job_id)
            if row.state == JobState.SUCCEEDED and row.fence == fence:
                return job_of(row)
            row = leased_job(connection, job_id, fence)
            if row.kind == JobKind.TRAIN:
                raise BadArgument("A training ends by publishing its model version, or by failing.")
            # The worker reports a few times a second; the last image falls between two reports.
            progress = Progress.model_validate_json(row.progress)
            progress = progress.model_copy(update={"done": progress.total})
            ended = move(
                connection,
                row,
                JobState.SUCCEEDED,
                now,
                why="all images are drawn" if row.kind == JobKind.PREDICT else "nobody looks at the project any more",
                finished_at=now,
                progress=progress.model_dump_json(),
            )
            return job_of(ended)

        job = self._database.write(work)
        # Somebody who came while it ended saw it active still, and queued none.
        if job.kind == JobKind.REFINE and self._images.image_in_view(job.project_id, now) is not None:
            self._refining.keep_fitted(job.project_id)
        return job

    def fail(self, job_id: str, fence: int, failure: Failure) -> Job:
        """Give a job back: queued again if another start may help and is allowed, else failed (or cancelled when a
        person asked for that). Raises LeaseLost, JobEnded, JobNotFound.
        """
        now = self._clock()

        def work(connection: Connection) -> Job:
            row = leased_job(connection, job_id, fence)
            return job_of(self._give_back(connection, row, now, failure.error, retry=failure.retry))

        return self._database.write(work)

    def sweep(self, now: datetime) -> builtins.list[str]:
        """Take jobs back from workers that fell silent; return the queued jobs to ring for, oldest first: those that
        keep the fast head fitted are waited for at the claim, without a bell.

        Also deletes files that no row names any more, now and then.
        """
        expired = select(schema.job).where(schema.job.c.state.in_(HELD_STATES), schema.job.c.deadline < now)
        with self._database.reading() as connection:
            is_work = connection.execute(expired.limit(1)).first() is not None
        if is_work:

            def take_back(connection: Connection) -> None:
                for row in connection.execute(expired).all():
                    self._give_back(connection, row, now, "The worker fell silent.", retry=True)

            self._database.write(take_back)
        if self._pruned_at is None or now - self._pruned_at >= PRUNE_EVERY:
            self._pruned_at = now
            self._database.write(lambda connection: self._prune(connection, now))
        with self._database.reading() as connection:
            return list(
                connection.execute(
                    select(schema.job.c.job_id)
                    .where(schema.job.c.state == JobState.QUEUED, schema.job.c.kind != JobKind.REFINE)
                    .order_by(schema.job.c.number)
                ).scalars()
            )

    def _deadline(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self._settings.lease_seconds)

    def _give_back(self, connection: Connection, row: Row[Any], now: datetime, error: str, *, retry: bool) -> Row[Any]:
        if row.cancel_requested:
            return move(connection, row, JobState.CANCELLED, now, why=error, finished_at=now)
        if retry and row.attempt < self._settings.max_attempts:
            return move(connection, row, JobState.QUEUED, now, why=error, worker_id=None, deadline=None)
        told = f"Given up after {row.attempt} starts. {error}" if retry else error
        return move(connection, row, JobState.FAILED, now, why=error, error=told, finished_at=now)

    def _prune(self, connection: Connection, now: datetime) -> None:
        forget_old(connection)
        sweep_orphans(connection, self._blobs, now)


def active_classes(connection: Connection, project_id: str) -> list[LabelClass]:
    """The classes that are not retired, in order of class index."""
    return [label_class for label_class in classes_of(connection, project_id) if not label_class.retired]


def _cancel(connection: Connection, row: Row[Any], now: datetime, *, why: str) -> None:
    if row.kind == JobKind.TRAIN and row.state in HELD_STATES:
        connection.execute(update(schema.job).where(schema.job.c.job_id == row.job_id).values(cancel_requested=1))
        remember(connection, row.job_id, row.fence, now, JobState(row.state), JobState(row.state), f"asked: {why}")
        tell_of_job(connection, job_row(connection, row.job_id))
    else:
        move(connection, row, JobState.CANCELLED, now, why=why, cancel_requested=1, finished_at=now)


def _single_image(connection: Connection, job: Row[Any], image_id: str) -> NextImage:
    """The one image of a job that draws no other; null when it is drawn, removed or was put in another project."""
    image, drawn = schema.image.c, schema.version_map.c
    is_there = connection.execute(
        select(image.image_id).where(
            image.image_id == image_id, image.project_id == job.project_id, image.removed_at.is_(None)
        )
    ).scalar()
    is_drawn = connection.execute(
        select(drawn.map_id).where(drawn.image_id == image_id, drawn.model_version == _starting_version(job))
    ).scalar()
    is_over = is_there is None or is_drawn is not None
    return NextImage(image_id=None if is_over else image_id, done=int(is_over), total=1)


def _starting_version(job: Row[Any]) -> int | None:
    """The model version that a job starts from: a training may have one, a predict job has."""
    spec = json.loads(job.spec)
    version: int | None = spec.get("model_version" if job.kind == JobKind.PREDICT else "warm_start_version")
    return version


def _reproduction(connection: Connection, job: Row[Any]) -> Reproduction:
    row = _version_row(connection, job.project_id, json.loads(job.spec)["reproduce_version"])
    assert row is not None  # versions stay
    return Reproduction(
        version=row.version,
        steps=json.loads(row.metrics)["steps"],
        config=json.loads(row.config),
        images=json.loads(row.images),
    )


def _version_row(connection: Connection, project_id: str, version: int) -> Row[Any] | None:
    return connection.execute(
        select(schema.model_version).where(
            schema.model_version.c.project_id == project_id, schema.model_version.c.version == version
        )
    ).one_or_none()


def _artifact(connection: Connection, model_version_id: str, name: str) -> str | None:
    return connection.execute(
        select(schema.artifact.c.sha256).where(
            schema.artifact.c.model_version_id == model_version_id, schema.artifact.c.name == name
        )
    ).scalar()


def _trains_by_itself(project: Row[Any]) -> bool:
    return ProjectSettings.model_validate_json(project.settings).auto_train


def _label_progress(connection: Connection, project: Row[Any]) -> LabelProgress | None:
    """The project's progress since its last training; None while one is active or when no event came since."""
    of_project = (schema.job.c.project_id == project.project_id) & (schema.job.c.kind == JobKind.TRAIN)
    is_training = connection.execute(
        select(schema.job.c.job_id).where(of_project, schema.job.c.state.in_(ACTIVE_STATES)).limit(1)
    ).scalar()
    last = connection.execute(
        select(schema.job.c.label_seq)
        .where(of_project, func.json_extract(schema.job.c.spec, "$.reproduce_version").is_(None))
        .order_by(schema.job.c.number.desc())
        .limit(1)
    ).scalar()
    base = 0 if last is None else last
    if is_training is not None or project.label_seq <= base:
        return None
    event = schema.label_event.c
    since = (event.project_id == project.project_id) & (event.seq > base)
    fresh = connection.execute(
        select(func.count(), func.min(event.server_time), func.max(event.server_time)).where(since)
    ).one()
    new_labels = connection.execute(
        select(func.count()).select_from(schema.label_event).where(since, event.kind.in_(LABEL_KINDS))
    ).scalar_one()
    version = newest_version(connection, project.project_id)
    known = None if version is None else _version_row(connection, project.project_id, version)
    counts = labels_by_class(connection, project.project_id)
    labelled = [counts.get(c.class_uid, 0) > 0 for c in active_classes(connection, project.project_id)]
    return LabelProgress(
        project_id=project.project_id,
        label_seq=project.label_seq,
        new_labels=new_labels,
        oldest_new_label_at=fresh[1],
        last_label_at=fresh[2],
        has_version=known is not None,
        labels_at_last_version=0 if known is None else known.label_count,
        every_active_class_has_labels=all(labelled),
        classes_with_labels=sum(labelled),
    )
