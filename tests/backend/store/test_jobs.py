"""Jobs: one table of moves, one lease at a time, and nothing that a silent worker can spoil."""

from __future__ import annotations

import itertools

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError

from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.jobs import (
    CheckpointReport,
    Claim,
    Failure,
    JobKind,
    JobState,
    NewTraining,
    PredictSpec,
    Progress,
)
from recolabel.contract.projects import ClassPatch, NewLabelClass, ProjectPatch, SettingsPatch
from recolabel.errors import (
    BadArgument,
    BlobNotFound,
    ContractMismatch,
    JobEnded,
    JobNotFound,
    LeaseLost,
    NothingToTrain,
)
from recolabel.store import Store, schema
from recolabel.store.job_states import ALLOWED, HELD_STATES, move
from tests.backend.store.conftest import Clock
from tests.backend.store.street import HEIGHT, WIDTH, Street

CELLS = list(itertools.product(JobState, JobState))


@pytest.mark.parametrize(("was", "to"), CELLS, ids=[f"{was}-{to}" for was, to in CELLS])
def test_a_job_moves_as_the_table_allows_and_not_otherwise(
    street: Street, clock: Clock, was: JobState, to: JobState
) -> None:
    job_id = street.start().job_id

    def set_state(connection: Connection) -> None:
        connection.execute(
            text("UPDATE job SET state = :state, deadline = '2030-01-01 00:00:00.000000' WHERE job_id = :job_id"),
            {"state": was, "job_id": job_id},
        )

    def attempt(connection: Connection) -> None:
        row = connection.execute(select(schema.job).where(schema.job.c.job_id == job_id)).one()
        move(connection, row, to, clock.now, why="a test")

    street.store._database.write(set_state)
    if to in ALLOWED[was]:
        street.store._database.write(attempt)
    else:
        with pytest.raises(AssertionError, match="cannot go"):
            street.store._database.write(attempt)

    assert street.store.jobs.get(job_id).state == (to if to in ALLOWED[was] else was)


def test_a_held_job_without_a_deadline_cannot_be_written(street: Street) -> None:
    street.start()

    with pytest.raises(IntegrityError, match="a_lease_has_a_deadline"):
        street.store._database.write(lambda connection: connection.execute(text("UPDATE job SET state = 'leased'")))


def test_training_needs_labels_of_two_classes_that_hold(street: Street) -> None:
    road, car = street.click(street.road, 0, 0), street.click(street.car, 9, 9)
    void = street.click("void", 5, 5)

    def is_refused() -> bool:
        try:
            job, _ = street.store.jobs.start_training(street.project_id, NewTraining())
        except NothingToTrain:
            return True
        street.store.jobs.cancel(job.job_id)
        return False

    assert is_refused()
    street.append(road, void)
    assert is_refused()
    street.append(car)
    assert not is_refused()
    street.append(street.undo(car.event_id))
    assert is_refused()
    street.append(street.click(street.car, 9, 9))
    street.store.projects.patch_class(street.project_id, street.car, ClassPatch(retired=True))
    assert is_refused()


def test_pressing_train_twice_gives_the_same_job(street: Street) -> None:
    job = street.start()

    again, created = street.store.jobs.start_training(street.project_id, NewTraining(steps=5))

    assert (again.job_id, created) == (job.job_id, False)


def test_a_job_is_claimed_by_one_worker(street: Street, clock: Clock) -> None:
    job = street.start()

    lease = street.claim(clock.now, job.job_id)
    second = street.store.jobs.claim(Claim(worker_id="other", contract_version=CONTRACT_VERSION), clock.now)

    assert (lease.fence, lease.job.attempt, lease.job.state) == (1, 1, JobState.LEASED)
    assert second is None


def test_a_worker_of_another_contract_gets_no_job(street: Street, clock: Clock) -> None:
    street.start()

    with pytest.raises(ContractMismatch, match="upgrade"):
        street.store.jobs.claim(Claim(worker_id="old", contract_version="0"), clock.now)


def test_a_renewed_lease_outlives_its_first_deadline(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)

    for _ in range(4):
        street.store.jobs.renew(lease.job.job_id, lease.fence, Progress(done=1, total=9), clock.move(20))
        assert street.store.jobs.sweep(clock.now) == []

    assert street.store.jobs.get(lease.job.job_id).state == JobState.RUNNING


def test_a_silent_worker_loses_its_job_and_can_do_nothing_more(street: Street, clock: Clock) -> None:
    old = street.claim_started(clock)
    jobs, job_id = street.store.jobs, old.job.job_id

    rung = jobs.sweep(clock.move(31))
    new = street.claim(clock.now)

    assert rung == [job_id]
    assert (new.fence, new.job.attempt) == (old.fence + 1, 2)
    sha256 = street.store.blobs.put_bytes(b"checkpoint")
    for attempt in (
        lambda: jobs.renew(job_id, old.fence, None, clock.now),
        lambda: jobs.inputs(job_id, old.fence),
        lambda: jobs.record_checkpoint(job_id, old.fence, CheckpointReport(step=1, sha256=sha256)),
        lambda: jobs.fail(job_id, old.fence, Failure(error="late", retry=True)),
        lambda: jobs.finish(job_id, old.fence),
        lambda: street.publish(old),
        lambda: street.store.images.add_map(job_id, old.fence, street.map_of(street.first)),
    ):
        with pytest.raises(LeaseLost):
            attempt()
    assert street.publish(new).version == 1


