"""Model versions: trained networks, each tied to the labels, settings and code it came from."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from recolabel.contract.images import ImageMap, Sha256
from recolabel.contract.jobs import Job, TrainedImage, TrainSpec
from recolabel.contract.projects import Contract, Id

MODEL_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
NETWORK_FILE = "network.py"
"""The architecture as one self-contained file of plain torch, so that a model outlives this program."""
ARTIFACT_NAMES = (MODEL_FILE, CONFIG_FILE, CARD_FILE, NETWORK_FILE)


class Metrics(Contract):
    """What a training measured. A number that was not measured is null, never guessed."""

    steps: int
    seconds: float
    held_out_pixels: int = Field(
        description="labelled pixels kept from this training to choose between candidates; 0 = too few"
    )
    accuracy: float | None = Field(description="on those pixels, every class counting the same, 0..1")
    chosen: Literal["fast head", "deep"] = Field(description="which candidate was published")


class Publication(Contract):
    """A finished training hands in its network. Artifacts are uploaded as blobs first."""

    class_uids: list[Id]
    parent: int | None = Field(ge=1, lt=2**31)
    config: dict[str, JsonValue]
    metrics: Metrics
    code_version: str
    artifacts: dict[str, Sha256] = Field(description="file name -> blob; the names of ARTIFACT_NAMES")
    images: list[TrainedImage] = Field(
        default_factory=list,
        max_length=100_000,
        description="images that took part, in the order in which the training held them",
    )


class ModelVersion(Contract):
    """A trained network of a project. Versions count up from 1 and are never replaced."""

    model_version_id: Id
    project_id: Id
    version: int = Field(ge=1)
    job_id: Id
    label_seq: int
    label_count: int = Field(description="labels that held at that position")
    parent: int | None = Field(description="version that the training started from")
    spec: TrainSpec
    class_uids: list[Id]
    config: dict[str, JsonValue]
    metrics: Metrics
    code_version: str
    created_at: datetime
    artifacts: dict[str, int] = Field(description="file name -> size in bytes")


class VersionMapReply(Contract):
    """The answer to the wish to see an image as a version sees it: its map, or the job that draws it."""

    map: ImageMap | None
    job: Job | None


class ReproductionStart(Contract):
    """The job that repeats a training, and what speaks against the same bits from the start."""

    job: Job
    remarks: list[str] = Field(description="sentences for people; empty: the bits should be the same on this machine")
