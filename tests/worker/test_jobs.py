"""Training and prediction as a whole: real server, real broker, real worker, real child, tiny pictures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolabel.client import Client
from recolabel.contract.jobs import JobKind, JobState
from recolabel.contract.model_versions import ARTIFACT_NAMES
from recolabel.contract.projects import NewLabelClass
from recolabel.contract.updates import JobChanged
from recolabel.errors import ServerUnreachable
from tests.hands import Hand
from tests.servers import ROOT, Server, wait_for
from tests.worker.meadow import LONG, Meadow, child_of

SCRIPT = ROOT / "docs" / "load_model.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jobs")
    environment = {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "RECOLABEL_CHECKPOINT_SECONDS": "0.2",
        "RECOLABEL_MAP_SECONDS": "0.2",
        "RECOLABEL_POLL_SECONDS": "600",  # so that a job that starts was rung for
    }
    server = Server("up", folder / "data", "--port", "0", "--no-browser", environment=environment)
    yield server.wait_until_ready()
    server.stop()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as client:
        yield client


def test_a_training_publishes_a_version_that_draws_every_image(client: Client, tmp_path: Path) -> None:
    # Given clicks on four of six pictures, and a person who looks at one without clicks
    meadow = Meadow(client, tmp_path, "whole")
    looked_at = meadow.images[5]
    meadow.look_at(looked_at)

    # When a training runs to its end and the maps that follow are drawn
    training = meadow.wait_for_end(meadow.train(steps=4))
    assert training.state is JobState.SUCCEEDED, training.error
    drawing = client.jobs(meadow.project_id)[0]
    assert drawing.kind is JobKind.PREDICT
    drawing = meadow.wait_for_end(drawing)

    # I expect good maps of version 1 for all pictures, and questions from them
    assert drawing.state is JobState.SUCCEEDED, drawing.error
    for image in meadow.images:
        assert meadow.map(image).model_version == 1
        assert (meadow.prediction(image) == meadow.masks[image.name]).mean() > 0.8
    assert client.questions(meadow.project_id, limit=5).questions
    [version] = client.model_versions(meadow.project_id)
    assert version.metrics.steps == 4
    assert set(version.artifacts) == set(ARTIFACT_NAMES)
    assert version.config["label_seq"] == version.label_seq == training.label_seq

    # ... and the exported files alone to give the map that the app shows
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ARTIFACT_NAMES:
        client.artifact(meadow.project_id, 1, name, folder / name)
    picture, mask_file = tmp_path / looked_at.name, tmp_path / "mask.png"
    subprocess.run([sys.executable, SCRIPT, folder, picture, mask_file], check=True, timeout=120)
    with Image.open(mask_file) as mask:
        assert np.array_equal(np.array(mask), meadow.prediction(looked_at))


def test_the_open_image_is_drawn_while_the_training_still_runs_and_a_stop_keeps_the_best_so_far(
    client: Client, tmp_path: Path
) -> None:
    meadow = Meadow(client, tmp_path, "early")
    meadow.look_at(meadow.images[5])

    job = meadow.train(steps=LONG)
    wait_for(lambda: client.maps(meadow.images[5].image_id), seconds=60, what="an early map")
    assert meadow.map(meadow.images[5]).model_version is None
    meadow.wait_until(job, done=2)
    client.cancel(job.job_id)
    ended = meadow.wait_for_end(job)

    assert ended.state is JobState.SUCCEEDED
    [version] = client.model_versions(meadow.project_id)
    assert 2 <= version.metrics.steps < LONG


def test_a_killed_child_costs_an_attempt_and_no_checkpoint(server: Server, client: Client, tmp_path: Path) -> None:
    # Given a training in its first attempt
    meadow = Meadow(client, tmp_path, "killed")
    resumed_at: list[int] = []
    watching = threading.Thread(target=watch_second_attempt, args=(server, meadow.project_id, resumed_at), daemon=True)
    watching.start()
    job = meadow.train(steps=LONG)
    meadow.wait_until(job, done=20)

    os.kill(child_of(server), signal.SIGKILL)

    # I expect the second attempt to go on behind the first step, and to end like any other
    wait_for(lambda: resumed_at, seconds=60, what="the second attempt to train")
    assert resumed_at[0] > 0
    client.cancel(job.job_id)
    ended = meadow.wait_for_end(job)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 2)


def watch_second_attempt(server: Server, project_id: str, resumed_at: list[int]) -> None:
    """Note the step at which attempt 2 begins to train; until it prepares, progress is that of attempt 1."""
    has_prepared = False
    try:
        with server.client() as client:
            for update in client.updates(project_id, after=0):
                if not isinstance(update.hint, JobChanged) or update.hint.job.attempt < 2:
                    continue
                progress = update.hint.job.progress
                has_prepared = has_prepared or progress.stage.startswith("fetching")
                if has_prepared and progress.stage == "training":
                    resumed_at.append(progress.done)
                    return
    except ServerUnreachable:
        return


def test_the_next_version_starts_from_the_last_one_and_knows_a_new_class(client: Client, tmp_path: Path) -> None:
    # Given a version of two classes, and clicks of a third one since
    meadow = Meadow(client, tmp_path, "grown")
    meadow.wait_for_end(meadow.train(steps=2))
    sand = client.add_class(meadow.project_id, NewLabelClass(name="sand")).class_uid
    hand = Hand()
    client.append_labels(meadow.project_id, [hand.click(meadow.images[4], sand, y, 3) for y in (3, 20, 40)])

    job = meadow.wait_for_end(meadow.train(steps=2))

    assert job.state is JobState.SUCCEEDED, job.error
    newest = client.model_versions(meadow.project_id)[0]
    assert (newest.version, newest.parent) == (2, 1)
    assert newest.class_uids == [*meadow.class_uids, sand]
