"""The repair loop on a real store; time comes in as an argument."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import Claim, JobState, NewTraining
from recolabel.contract.labels import ClickEvent, Pixel
from recolabel.contract.projects import NewLabelClass, NewProject, Project, ProjectPatch, SettingsPatch
from recolabel.doorbell import Doorbell
from recolabel.settings import Settings
from recolabel.store import BlobRef, NewImage, Store, open_store
from recolabel.sweeper import RING_AGAIN_AFTER, Sweeper
from tests.servers import wait_for


class Bell(Doorbell):
    """Remembers who was rung for."""

    def __init__(self) -> None:
        super().__init__()
        self.rung: list[str] = []

    def ring(self, job_id: str) -> None:
        self.rung.append(job_id)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data", sweep_seconds=0.01)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with open_store(settings) as opened:
        yield opened


@pytest.fixture
def bell() -> Bell:
    return Bell()


@pytest.fixture
def sweeper(store: Store, bell: Bell, settings: Settings) -> Sweeper:
    return Sweeper(store, bell, settings)


@pytest.fixture
def project(store: Store) -> Project:
    return store.projects.create(NewProject(name="x", classes=[NewLabelClass(name="a"), NewLabelClass(name="b")]))


@pytest.fixture
def image(store: Store, project: Project) -> ImageInfo:
    ref = BlobRef(store.blobs.put_bytes(b"pixels"), "image/png")
    new = NewImage(width=8, height=8, sha256=ref.sha256, original=ref, canonical=ref, thumbnail=ref)
    return store.images.add(project.project_id, "a.png", new).image


def click(store: Store, image: ImageInfo, class_uid: str, x: int) -> None:
    event = ClickEvent(
        event_id=str(uuid.uuid4()),
        image_id=image.image_id,
        image_sha256=image.sha256,
        client_id=str(uuid.uuid4()),
        client_seq=0,
        client_time=datetime.now(UTC),
        class_uid=class_uid,
        pixel=Pixel(x=x, y=0),
    )
    store.labels.append(image.project_id, [event], "local")


def label_both(store: Store, project: Project, image: ImageInfo) -> None:
    for x, label_class in enumerate(project.classes):
        click(store, image, label_class.class_uid, x)


def test_a_training_starts_by_itself_once_every_class_has_a_label_and_the_hand_rests(
    store: Store, sweeper: Sweeper, bell: Bell, project: Project, image: ImageInfo, settings: Settings
) -> None:
    rest = timedelta(seconds=settings.retrain_quiet_seconds)
    click(store, image, project.classes[0].class_uid, 0)
    sweeper.sweep(datetime.now(UTC) + rest)
    assert store.jobs.list(project.project_id) == []

    click(store, image, project.classes[1].class_uid, 1)
    sweeper.sweep(datetime.now(UTC))
    assert store.jobs.list(project.project_id) == []
    sweeper.sweep(datetime.now(UTC) + rest)

    [job] = store.jobs.list(project.project_id)
    assert bell.rung == [job.job_id]


def test_a_project_that_does_not_want_to_train_by_itself_does_not(
    store: Store, sweeper: Sweeper, project: Project, image: ImageInfo
) -> None:
    store.projects.patch(project.project_id, ProjectPatch(settings=SettingsPatch(auto_train=False)))
    label_both(store, project, image)

    sweeper.sweep(datetime.now(UTC) + timedelta(hours=1))

    assert store.jobs.list(project.project_id) == []


def test_a_cancelled_training_is_not_started_again_on_the_same_labels(
    store: Store, sweeper: Sweeper, project: Project, image: ImageInfo
) -> None:
    label_both(store, project, image)
    later = datetime.now(UTC) + timedelta(hours=1)
    sweeper.sweep(later)
    store.jobs.cancel(store.jobs.list(project.project_id)[0].job_id)

    sweeper.sweep(later)

    assert [job.state for job in store.jobs.list(project.project_id)] == [JobState.CANCELLED]


def test_a_job_of_a_silent_worker_is_given_back_and_rung_for(
    store: Store, sweeper: Sweeper, bell: Bell, project: Project, image: ImageInfo, settings: Settings
) -> None:
    label_both(store, project, image)
    job, _ = store.jobs.start_training(project.project_id, NewTraining())
    now = datetime.now(UTC)
    store.jobs.claim(Claim(worker_id="w", contract_version=CONTRACT_VERSION), now)

    sweeper.sweep(now + timedelta(seconds=settings.lease_seconds - 1))
    assert bell.rung == []
    sweeper.sweep(now + timedelta(seconds=settings.lease_seconds + 1))

    assert store.jobs.get(job.job_id).state == JobState.QUEUED
    assert bell.rung == [job.job_id]


def test_a_job_that_waits_is_rung_for_again_but_not_at_every_look(
    store: Store, sweeper: Sweeper, bell: Bell, project: Project, image: ImageInfo
) -> None:
    label_both(store, project, image)
    job, _ = store.jobs.start_training(project.project_id, NewTraining())
    now = datetime.now(UTC)

    for second in range(20):
        sweeper.sweep(now + timedelta(seconds=second))

    assert bell.rung == [job.job_id] * (1 + int(timedelta(seconds=19) / RING_AGAIN_AFTER))


def test_one_failed_look_does_not_end_the_sweeper(
    sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks: list[datetime] = []

    def fail_first(now: datetime) -> None:
        looks.append(now)
        if len(looks) == 1:
            raise OSError("disk on fire")

    monkeypatch.setattr(sweeper, "sweep", fail_first)
    sweeper.start()
    wait_for(lambda: len(looks) >= 3, seconds=10, what="looks after the failed one", pause=0.01)
    sweeper.stop()

    assert "disk on fire" in capsys.readouterr().out