def test_a_job_is_given_up_after_its_last_start(street: Street, clock: Clock) -> None:
    job = street.start()

    for _ in range(3):
        street.claim(clock.now)
        rung = street.store.jobs.sweep(clock.move(31))

    ended = street.store.jobs.get(job.job_id)
    assert rung == []
    assert (ended.state, ended.error) == (JobState.FAILED, "Given up after 3 starts. The worker fell silent.")
    assert ended.finished_at == clock.now


@pytest.mark.parametrize(("retry", "state"), [(True, JobState.QUEUED), (False, JobState.FAILED)])
def test_a_failed_start_is_repeated_only_if_that_may_help(
    street: Street, clock: Clock, retry: bool, state: JobState
) -> None:
    lease = street.claim_started(clock)

    job = street.store.jobs.fail(lease.job.job_id, lease.fence, Failure(error="Out of memory.", retry=retry))

    assert job.state == state
    assert job.error == (None if retry else "Out of memory.")


def test_the_next_start_resumes_from_the_newest_checkpoint(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)
    sha256s = [street.store.blobs.put_bytes(bytes([step])) for step in range(3)]

    for step, sha256 in enumerate(sha256s):
        report = CheckpointReport(step=step, sha256=sha256)
        street.store.jobs.record_checkpoint(lease.job.job_id, lease.fence, report)
    street.store.jobs.sweep(clock.move(31))

    assert street.claim(clock.now).checkpoint == sha256s[-1]


def test_a_checkpoint_that_was_not_uploaded_is_refused(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)

    with pytest.raises(BlobNotFound):
        street.store.jobs.record_checkpoint(lease.job.job_id, lease.fence, CheckpointReport(step=1, sha256="0" * 64))


def test_files_that_no_row_names_are_deleted_after_a_while(street: Street, clock: Clock) -> None:
    blobs = street.store.blobs
    lease = street.claim_started(clock)
    sha256s = [blobs.put_bytes(bytes([step])) for step in range(3)]
    for step, sha256 in enumerate(sha256s):
        report = CheckpointReport(step=step, sha256=sha256)
        street.store.jobs.record_checkpoint(lease.job.job_id, lease.fence, report)

    clock.now = clock.now.replace(year=2040)  # the files' own times are those of the real clock
    street.store.jobs.renew(lease.job.job_id, lease.fence, None, clock.now)
    street.store.jobs.sweep(clock.now)

    assert [blobs.exists(sha256) for sha256 in sha256s] == [False, True, True]


def test_cancelling_a_queued_job_ends_it(street: Street) -> None:
    job = street.start()

    assert street.store.jobs.cancel(job.job_id).state == JobState.CANCELLED
    assert street.store.jobs.cancel(job.job_id).state == JobState.CANCELLED


def test_cancelling_a_running_training_asks_its_worker_which_may_still_publish(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)

    asked = street.store.jobs.cancel(lease.job.job_id)
    reply = street.store.jobs.renew(lease.job.job_id, lease.fence, None, clock.now)
    version = street.publish(lease)

    assert (asked.state, asked.cancel_requested, reply.cancel_requested) == (JobState.LEASED, True, True)
    assert version.version == 1


@pytest.mark.parametrize("end", ["fail", "silence"])
def test_a_training_that_was_asked_to_stop_is_not_started_again(street: Street, clock: Clock, end: str) -> None:
    lease = street.claim_started(clock)
    street.store.jobs.cancel(lease.job.job_id)

    if end == "fail":
        street.store.jobs.fail(lease.job.job_id, lease.fence, Failure(error="Stopped.", retry=True))
    else:
        street.store.jobs.sweep(clock.move(31))

    assert street.store.jobs.get(lease.job.job_id).state == JobState.CANCELLED


def test_publishing_queues_the_drawing_and_a_new_training_gives_it_up(street: Street, clock: Clock) -> None:
    street.publish(street.claim_started(clock))
    drawing = street.claim(clock.now)

    street.store.jobs.start_training(street.project_id, NewTraining())

    assert drawing.job.spec == PredictSpec(model_version=1)
    with pytest.raises(JobEnded):
        street.store.jobs.next_image(drawing.job.job_id, drawing.fence, clock.now)
    assert street.claim(clock.now).job.kind == JobKind.TRAIN


def test_a_training_does_not_overtake_the_older_drawing_of_another_project(street: Street, clock: Clock) -> None:
    other = Street(street.store, "Other street")
    street.publish(street.claim_started(clock))
    training = other.start()
    [drawing, _] = waiting = street.store.jobs.sweep(clock.now)

    claimed = [street.claim(clock.now, rung_for).job for rung_for in (training.job_id, None)]

    assert waiting == [job.job_id for job in claimed] == [drawing, training.job_id]
    assert [job.kind for job in claimed] == [JobKind.PREDICT, JobKind.TRAIN]
    assert claimed[0].project_id == street.project_id


