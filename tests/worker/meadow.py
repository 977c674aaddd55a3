"""A small project on a real server: green left, blue right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from recolabel.client import Client
from recolabel.contract.images import ImageInfo, ImageMap
from recolabel.contract.jobs import Job, NewTraining
from recolabel.contract.projects import NewLabelClass, NewProject, Project, ProjectPatch, SettingsPatch
from tests.hands import Hand, label_from_masks
from tests.servers import Server, descendants, wait_for

SIZE = (48, 64)
LONG = 100_000
"""Steps of a training that does not end by itself within a test."""


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
        self.folder = folder
        self._rng = rng = np.random.default_rng(0)
        for index in range(6):
            self.add_image(f"{name}-{index}.png", border=int(rng.integers(16, 48)))
        self.class_uids = [label_class.class_uid for label_class in self.project.classes]
        label_from_masks(client, self.images[:4], self.masks, self.class_uids, clicks_per_image=6)

    def add_image(self, name: str, border: int) -> None:
        mask = (np.arange(SIZE[1]) >= border).astype(np.uint8)[None].repeat(SIZE[0], 0)
        colours = np.array([(60, 160, 60), (60, 90, 200)])[mask] + self._rng.integers(-30, 30, (*SIZE, 3))
        file = self.folder / name
        Image.fromarray(colours.astype(np.uint8)).save(file)
        self.images.append(self.client.add_image(self.project_id, name, file).image)
        self.masks[name] = mask

    def label_more(self, image: ImageInfo) -> None:
        label_from_masks(self.client, [image], self.masks, self.class_uids, clicks_per_image=6)

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
    return next(
        pid for pid, command in descendants(server.process.pid).items() if "recolabel_worker.child training" in command
    )
