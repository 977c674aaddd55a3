"""A version's training can be run again and gives the same bits, and images can be seen as any version sees them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from recolabel.contract.jobs import Job, JobKind, JobState
from tests.servers import Server, wait_for
from tests.worker.meadow import LONG, SIZE, Meadow, child_of


@pytest.fixture(scope="module")
def meadow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meadow]:
    """Two versions; the training of the second lost its process, went on from a checkpoint, and was stopped.

    What tests do is done by another worker, of one thread.
    """
    folder = tmp_path_factory.mktemp("reproduction")
    environment = {"XDG_CACHE_HOME": str(folder / "cache"), "RECOLABEL_CHECKPOINT_SECONDS": "0.2"}
    meadow = make_two_versions(folder, environment | {"RECOLABEL_THREADS": "2"})
    server = start(folder, environment | {"RECOLABEL_THREADS": "1"})
    with server.client() as client:
        meadow.client = client
        yield meadow
    server.stop()


def start(folder: Path, environment: dict[str, str]) -> Server:
    return Server("up", folder / "data", "--port", "0", "--no-browser", environment=environment).wait_until_ready()


def make_two_versions(folder: Path, environment: dict[str, str]) -> Meadow:
    server = start(folder, environment)
    with server.client() as client:
        meadow = Meadow(client, folder, "again")
        meadow.wait_for_end(meadow.train(steps=3))
        job = meadow.train(steps=LONG)
        meadow.wait_until(job, done=4)
        os.kill(child_of(server), signal.SIGKILL)
        wait_for(lambda: client.job(job.job_id).attempt == 2, seconds=60, what="the second attempt")
        meadow.wait_until(job, done=6)
        client.cancel(job.job_id)
        meadow.wait_for_end(job)
        meadow.wait_for_end(client.jobs(meadow.project_id)[0])
    server.stop()
    return meadow


def repeat(meadow: Meadow, version: int) -> Job:
    job = meadow.wait_for_end(meadow.client.reproduce(meadow.project_id, version).job)
    assert job.state is JobState.SUCCEEDED, job.error
    return job


def test_an_image_can_be_seen_as_an_older_version_sees_it_while_its_newest_map_stays(meadow: Meadow) -> None:
    client, image = meadow.client, meadow.images[5]
    newest = meadow.map(image)
    assert newest.model_version == 2

    # When I ask for both versions
    asked = client.ask_for_version_map(image.image_id, 1)
    assert asked.job is not None
    assert asked.job.kind is JobKind.PREDICT
    meadow.wait_for_end(asked.job)
    at_hand = client.ask_for_version_map(image.image_id, 2)

    # I expect the newest at once, and the older one after a moment; the page's own map stays what it was
    assert at_hand.job is None
    assert [one.model_version for one in client.version_maps(image.image_id)] == [2, 1]
    older = np.frombuffer(client.version_map_prediction(image.image_id, 1), np.uint8).reshape(SIZE)
    assert (older == meadow.masks[image.name]).mean() > 0.8
    assert meadow.map(image) == newest


def test_a_training_gives_the_same_bits_again_whatever_happened_to_it(meadow: Meadow) -> None:
    # Given labels and an image that came after both trainings
    client = meadow.client
    second, first = client.model_versions(meadow.project_id)
    assert (second.parent, first.parent) == (1, None)
    assert 6 <= second.metrics.steps < LONG
    meadow.label_more(meadow.images[4])
    meadow.add_image("later.png", border=30)

    # I expect the same bits of both, and no version more
    start = client.reproduce(meadow.project_id, 2)
    ended = meadow.wait_for_end(start.job)
    assert (ended.state, ended.reproduced, ended.model_version) == (JobState.SUCCEEDED, True, None), ended.error
    assert not [remark for remark in start.remarks if "image" in remark]
    assert repeat(meadow, 1).reproduced is True
    assert len(client.model_versions(meadow.project_id)) == 2

    # When an image that took part is gone, I expect that to be said before, and other bits
    client.remove_image(meadow.images.pop(0).image_id)
    start = client.reproduce(meadow.project_id, 1)
    assert any("removed since, so the bits will differ" in remark for remark in start.remarks)
    assert meadow.wait_for_end(start.job).reproduced is False


def test_a_pinned_version_draws_everything_again_and_the_next_training_starts_from_it(meadow: Meadow) -> None:
    client = meadow.client
    client.pin_version(meadow.project_id, 1)
    meadow.wait_for_end(client.jobs(meadow.project_id)[0])
    assert {meadow.map(image).model_version for image in meadow.images} == {1}

    # When a training publishes the next version, I expect it to start from the pinned one and to take no map over
    ended = meadow.wait_for_end(meadow.train(steps=1))
    assert client.model_version(meadow.project_id, 3).parent == 1
    assert client.jobs(meadow.project_id)[0].job_id == ended.job_id
    assert {meadow.map(image).model_version for image in meadow.images} == {1}
