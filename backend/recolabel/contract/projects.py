"""Projects and their classes."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

MAX_CLASSES = 250
"""A label map is one byte a pixel and keeps 254 and 255 for void and unlabelled."""


def _shown_on_one_line(name: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        raise ValueError("the name has characters that cannot be shown on one line")
    return name


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_shown_on_one_line),
]
Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-f]{6}$")]
ClassKey = Annotated[str, StringConstraints(pattern=r"^[a-z]$")]
Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]


class Contract(BaseModel):
    """Base of everything on the wire: unknown fields are refused, values do not change after they are made."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NewLabelClass(Contract):
    """A class as a person names it; colour and key are chosen by the server when left out."""

    name: Name
    colour: Colour | None = None
    key: ClassKey | None = None


class LabelClass(Contract):
    """A category of pixels. Never deleted, only retired: old labels keep their meaning."""

    class_uid: Id
    name: str
    colour: Colour
    key: ClassKey | None = Field(description="letter that answers with this class in Answer mode")
    position: int = Field(ge=0, description="order on screen; digit 1 is position 0")
    retired: bool = False


class NewProject(Contract):
    """A name and at least one class."""

    name: Name
    classes: list[NewLabelClass] = Field(min_length=1, max_length=MAX_CLASSES)

    @model_validator(mode="after")
    def names_differ(self) -> Self:
        """Two classes of one name could not be told apart on screen or in an export."""
        seen: set[str] = set()
        for label_class in self.classes:
            folded = label_class.name.casefold()
            if folded in seen:
                raise ValueError(f"the class {label_class.name!r} stands twice in the list")
            seen.add(folded)
        return self


Strategy = Literal["random", "least-confidence", "margin", "entropy", "pixelpick", "reco"]
"""How guided questions are chosen; the names of the simulated annotator's strategies."""


class ProjectSettings(Contract):
    """What a project's people may tune."""

    auto_train: bool = Field(default=True, description="train by itself when every class has labels, and again later")
    strategy: Strategy = Field(default="reco", description="how guided questions are chosen")
    random_share: float = Field(
        default=0.1, ge=0, le=1, description="share of questions about pixels drawn evenly from all images"
    )
    held_out_share: float = Field(
        default=0.5, ge=0, le=1, description="share of the answers to random questions that no training ever sees"
    )


class SettingsPatch(Contract):
    """Fields that are left out stay as they are."""

    auto_train: bool | None = None
    strategy: Strategy | None = None
    random_share: float | None = Field(default=None, ge=0, le=1)
    held_out_share: float | None = Field(default=None, ge=0, le=1)


class Project(Contract):
    """A set of images with one class list."""

    project_id: Id
    name: str
    created_at: datetime
    classes: list[LabelClass]
    settings: ProjectSettings
    image_count: int = Field(ge=0)
    label_count: int = Field(ge=0, description="labels that hold: not undone, not fully erased")
    label_seq: int = Field(ge=0, description="position of the newest label event of the project")
    newest_version: int | None = Field(description="number of the newest model version")
    pinned_version: int | None = Field(
        description="version that a person chose to work with; null: always the newest. Maps, fast head and "
        "trainings start from it"
    )


class VersionPin(Contract):
    """The model version to work with."""

    version: int | None = Field(ge=1, lt=2**31, description="null: always the newest")


class ProjectPatch(Contract):
    """Fields that are left out stay as they are."""

    name: Name | None = None
    settings: SettingsPatch | None = None


class ClassPatch(Contract):
    """Fields that are left out stay as they are."""

    name: Name | None = None
    colour: Colour | None = None
    key: ClassKey | None = None
    retired: bool | None = None
