"""The part of a server that a refine job speaks with, in memory: labels change when a test says so."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from recolabel.contract.jobs import FastMap, JobKind, Progress, RefineSpec, RefineWork
from recolabel.contract.labels import SnapshotImage
from recolabel.errors import ServerRefused
from recolabel_worker.inputs import sha256_of_pixels
from recolabel_worker.job import Job
from recolabel_worker.reco.config import UNLABELLED
from recolabel_worker.settings import WorkerSettings
from tests.worker.fake_server import new_lease

SIZE = (48, 64)


def coloured(seed: int) -> npt.NDArray[np.uint8]:
    """(H, W, 3), green left, blue right."""
    rng = np.random.default_rng(seed)
    colours = np.where(np.arange(SIZE[1])[None, :, None] < SIZE[1] // 2, (60, 160, 60), (60, 90, 200))
    return np.asarray(colours + rng.integers(-30, 30, (*SIZE, 3))).astype(np.uint8)


@dataclass
class _Picture:
    pixels: npt.NDArray[np.uint8]
    clicks: dict[tuple[int, int], str] = field(default_factory=dict)
    last_seq: int = 0


class FakeBoard:
    """Stands in for the client of a job as well: it has the methods that a refine job calls."""

    def __init__(self, class_uids: Sequence[str], count: int = 3) -> None:
        self.class_uids = list(class_uids)
        self.version: int | None = None
        self.pictures = {
            f"0000000{number}-0000-0000-0000-000000000000": _Picture(coloured(number)) for number in range(count)
        }
        self.ids = list(self.pictures)
        self.in_view = self.ids[0]
        self.seq = 0
        self.gone: list[str] = []
        self.idle = False
        self.is_finished = False
        self.refusal: str | None = None
        self.maps: list[FastMap] = []
        self.stages: list[str] = []
        self._changes = 0
        self._told = threading.Condition()

    # --- what a test does -------------------------------------------------------------------------------------

    def change(self, act: Callable[[], object]) -> None:
        """Let something happen, and wake whoever waits for it."""
        with self._told:
            act()
            self._changes += 1
            self._told.notify_all()

    def click(self, image_id: str, class_uid: str, y: int, x: int) -> int:
        """A click; its log position."""

        def act() -> None:
            self.seq += 1
            picture = self.pictures[image_id]
            picture.clicks[y, x] = class_uid
            picture.last_seq = self.seq

        self.change(act)
        return self.seq

    def leave(self) -> None:
        """Nobody looks any more."""
        self.change(lambda: setattr(self, "idle", True))

    def wait_for(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until a map or a sentence makes this true."""
        with self._told:
            assert self._told.wait_for(condition, timeout=seconds), f"in vain; stages: {self.stages}"

    def drawn_at(self, label_seq: int) -> list[str]:
        """Images that have a map of this log position, in the order in which they were drawn."""
        return [fast_map.image_id for fast_map in self.maps if fast_map.label_seq == label_seq]

    def job(self, cache: Path) -> Job:
        """A refine job on this board."""
        lease = new_lease()
        lease = lease.model_copy(
            update={"job": lease.job.model_copy(update={"kind": JobKind.REFINE, "spec": RefineSpec()})}
        )
        settings = WorkerSettings(cache=cache, device="cpu", out_of_touch_seconds=0.5, wait_seconds=5)
        return Job(self, lease, settings, threading.Event(), self._report, lambda: None)  # type: ignore[arg-type]

    def _report(self, progress: Progress) -> None:
        with self._told:
            self.stages.append(progress.stage)
            self._told.notify_all()

    # --- what a client can do ---------------------------------------------------------------------------------

    def refine_work(
        self, job_id: str, fence: int, *, after: int = 0, state: str | None = None, wait_seconds: float = 0.0
    ) -> RefineWork:
        del job_id, fence
        ends_at = time.monotonic() + wait_seconds
        with self._told:
            while True:
                if self.refusal is not None:
                    raise ServerRefused("No.", status=409, problem_code=self.refusal)
                work = self._work(after, state)
                left = ends_at - time.monotonic()
                if work.state != state or left <= 0:
                    return work
                self._told.wait(left)

    def _work(self, after: int, state: str | None) -> RefineWork:
        fresh = {
            fast_map.image_id
            for fast_map in self.maps
            if (fast_map.label_seq, fast_map.model_version, fast_map.class_uids)
            == (self.seq, self.version, self.class_uids)
        }
        draw = [
            each for each in dict.fromkeys([self.in_view, *self.ids]) if each in self.pictures and each not in fresh
        ]
        new_state = f"{self._changes}.{len(draw)}"
        is_new = new_state != state
        return RefineWork(
            label_seq=self.seq,
            state=new_state,
            label_count=sum(len(picture.clicks) for picture in self.pictures.values()),
            class_uids=self.class_uids,
            model_version=self.version,
            changed=[self._image(each) for each, picture in self.pictures.items() if picture.last_seq > after],
            gone=self.gone if is_new else [],
            draw=[self._image(each) for each in draw] if is_new else [],
            idle=self.idle,
        )

    def _image(self, image_id: str) -> SnapshotImage:
        picture = self.pictures[image_id]
        return SnapshotImage(
            image_id=image_id,
            sha256=sha256_of_pixels(picture.pixels),
            name=image_id,
            width=SIZE[1],
            height=SIZE[0],
            labelled_pixels=len(picture.clicks),
        )

    def label_map(
        self,
        job_id: str,
        fence: int,
        image_id: str,
        *,
        label_seq: int | None = None,
        class_uids: Sequence[str] | None = None,
        image_sha256: str | None = None,
    ) -> bytes:
        del job_id, fence, label_seq
        assert class_uids is not None
        with self._told:
            if image_id not in self.pictures:
                raise ServerRefused("It is gone.", status=404, problem_code="image_not_found")
            if self._image(image_id).sha256 != image_sha256:
                raise ServerRefused("It has other pixels.", status=409, problem_code="image_replaced")
            plane = np.full(SIZE, UNLABELLED, np.uint8)
            for place, class_uid in self.pictures[image_id].clicks.items():
                if class_uid in class_uids:
                    plane[place] = list(class_uids).index(class_uid)
        return _png(plane)

    def image_file(self, image_id: str) -> bytes:
        return _png(self.pictures[image_id].pixels)

    def add_fast_map(self, job_id: str, fence: int, fast_map: FastMap) -> None:
        del job_id, fence
        with self._told:
            self.maps.append(fast_map)
            self._told.notify_all()

    def finish(self, job_id: str, fence: int) -> None:
        del job_id, fence
        self.change(lambda: setattr(self, "is_finished", True))


def _png(array: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()
