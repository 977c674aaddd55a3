"""Model versions are there whole or not at all, and never change."""

from __future__ import annotations

from typing import Any

import pytest

from recolabel.contract.jobs import JobState, NewTraining
from recolabel.contract.updates import VersionPublished
from recolabel.errors import BlobNotFound, ClassNotFound, LeaseLost, ModelVersionNotFound
from tests.backend.store.conftest import Clock
from tests.backend.store.street import Street, new_uuid


def test_a_version_tells_where_it_came_from(street: Street, clock: Clock) -> None:
    version = street.publish(street.claim_started(clock))

    assert street.store.model_versions.get(street.project_id, 1) == version
    assert (version.version, version.label_seq, version.label_count, version.parent) == (1, 2, 2, None)
    assert version.artifacts == {"model.safetensors": len(f"model of {version.job_id}")}
    assert street.store.projects.get(street.project_id).newest_version == 1


def test_versions_count_up_and_are_listed_newest_first(street: Street, clock: Clock) -> None:
    street.publish(street.claim_started(clock))
    street.store.jobs.start_training(street.project_id, NewTraining())
    street.publish(street.claim(clock.now))

    assert [version.version for version in street.store.model_versions.list(street.project_id)] == [2, 1]


def test_a_publication_that_is_sent_twice_gives_one_version(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)

    first, second = street.publish(lease), street.publish(lease)

    assert first == second
    assert len(street.store.model_versions.list(street.project_id)) == 1


def test_publishing_ends_the_job_and_tells_the_browsers(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)

    street.publish(lease)

    job = street.store.jobs.get(lease.job.job_id)
    assert (job.state, job.model_version) == (JobState.SUCCEEDED, 1)
    hints = [update.hint for update in street.store.updates.since(street.project_id, 0, 100)]
    assert VersionPublished(version=1) in hints


def test_what_cannot_be_published_changes_nothing(street: Street, clock: Clock) -> None:
    lease = street.claim_started(clock)
    publish = street.store.model_versions.publish
    good = street.publication("a model")

    cases: list[tuple[type[Exception], dict[str, Any]]] = [
        (BlobNotFound, {"artifacts": {}}),
        (BlobNotFound, {"artifacts": {"model.safetensors": "0" * 64}}),
        (ClassNotFound, {"class_uids": [street.road, new_uuid()]}),
    ]
    for error, change in cases:
        with pytest.raises(error):
            publish(lease.job.job_id, lease.fence, good.model_copy(update=change))

    assert street.store.model_versions.list(street.project_id) == []
    assert street.store.jobs.get(lease.job.job_id).state == JobState.LEASED


def test_a_job_that_draws_cannot_publish(street: Street, clock: Clock) -> None:
    street.publish(street.claim_started(clock))

    with pytest.raises(LeaseLost):
        street.publish(street.claim(clock.now))


def test_missing_versions_and_files_are_named(street: Street, clock: Clock) -> None:
    street.publish(street.claim_started(clock))

    with pytest.raises(ModelVersionNotFound):
        street.store.model_versions.get(street.project_id, 2)
    with pytest.raises(BlobNotFound, match=r"no file 'evil\.pkl'"):
        street.store.model_versions.artifact(street.project_id, 1, "evil.pkl")
