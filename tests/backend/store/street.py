"""A small project and the hands of its annotators."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from recolabel.contract import CONTRACT_VERSION
from recolabel.contract.images import ImageInfo
from recolabel.contract.jobs import Claim, Job, Lease, MapUpload, NewTraining
from recolabel.contract.labels import Ack, ClickEvent, EraseEvent, FixedPoint, LabelEvent, Pixel, StrokeEvent, UndoEvent
from recolabel.contract.model_versions import Metrics, ModelVersion, Publication
from recolabel.contract.projects import NewLabelClass, NewProject
from recolabel.contract.questions import Candidate
from recolabel.store import BlobRef, NewImage, Store

WIDTH, HEIGHT = 40, 30


def new_uuid() -> str:
    return str(uuid.uuid4())


class Street:
    """A project with the classes road and car and two images of 40 x 30 pixels."""

    def __init__(self, store: Store, name: str = "Street") -> None:
        self.store = store
        project = store.projects.create(
            NewProject(name=name, classes=[NewLabelClass(name="road"), NewLabelClass(name="car")])
        )
        self.project_id = project.project_id
        self.road, self.car = (label_class.class_uid for label_class in project.classes)
        self.client_id = new_uuid()
        self.first = self.add_image("first.png")
        self.second = self.add_image("second.png")

    def pixels(self, content: str) -> NewImage:
        """An image file; the content stands for the pixels."""
        ref = BlobRef(self.store.blobs.put_bytes(content.encode()), "image/png")
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        return NewImage(width=WIDTH, height=HEIGHT, sha256=sha256, original=ref, canonical=ref, thumbnail=ref)

    def add_image(self, name: str) -> ImageInfo:
        return self.store.images.add(self.project_id, name, self.pixels(f"pixels of {name}")).image

    def signed(self, image: ImageInfo, **changes: Any) -> dict[str, Any]:
        """What every event carries."""
        return {
            "event_id": new_uuid(),
            "image_id": image.image_id,
            "image_sha256": image.sha256,
            "client_id": self.client_id,
            "client_seq": 0,
            "client_time": datetime(2026, 1, 1, tzinfo=UTC),
        } | changes

    def click(self, class_uid: str, x: int, y: int, image: ImageInfo | None = None, **changes: Any) -> ClickEvent:
        signed = self.signed(image or self.first, **changes)
        return ClickEvent(class_uid=class_uid, pixel=Pixel(x=x, y=y), **signed)

    def stroke(self, class_uid: str, *points: tuple[int, int], radius: int = 0) -> StrokeEvent:
        line = [FixedPoint(x=x, y=y) for x, y in points]
        return StrokeEvent(class_uid=class_uid, points=line, radius=radius, **self.signed(self.first))

    def erase(self, targets: Sequence[str], *points: tuple[int, int], image: ImageInfo | None = None) -> EraseEvent:
        line = [FixedPoint(x=x, y=y) for x, y in points]
        return EraseEvent(targets=list(targets), points=line, radius=0, **self.signed(image or self.first))

    def undo(self, *targets: str, image: ImageInfo | None = None) -> UndoEvent:
        return UndoEvent(targets=list(targets), **self.signed(image or self.first))

    def append(self, *events: LabelEvent, annotator: str = "ann") -> list[Ack]:
        return self.store.labels.append(self.project_id, events, annotator).acks

    def label_count(self) -> int:
        return self.store.projects.get(self.project_id).label_count

    # --- jobs -------------------------------------------------------------------------------------------------

    def start(self) -> Job:
        """A queued training on a label of each class."""
        self.append(self.click(self.road, 0, 0), self.click(self.car, 9, 9))
        return self.store.jobs.start_training(self.project_id, NewTraining())[0]

    def claim(self, now: datetime, job_id: str | None = None) -> Lease:
        lease = self.store.jobs.claim(Claim(worker_id="worker", contract_version=CONTRACT_VERSION, job_id=job_id), now)
        assert lease is not None
        return lease

    def claim_started(self, clock: Callable[[], datetime]) -> Lease:
        """Start a training and claim it."""
        return self.claim(clock(), self.start().job_id)

    def publication(self, content: str) -> Publication:
        """What a training hands in; the content stands for the network."""
        return Publication(
            class_uids=[self.road, self.car],
            parent=None,
            config={"backbone": "lite0"},
            metrics=Metrics(steps=1, seconds=1, held_out_pixels=0, accuracy=None, chosen="deep"),
            code_version="0",
            artifacts={"model.safetensors": self.store.blobs.put_bytes(content.encode())},
        )

    def publish(self, lease: Lease) -> ModelVersion:
        publication = self.publication(f"model of {lease.job.job_id}")
        return self.store.model_versions.publish(lease.job.job_id, lease.fence, publication)

    def map_of(self, image: ImageInfo, *candidates: Candidate, confidence: int = 255) -> MapUpload:
        """A map whose planes are stored already; `confidence` is the byte of every pixel."""
        return MapUpload(
            image_id=image.image_id,
            image_sha256=image.sha256,
            step=1,
            class_uids=[self.road, self.car],
            prediction=self.store.blobs.put_bytes(bytes(WIDTH * HEIGHT)),
            confidence=self.store.blobs.put_bytes(bytes([confidence]) * (WIDTH * HEIGHT)),
            candidates=list(candidates),
        )