def test_a_job_sees_the_labels_and_classes_of_its_own_moment(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)
    jobs, job_id = street.store.jobs, lease.job.job_id

    street.append(street.click(street.car, 0, 0))
    street.store.projects.add_class(street.project_id, NewLabelClass(name="tree"))
    inputs = jobs.inputs(job_id, lease.fence)
    label_map = jobs.label_map(job_id, lease.fence, street.first.image_id)

    assert inputs.snapshot.label_seq == 2
    assert inputs.snapshot.class_names == ["road", "car"]
    assert [image.labelled_pixels for image in inputs.snapshot.images] == [2, 0]
    assert label_map.shape == (HEIGHT, WIDTH)
    assert (label_map[0, 0], label_map[9, 9]) == (0, 1)


def test_a_second_training_starts_from_the_newest_version(street: Street, clock: Clock) -> None:
    street.publish(street.claim_started(clock))
    street.store.jobs.start_training(street.project_id, NewTraining())

    lease = street.claim(clock.now)
    inputs = street.store.jobs.inputs(lease.job.job_id, lease.fence)

    assert inputs.warm_start_model == street.store.model_versions.artifact(street.project_id, 1, "model.safetensors")
    assert inputs.warm_start_class_uids == [street.road, street.car]


def test_the_image_on_screen_is_drawn_first_then_the_labelled_ones(street: Street, clock: Clock) -> None:
    third = street.add_image("third.png")
    street.publish(street.claim_started(clock))
    drawing = street.claim(clock.now)
    job_id, order = drawing.job.job_id, []
    street.store.images.open_in_browser(street.project_id, third.image_id, street.client_id, clock.now)

    while (ask := street.store.jobs.next_image(job_id, drawing.fence, clock.now)).image_id is not None:
        order.append((ask.image_id, ask.done, ask.total))
        image = street.store.images.get(ask.image_id)
        street.store.images.add_map(job_id, drawing.fence, street.map_of(image))

    ids = [third.image_id, street.first.image_id, street.second.image_id]
    assert order == [(image_id, done, 3) for done, image_id in enumerate(ids)]
    assert street.store.jobs.finish(job_id, drawing.fence).state == JobState.SUCCEEDED


def test_a_training_does_not_end_without_its_model_version(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)

    with pytest.raises(BadArgument):
        street.store.jobs.finish(lease.job.job_id, lease.fence)

    assert street.publish(lease).version == 1


def test_each_move_leaves_a_line_of_history(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)
    street.store.jobs.sweep(clock.move(31))

    with street.store._database.reading() as connection:
        lines = connection.execute(
            text("SELECT from_state, to_state, fence FROM job_history WHERE job_id = :job_id ORDER BY entry"),
            {"job_id": lease.job.job_id},
        ).all()

    assert [tuple(line) for line in lines] == [(None, "queued", 0), ("queued", "leased", 1), ("leased", "queued", 1)]


def test_a_deleted_project_takes_its_jobs_along(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)

    street.store.projects.delete(street.project_id)

    with pytest.raises(JobNotFound):
        street.store.jobs.renew(lease.job.job_id, lease.fence, None, clock.now)
    assert street.store.jobs.sweep(clock.move(100)) == []


def test_progress_since_the_last_training_is_told_while_the_project_trains_by_itself(
    street: Street, clock: Clock
) -> None:
    jobs = street.store.jobs
    assert jobs.projects_that_may_train() == []

    street.append(street.click(street.road, 0, 0))
    [first] = jobs.projects_that_may_train()
    lease = street.claim_started(clock)
    while_it_trains = jobs.projects_that_may_train()
    street.publish(lease)
    after_it = jobs.projects_that_may_train()
    street.append(street.click(street.road, 1, 0), street.click(street.road, 2, 0))
    [later] = jobs.projects_that_may_train()
    street.store.projects.patch(street.project_id, ProjectPatch(settings=SettingsPatch(auto_train=False)))

    assert (first.new_labels, first.every_active_class_has_labels, first.has_version) == (1, False, False)
    assert while_it_trains == []
    assert after_it == []
    assert (later.new_labels, later.labels_at_last_version, later.has_version) == (2, 3, True)
    assert jobs.projects_that_may_train() == []


def test_held_states_are_those_with_a_worker() -> None:
    assert {state for state in JobState if JobState.QUEUED in ALLOWED[state]} == set(HELD_STATES)


def test_jobs_are_listed_newest_first(store: Store, street: Street, clock: Clock) -> None:
    street.publish(street.claim_started(clock))

    assert [job.kind for job in store.jobs.list(street.project_id)] == [JobKind.PREDICT, JobKind.TRAIN]
    assert len(store.jobs.list(street.project_id, 1)) == 1
