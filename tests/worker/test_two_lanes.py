"""Clicks and the fast head as a whole: real server, real worker, both children."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from recolabel.client import Client
from recolabel.contract.images import ImageInfo, ImageMap
from recolabel.contract.jobs import NewTraining
from recolabel.contract.projects import NewLabelClass, NewProject, ProjectPatch, SettingsPatch
from tests.hands import Hand
from tests.servers import Server, descendants, wait_for
from tests.worker.exported_model import noise


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("lanes")
    server = Server(
        "up", folder / "data", "--port", "0", "--no-browser", environment={"XDG_CACHE_HOME": str(folder / "cache")}
    )
    yield server.wait_until_ready()
    server.stop()


class Garden:
    """A project of one picture, which somebody looks at; in one tab of a browser, one after the other."""

    hand = Hand()

    def __init__(self, client: Client, folder: Path, name: str) -> None:
        self.client = client
        classes = [NewLabelClass(name="bed"), NewLabelClass(name="path")]
        project = client.create_project(NewProject(name=name, classes=classes))
        self.project_id = project.project_id
        self.class_uids = [each.class_uid for each in project.classes]
        client.patch_project(self.project_id, ProjectPatch(settings=SettingsPatch(auto_train=False)))
        file = folder / f"{name}.png"
        Image.fromarray(noise(48, 64)).save(file)
        self.image: ImageInfo = client.add_image(self.project_id, file.name, file).image

    def click(self, index: int, y: int, x: int) -> None:
        self.client.append_labels(self.project_id, [self.hand.click(self.image, self.class_uids[index], y, x)])

    def wait_for_map(self, seconds: float = 60) -> ImageMap:
        """A map by the fast head of all labels; looks at the image all the while."""
        position = self.client.project(self.project_id).label_seq

        def is_there() -> bool:
            self.client.open_in_browser(self.project_id, self.image.image_id, self.hand.client_id)
            return any(
                each.drawn_by == "fast head" and each.label_seq == position
                for each in self.client.maps(self.image.image_id)
            )

        wait_for(is_there, seconds=seconds, what="a map by the fast head")
        return self.client.maps(self.image.image_id)[0]


def child_of(server: Server, lane: str) -> int:
    found = descendants(server.process.pid).items()
    return next(pid for pid, command in found if f"recolabel_worker.child {lane}" in command)


def test_a_killed_child_costs_one_refit_and_no_click(server: Server, tmp_path: Path) -> None:
    # Given a picture with a map by the fast head
    garden = Garden(server.client(), tmp_path, "killed")
    garden.click(0, 5, 5)
    garden.click(1, 40, 60)
    garden.wait_for_map()

    # When the child dies, its cache is deleted, and the next click comes
    victim = child_of(server, "refining")
    os.kill(victim, signal.SIGKILL)
    shutil.rmtree(server.data.parent / "cache" / "recolabel" / "features")
    garden.click(1, 30, 50)

    # I expect another child to draw all three
    newest = garden.wait_for_map()
    assert newest.label_count == 3
    assert child_of(server, "refining") != victim


def test_clicks_are_answered_while_a_model_is_trained(server: Server, tmp_path: Path) -> None:
    garden = Garden(server.client(), tmp_path, "busy")
    garden.click(0, 5, 5)
    garden.click(1, 40, 60)
    garden.wait_for_map()

    job, _ = garden.client.start_training(garden.project_id, NewTraining(steps=100_000))
    wait_for(lambda: garden.client.job(job.job_id).progress.stage == "training", seconds=60, what="the training")
    garden.click(1, 30, 50)

    assert garden.wait_for_map().label_count == 3
    assert garden.client.job(job.job_id).finished_at is None
    garden.client.cancel(job.job_id)


def test_a_new_versions_features_carry_the_next_clicks(server: Server, tmp_path: Path) -> None:
    # Given a picture with a map by the fast head
    garden = Garden(server.client(), tmp_path, "grown")
    garden.click(0, 5, 5)
    garden.click(1, 40, 60)
    assert garden.wait_for_map().model_version is None

    # When a version is published, and clicks go on
    job, _ = garden.client.start_training(garden.project_id, NewTraining(steps=2))
    wait_for(lambda: garden.client.job(job.job_id).finished_at, seconds=90, what="the training")

    def carries() -> bool:
        garden.click(1, 30, 50)
        return garden.wait_for_map().model_version == 1

    # I expect that soon they are answered on its features
    wait_for(carries, seconds=60, what="a map on the features of version 1")


def test_the_training_makes_way_for_the_fast_head(server: Server) -> None:
    niceness = {lane: os.getpriority(os.PRIO_PROCESS, child_of(server, lane)) for lane in ("training", "refining")}

    assert niceness["training"] >= niceness["refining"] + 5
