"""How good the model is, in numbers that are honest: each with its interval, or with a sentence why there is none."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from recolabel.contract.projects import Contract, Id


class Figure(Contract):
    """A measured number, or why there is none."""

    value: float | None
    low: float | None = Field(description="the true value lies between low and high with 95 % confidence")
    high: float | None
    clicks: int = Field(ge=0, description="answers that it was measured on")
    missing: str | None = Field(default=None, description="a sentence for people, where there is no number")


class ClassFigures(Contract):
    """How well one class is found."""

    class_uid: Id
    iou: Figure = Field(description="intersection over union, from pixels drawn evenly from all images")
    true_iou: float | None = Field(description="against the masks that were imported as ground truth; null: no masks")


class Confusion(Contract):
    """What people said against what the version said, in pixels drawn evenly from all images."""

    class_uids: list[Id]
    counts: list[list[int]] = Field(description="row: what people said, column: what the version said")


class CalibrationBin(Contract):
    """Pixels about which the version was equally sure."""

    low: float
    high: float
    sure: float = Field(description="mean confidence")
    right: Figure = Field(description="share of them that people agreed with")


class Calibration(Contract):
    """Whether the version is as often right as it says."""

    bins: list[CalibrationBin]
    error: Figure = Field(description="mean distance of confidence and being right, over the bins (ECE)")
    error_by_chance: float | None = Field(
        description="a perfectly calibrated version would stay below this in 95 of 100 projects of this size"
    )
    overconfidence: Figure = Field(description="mean confidence minus share that is right: above 0 it boasts")


class AccuracyByQuestion(Contract):
    """Share of clicks that agree with a map whose author had not learnt from them: test, then train."""

    guided: Figure = Field(description="pixels that the app chose because they are hard: lower than the truth")
    random: Figure = Field(description="pixels drawn evenly from all images: the truth")
    free: Figure = Field(description="pixels that people chose themselves")


class TruthFigures(Contract):
    """Against masks that were imported as ground truth."""

    images: int
    mean_iou: Figure = Field(description="over the classes that occur in the masks; interval over images")
    same_classes: float | None = Field(
        description="over the classes of the version's `mean_over`, to hold against its `mean_iou`; null: none of them "
        "occurs in the masks"
    )
    accuracy: float


class VersionEvaluation(Contract):
    """One model version."""

    version: int
    label_seq: int
    label_count: int = Field(description="labels that held when its training began")
    active_minutes: float = Field(description="minutes of work that went into those")
    created_at: datetime
    accuracy: Figure = Field(description="share of all pixels that are right, from pixels drawn evenly")
    mean_iou: Figure = Field(description="over the classes of `mean_over`")
    mean_over: list[Id] = Field(
        description="classes with enough clicks for a number, the same for all versions that have a mean"
    )
    classes: list[ClassFigures]
    confusion: Confusion
    calibration: Calibration
    after: AccuracyByQuestion = Field(description="this version on clicks that came after its training")
    on_screen: AccuracyByQuestion = Field(
        description="what people saw when they clicked: this version's maps, or the fast head's on its features"
    )
    truth: TruthFigures | None


class ScreenPoint(Contract):
    """How often the map on screen was right in a stretch of the project."""

    label_count: int = Field(description="clicks and strokes up to the end of the stretch")
    active_minutes: float
    right: Figure


class Guidance(Contract):
    """What guided questions are worth: how often an answer put the model right."""

    guided: Figure = Field(description="share of guided answers that contradicted the map")
    random: Figure
    ratio: Figure = Field(description="guided by random: above 1, guided questions teach more per answer")
    said: str


class Work(Contract):
    """The pace of the people."""

    answers: int = Field(description="clicks, taken-back ones as well")
    active_minutes: float = Field(description="all gaps of at most a minute between two events of one tab")
    seconds_per_answer: float | None = Field(description="median")
    answers_per_minute: float | None
    missing: str | None


class LabelCount(Contract):
    """Labels of a class that hold."""

    class_uid: Id
    labels: int
    held_out: int = Field(description="of these, clicks that no training ever sees")


class NextClass(Contract):
    """The class that needs labels most."""

    class_uid: Id | None
    why: str


class StopSignal(Contract):
    """Whether more labels still help."""

    stop: bool
    why: str


class Evaluation(Contract):
    """Everything that is known about how good a project's model is."""

    project_id: Id
    label_seq: int
    label_count: int
    label_counts: list[LabelCount]
    versions: list[VersionEvaluation] = Field(description="oldest first")
    on_screen: list[ScreenPoint] = Field(description="on random questions only, oldest first")
    guidance: Guidance
    work: Work
    next_class: NextClass
    stop: StopSignal


class GroundTruthReply(Contract):
    """Masks that are never labels were stored for an image."""

    image_id: Id
    pixels: int = Field(description="pixels with a class")
