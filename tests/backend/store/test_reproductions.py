"""A repeated training gets what the version was trained on, publishes nothing, and says whether the bits agree."""

from __future__ import annotations

import hashlib

import pytest

from recolabel.contract.jobs import JobState, NewTraining, ReproductionReport, TrainedImage, TrainSpec
from recolabel.contract.model_versions import ModelVersion
from recolabel.errors import BadArgument, LeaseLost, ModelVersionNotFound, TrainingActive
from tests.backend.store.conftest import Clock
from tests.backend.store.street import Street


@pytest.fixture
def version(street: Street, clock: Clock) -> ModelVersion:
    """A version of code "0" that looked at both images, and labels that came later."""
    lease = street.claim_started(clock)
    images = [TrainedImage(image_id=each.image_id, sha256=each.sha256) for each in (street.second, street.first)]
    publication = street.publication("bits").model_copy(update={"images": images})
    made = street.store.model_versions.publish(lease.job.job_id, lease.fence, publication)
    drawing = street.claim(clock.now)
    street.store.jobs.finish(drawing.job.job_id, drawing.fence)
    street.append(street.click(street.road, 5, 5))
    return made


def report_of(content: str) -> ReproductionReport:
    return ReproductionReport(sha256=hashlib.sha256(content.encode()).hexdigest())


@pytest.mark.parametrize(("content", "is_same"), [("bits", True), ("other bits", False)])
def test_the_verdict_is_that_of_the_sums(
    street: Street, clock: Clock, version: ModelVersion, content: str, is_same: bool
) -> None:
    start = street.store.reproductions.start(street.project_id, 1, "0")
    lease = street.claim(clock.now)
    inputs = street.store.jobs.inputs(lease.job.job_id, lease.fence)
    assert isinstance(start.job.spec, TrainSpec)
    assert (start.job.label_seq, start.job.spec.seed, start.remarks) == (version.label_seq, version.spec.seed, [])
    assert inputs.reproduction is not None
    assert [image.image_id for image in inputs.reproduction.images] == [street.second.image_id, street.first.image_id]

    ended = [street.store.reproductions.finish(lease.job.job_id, lease.fence, report_of(content)) for _ in range(2)]

    assert ended[0] == ended[1]
    assert (ended[0].state, ended[0].reproduced, ended[0].model_version) == (JobState.SUCCEEDED, is_same, None)
    assert len(street.store.model_versions.list(street.project_id)) == 1


def test_what_speaks_against_the_same_bits_is_said_before(street: Street, version: ModelVersion) -> None:
    assert version.code_version == "0"
    street.store.images.remove(street.first.image_id)
    street.store.images.replace(street.second.image_id, street.pixels("other"))

    remarks = " ".join(street.store.reproductions.start(street.project_id, 1, "1.dirty").remarks)

    for what in ("ReCoLabel 0, this is 1.dirty", "was removed since", "was replaced since"):
        assert what in remarks


def test_a_repetition_neither_publishes_nor_keeps_the_next_training_from_its_labels(
    street: Street, clock: Clock, version: ModelVersion
) -> None:
    assert version.version == 1
    assert street.store.jobs.projects_that_may_train()[0].new_labels == 1
    street.store.reproductions.start(street.project_id, 1, "0")
    assert street.store.jobs.projects_that_may_train() == []  # one training at a time

    lease = street.claim(clock.now)
    with pytest.raises(LeaseLost):
        street.publish(lease)
    street.store.reproductions.finish(lease.job.job_id, lease.fence, report_of("bits"))

    assert street.store.jobs.projects_that_may_train()[0].new_labels == 1


def test_what_cannot_be_repeated_is_refused(street: Street, clock: Clock, version: ModelVersion) -> None:
    assert version.version == 1
    with pytest.raises(ModelVersionNotFound):
        street.store.reproductions.start(street.project_id, 2, "0")
    street.store.jobs.start_training(street.project_id, NewTraining())
    with pytest.raises(TrainingActive):
        street.store.reproductions.start(street.project_id, 1, "0")

    lease = street.claim(clock.now)
    with pytest.raises(BadArgument):
        street.store.reproductions.finish(lease.job.job_id, lease.fence, report_of("bits"))
