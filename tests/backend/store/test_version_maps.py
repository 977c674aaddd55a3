"""An image as a chosen version sees it stands beside the image's own map, and disturbs nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest

from recolabel.contract.jobs import JobState, NewTraining, PredictSpec
from recolabel.errors import BlobDamaged, ImageNotFound, LeaseLost, MapNotFound, ModelVersionNotFound
from recolabel.store import version_maps
from recolabel.store.orphans import GRACE
from tests.backend.store.conftest import Clock
from tests.backend.store.street import Street


@pytest.fixture
def street(street: Street, clock: Clock) -> Street:
    """A version that waits to draw its images."""
    street.publish(street.claim_started(clock))
    return street


def draw(street: Street, clock: Clock, confidence: int = 255) -> None:
    """Do the job for a single image that was asked for."""
    lease = street.claim(clock.now)
    assert isinstance(lease.job.spec, PredictSpec)
    image = street.store.images.get(lease.job.spec.image_id or "")
    assert street.store.jobs.next_image(lease.job.job_id, lease.fence, clock.now).image_id == image.image_id
    upload = street.map_of(image, confidence=confidence)
    street.store.version_maps.add(lease.job.job_id, lease.fence, upload)
    assert street.store.jobs.next_image(lease.job.job_id, lease.fence, clock.now).image_id is None
    street.store.jobs.finish(lease.job.job_id, lease.fence)


def test_asking_draws_that_image_once_before_everything_that_waits(street: Street, clock: Clock) -> None:
    image_id = street.first.image_id
    first, again = (street.store.version_maps.ask(image_id, 1) for _ in range(2))
    assert first.job is not None
    assert again.job is not None
    assert first.job.job_id == again.job.job_id

    draw(street, clock)

    found = street.store.version_maps.ask(image_id, 1)
    assert found.job is None
    assert found.map == street.store.version_maps.list(image_id)[0]
    assert street.store.images.maps(image_id) == []  # its own map is still to be drawn


def test_what_the_newest_map_shows_need_not_be_drawn_again_and_outlives_it(street: Street, clock: Clock) -> None:
    lease = street.claim(clock.now)
    street.store.images.add_map(lease.job.job_id, lease.fence, street.map_of(street.first, confidence=7))
    assert street.store.version_maps.ask(street.first.image_id, 1).job is None
    planes = street.store.version_maps.planes(street.first.image_id, 1)

    # When the newest map is replaced and the sweep deletes what nobody names
    street.store.images.add_map(lease.job.job_id, lease.fence, street.map_of(street.first, confidence=8))
    street.store.jobs.sweep(clock.move(2 * GRACE.total_seconds()))

    assert all(street.store.blobs.exists(sha256) for sha256 in planes)


def test_a_training_ends_the_drawing_of_all_images_but_not_that_of_one(street: Street) -> None:
    asked = street.store.version_maps.ask(street.first.image_id, 1).job
    assert asked is not None

    street.store.jobs.start_training(street.project_id, NewTraining())

    states = {job.job_id: job.state for job in street.store.jobs.list(street.project_id)}
    assert states.pop(asked.job_id) is JobState.QUEUED
    assert sorted(states.values()) == [JobState.CANCELLED, JobState.QUEUED, JobState.SUCCEEDED]


def test_a_job_for_one_image_stands_in_no_ones_way(street: Street, clock: Clock) -> None:
    lease = street.claim(clock.now)
    street.store.jobs.finish(lease.job.job_id, lease.fence)
    street.store.version_maps.ask(street.first.image_id, 1)

    street.add_image("third.png")

    waiting = [job.spec for job in street.store.jobs.list(street.project_id) if job.state is JobState.QUEUED]
    assert PredictSpec(model_version=1) in waiting


def test_the_longest_unused_go_when_there_are_too_many(
    street: Street, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_maps, "KEPT", 2)
    images = [street.first, street.second, street.add_image("third.png")]
    for index, image in enumerate(images):
        clock.now += timedelta(seconds=1)
        street.store.version_maps.ask(image.image_id, 1)
        draw(street, clock, confidence=index)
        clock.now += timedelta(seconds=1)
        street.store.version_maps.ask(street.first.image_id, 1)  # it is looked at all the time

    at_hand = [len(street.store.version_maps.list(image.image_id)) for image in images]

    assert at_hand == [1, 0, 1]
    with pytest.raises(MapNotFound):
        street.store.version_maps.planes(street.second.image_id, 1)


def test_a_replaced_image_is_drawn_anew_and_a_removed_one_not_at_all(street: Street, clock: Clock) -> None:
    image_id = street.first.image_id
    street.store.version_maps.ask(image_id, 1)
    draw(street, clock)

    street.store.images.replace(image_id, street.pixels("other pixels"))
    asked = street.store.version_maps.ask(image_id, 1)
    assert asked.job is not None
    lease = street.claim(clock.now)
    street.store.images.remove(image_id)

    assert street.store.jobs.next_image(lease.job.job_id, lease.fence, clock.now).image_id is None
    with pytest.raises(ImageNotFound):
        street.store.version_maps.list(image_id)


def test_what_does_not_fit_is_refused(street: Street, clock: Clock) -> None:
    with pytest.raises(ModelVersionNotFound):
        street.store.version_maps.ask(street.first.image_id, 2)
    street.store.version_maps.ask(street.first.image_id, 1)
    lease = street.claim(clock.now)
    good = street.map_of(street.first)
    short = street.store.blobs.put_bytes(bytes(3))

    with pytest.raises(LeaseLost):
        street.store.version_maps.add(lease.job.job_id, lease.fence, street.map_of(street.second))
    changes: list[dict[str, object]] = [{"prediction": short}, {"confidence": short}, {"class_uids": []}]
    for change in changes:
        with pytest.raises(BlobDamaged):
            street.store.version_maps.add(lease.job.job_id, lease.fence, good.model_copy(update=change))
    assert street.store.version_maps.list(street.first.image_id) == []
