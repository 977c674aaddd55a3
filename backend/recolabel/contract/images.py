"""Images, the verdict on each uploaded file, and the maps that a model draws for an image."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from recolabel.contract.projects import Contract, Id

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Verdict(StrEnum):
    """What became of an uploaded file."""

    STORED = "stored"  # a new image of the project
    DUPLICATE = "duplicate"  # the same pixels are in the project already; nothing changed


class ImageInfo(Contract):
    """One image of a project."""

    image_id: Id
    project_id: Id
    name: str = Field(description="the file's name as given; never used as a path")
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    sha256: Sha256 = Field(description="of the canonical pixels: label events name it, so a replaced image is noticed")
    position: int = Field(ge=0, description="order of import")
    added_at: datetime
    label_count: int = Field(ge=0)
    last_seq: int = Field(ge=0, description="position of the newest label event on this image; 0 = never labelled")
    uncertainty: float | None = Field(
        description="mean of 1 - confidence over the newest map, 0..1; null before a prediction"
    )


class ImagePage(Contract):
    """A window of a project's images in order of import."""

    images: list[ImageInfo]
    total: int
    next_after: int | None = Field(description="pass as `after` for the next page; null at the end")


class UploadResult(Contract):
    """The verdict on one uploaded file. Refused files are answered as problem+json instead."""

    verdict: Verdict
    image: ImageInfo


DrawnBy = Literal["fast head", "training", "version"]
"""The fast head, an early look at a training that still runs, or a published model version."""


class ImageMap(Contract):
    """A prediction for one image: two raw planes of height * width bytes, row by row.

    `prediction` holds indices into `class_uids`; `confidence` holds round(255 * largest class probability).
    """

    map_id: Id
    image_id: Id
    job_id: Id
    drawn_by: DrawnBy
    model_version: int | None = Field(
        description="the version that drew it, or on whose features the fast head was fitted; null: none"
    )
    label_count: int = Field(ge=0, description="labels of the project that held at `label_seq`")
    timings_ms: dict[str, float] = Field(
        default_factory=dict, description="where the time of a fast head's map went: bell, fit, predict ..."
    )
    step: int = Field(ge=0, description="training step of the network that drew it")
    label_seq: int = Field(ge=0, description="the log position the network was trained at")
    width: int
    height: int
    class_uids: list[Id]
    created_at: datetime
    stale: bool = Field(description="labels of the project moved on since")
