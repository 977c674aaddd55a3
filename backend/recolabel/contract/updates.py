"""Updates: small hints to browsers that something changed. The browser then asks for the thing itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recolabel.contract.images import ImageMap
from recolabel.contract.jobs import Job
from recolabel.contract.projects import Contract, Id


class LabelsChanged(Contract):
    """New label events on an image."""

    kind: Literal["labels"] = "labels"
    image_id: Id
    last_seq: int
    client_id: Id = Field(description="who sent them: a tab ignores the echo of its own events")


class ImagesChanged(Contract):
    """Images came."""

    kind: Literal["images"] = "images"
    image_count: int


class JobChanged(Contract):
    """A job moved on."""

    kind: Literal["job"] = "job"
    job: Job


class MapReady(Contract):
    """A new map of an image can be fetched."""

    kind: Literal["map"] = "map"
    image_id: Id
    map: ImageMap


class VersionPublished(Contract):
    """A training has published a model version."""

    kind: Literal["version"] = "version"
    version: int


class ProjectChanged(Contract):
    """Name, classes or settings changed."""

    kind: Literal["project"] = "project"


Hint = LabelsChanged | ImagesChanged | JobChanged | MapReady | VersionPublished | ProjectChanged


class Update(Contract):
    """One entry of the server-sent feed; its id is the `id:` field, for `Last-Event-ID`."""

    update_id: int = Field(ge=1)
    project_id: Id
    hint: Hint = Field(discriminator="kind")
