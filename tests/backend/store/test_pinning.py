"""A pinned version is the one that a project works with, until somebody says otherwise."""

from __future__ import annotations

import pytest

from recolabel.contract.jobs import JobKind, JobState, NewTraining, PredictSpec, TrainSpec
from recolabel.contract.updates import ProjectChanged
from recolabel.errors import ModelVersionNotFound
from tests.backend.store.conftest import Clock
from tests.backend.store.street import Street


@pytest.fixture
def street(street: Street, clock: Clock) -> Street:
    """Two versions, of which the second has drawn both images."""
    street.publish(street.claim_started(clock))
    street.store.jobs.start_training(street.project_id, NewTraining())
    street.publish(street.claim(clock.now))
    draw_all(street, clock)
    return street


def draw_all(street: Street, clock: Clock) -> list[int]:
    """Do the oldest predict job that waits; gives the versions of both images' maps."""
    lease = street.claim(clock.now)
    assert lease.job.kind is JobKind.PREDICT
    images = {image.image_id: image for image in (street.first, street.second)}
    while image_id := street.store.jobs.next_image(lease.job.job_id, lease.fence, clock.now).image_id:
        street.store.images.add_map(lease.job.job_id, lease.fence, street.map_of(images[image_id]))
    street.store.jobs.finish(lease.job.job_id, lease.fence)
    return [street.store.images.maps(image_id)[0].model_version or 0 for image_id in images]


def waiting(street: Street) -> list[object]:
    return [job.spec for job in street.store.jobs.list(street.project_id) if job.state is JobState.QUEUED]


def test_rolling_back_draws_all_images_again_and_following_the_newest_does_so_too(street: Street, clock: Clock) -> None:
    rolled_back = street.store.model_versions.pin(street.project_id, 1)
    assert (rolled_back.pinned_version, rolled_back.newest_version) == (1, 2)
    assert waiting(street) == [PredictSpec(model_version=1)]
    assert draw_all(street, clock) == [1, 1]

    assert street.store.model_versions.pin(street.project_id, None).pinned_version is None
    assert draw_all(street, clock) == [2, 2]


def test_a_drawing_by_the_version_of_before_ends_when_another_is_pinned(street: Street) -> None:
    street.store.model_versions.pin(street.project_id, 1)
    street.store.model_versions.pin(street.project_id, 2)

    assert waiting(street) == [PredictSpec(model_version=2)]


def test_pinning_the_newest_draws_nothing_again_and_tells_the_browsers(street: Street) -> None:
    street.store.model_versions.pin(street.project_id, 2)

    assert waiting(street) == []
    assert street.store.updates.since(street.project_id, 0, 100)[-1].hint == ProjectChanged()


def test_a_training_starts_from_the_pinned_version_and_its_own_takes_over_no_map(street: Street, clock: Clock) -> None:
    street.store.model_versions.pin(street.project_id, 1)
    training, _ = street.store.jobs.start_training(street.project_id, NewTraining())
    assert isinstance(training.spec, TrainSpec)
    assert training.spec.warm_start_version == 1
    assert PredictSpec(model_version=1) in waiting(street)  # the pinned version goes on drawing
    draw_all(street, clock)

    street.publish(street.claim(clock.now, training.job_id))

    assert street.store.projects.get(street.project_id).newest_version == 3
    assert waiting(street) == []
    street.add_image("third.png")
    assert waiting(street) == [PredictSpec(model_version=1)]


def test_a_version_that_is_not_there_cannot_be_pinned(street: Street) -> None:
    with pytest.raises(ModelVersionNotFound):
        street.store.model_versions.pin(street.project_id, 3)

    assert street.store.projects.get(street.project_id).pinned_version is None
