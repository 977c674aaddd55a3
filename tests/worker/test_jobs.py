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
import numpy.typing as npt
import pytest
from PIL import Image

from recolabel.client import Client
from recolabel.contract.images import ImageInfo, ImageMap
from recolabel.contract.jobs import Job, JobKind, JobState, NewTraining
from recolabel.contract.model_versions import ARTIFACT_NAMES
from recolabel.contract.projects import NewLabelClass, NewProject, Project, ProjectPatch, SettingsPatch
from recolabel.contract.updates import JobChanged
from recolabel.errors import ServerUnreachable
from tests.hands import Hand, label_from_masks
from tests.servers import ROOT, Server, descendants, wait_for

SCRIPT = ROOT / "docs" / "load_model.py"
SIZE = (48, 64)
LONG = 100_000
"""Steps of a training that does not end by itself within a test."""


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


class Meadow:
    """A project of six pictures: green left, blue right, and six clicks on each of the first four."""

    def __init__(self, client: Client, folder: Path, name: str) -> None:
        self.client = client
        classes = [NewLabelClass(name="grass"), NewLabelClass(name="water")]
        self.project: Project = client.create_project(NewProject(name=name, classes=classes))
        self.project_id = self.project.project_id
        client.patch_project(self.project_id, ProjectPatch(settings=SettingsPatch(auto_train=False)))
        self.images: list[ImageInfo] = []
        self.masks: dict[str, npt.NDArray[np.uint8]] = {}
        rng = np.random.default_rng(0)
        for index in range(6):
            border = int(rng.integers(16, 48))
            mask = (np.arange(SIZE[1]) >= border).astype(np.uint8)[None].repeat(SIZE[0], 0)
            colours = np.array([(60, 160, 60), (60, 90, 200)])[mask] + rng.integers(-30, 30, (*SIZE, 3))
            file = folder / f"{name}-{index}.png"
            Image.fromarray(colours.astype(np.uint8)).save(file)
            self.images.append(client.add_image(self.project_id, file.name, file).image)
            self.masks[file.name] = mask
        self.class_uids = [label_class.class_uid for label_class in self.project.classes]
        label_from_masks(client, self.images[:4], self.masks, self.class_uids, clicks_per_image=6)

    def look_at(self, image: ImageInfo) -> None:
        self.client.open_in_browser(self.project_id, image.image_id, Hand().client_id)

    def train(self, steps: int) -> Job:
        return self.client.start_training(self.project_id, NewTraining(steps=steps))[0]

    def wait_for_end(self, job: Job) -> Job:
        wait_for(lambda: self.client.job(job.job_id).finished_at, seconds=120, what="the job to end")
        return self.client.job(job.job_id)

    def wait_until(self, job: Job, *, done: int) -> None:
        def is_there() -> bool:
            now = self.client.job(job.job_id)
            assert now.finished_at is None, now.error
            return now.progress.stage == "training" and now.progress.done >= done

        wait_for(is_there, seconds=120, what=f"step {done}")

    def prediction(self, image: ImageInfo) -> npt.NDArray[np.uint8]:
        map_id = self.map(image).map_id
        plane = self.client.map_prediction(image.image_id, map_id)
        return np.frombuffer(plane, np.uint8).reshape(SIZE)

    def map(self, image: ImageInfo) -> ImageMap:
        return self.client.maps(image.image_id)[0]


def child_of(server: Server) -> int:
    return next(pid for pid, command in descendants(server.process.pid).items() if "recolabel_worker.child" in command)


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
