"""Jobs: what a worker is asked to do, and what it may do while it holds the lease.

The database row is the job. The Celery message is a doorbell that carries an id; it may be lost, doubled or late.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Base64Bytes, Field, FiniteFloat, JsonValue, StringConstraints

from recolabel.contract.images import Sha256
from recolabel.contract.labels import LabelSnapshot, SnapshotImage
from recolabel.contract.projects import MAX_CLASSES, Contract, Id
from recolabel.contract.questions import Candidate

TASK_NAME = "recolabel.run"
"""Name of the one Celery task: `run(job_id)`."""

Method = Literal["supervised", "cutout", "cutmix", "classmix"]


class JobKind(StrEnum):
    """What a job produces."""

    TRAIN = "train"  # a model version
    PREDICT = "predict"  # a map for every image of the project, by one model version
    REFINE = "refine"  # maps by the fast head after each label, for as long as somebody looks at the project


class JobState(StrEnum):
    """Where a job stands. The allowed moves are one table in `recolabel.store.job_states`."""

    QUEUED = "queued"  # waits for a worker
    LEASED = "leased"  # a worker has claimed it and prepares
    RUNNING = "running"  # the worker has reported progress
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ACTIVE_STATES = (JobState.QUEUED, JobState.LEASED, JobState.RUNNING)


class TrainSpec(Contract):
    """How to train. A field that is left out takes the engine's default for the size of the project."""

    kind: Literal["train"] = "train"
    method: Method = "classmix"
    use_reco: bool = True
    steps: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    warm_start_version: int | None = Field(default=None, description="version that the training starts from")
    reproduce_version: int | None = Field(
        default=None, description="repeat the training of this version and compare the bits; nothing is published"
    )


class PredictSpec(Contract):
    """Draw maps with a model version."""

    kind: Literal["predict"] = "predict"
    model_version: int
    image_id: Id | None = Field(
        default=None, description="draw this image only, to compare versions on it; its newest map stays"
    )


class RefineSpec(Contract):
    """Keep the fast head fitted to all labels, and its maps fresh where somebody looks."""

    kind: Literal["refine"] = "refine"


JobSpec = TrainSpec | PredictSpec | RefineSpec


class NewTraining(Contract):
    """A person's wish to train; the server pins it to the log position of this moment."""

    method: Method = "classmix"
    use_reco: bool = True
    steps: int | None = Field(default=None, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, lt=2**31)
    warm_start: bool = Field(default=True, description="start from the version that the project works with")


class Losses(Contract):
    """Means since the last report; null where a term had nothing to work on."""

    supervised: float | None = None
    pseudo: float | None = None
    contrast: float | None = None
    total: float | None = None


class Progress(Contract):
    """How far a job is."""

    done: int = Field(default=0, ge=0, description="steps, or images for a predict job")
    total: int = Field(default=0, ge=0)
    stage: str = Field(default="", max_length=200, description="what happens now, in a few words")
    losses: Losses | None = None
    eta_seconds: float | None = Field(default=None, ge=0)


class Job(Contract):
    """A job as people see it."""

    job_id: Id
    project_id: Id
    kind: JobKind
    state: JobState
    spec: JobSpec = Field(discriminator="kind")
    label_seq: int = Field(description="the log position that it covers")
    attempt: int = Field(ge=0, description="how often a worker has started it")
    progress: Progress
    cancel_requested: bool
    model_version: int | None = Field(description="the version that a training published")
    reproduced: bool | None = Field(
        default=None, description="of a training that repeats a version and is over: whether the bits are the same"
    )
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class Lease(Contract):
    """The right to work on a job until a deadline. Every write of the worker names job and fence."""

    job: Job
    fence: int = Field(ge=1, description="counts up with each claim; an older one is refused")
    lease_seconds: float
    checkpoint: Sha256 | None = Field(description="blob of the newest checkpoint of this job, to resume from")


class Claim(Contract):
    """A worker asks for a job and gets the oldest that waits; `job_id` says which bell woke it."""

    worker_id: str = Field(max_length=200)
    contract_version: str
    job_id: Id | None = None
    kinds: list[JobKind] = Field(default=[JobKind.TRAIN, JobKind.PREDICT], description="what this worker does")
    wait_seconds: float = Field(default=0.0, ge=0, le=30, description="how long the answer may wait for a job to come")


class Renewal(Contract):
    """What a worker says at each renewal of its lease."""

    progress: Progress | None = None


class RenewalReply(Contract):
    """What the server says back."""

    cancel_requested: bool
    lease_seconds: float


class TrainedImage(Contract):
    """An image that a training looked at, and the pixels that it had then."""

    image_id: Id
    sha256: Sha256


class Reproduction(Contract):
    """The training that is to be repeated, as far as snapshot and start do not say it."""

    version: int
    steps: int = Field(ge=0, description="where it ended: a person may have stopped it")
    config: dict[str, JsonValue] = Field(description="of the version")
    images: list[TrainedImage] = Field(
        description="in the order in which the training held them. Empty: a version of before they were noted"
    )


class ReproductionReport(Contract):
    """What a repeated training gave."""

    sha256: Sha256 = Field(description="of the model.safetensors that it would have published")


class JobInputs(Contract):
    """What a job works on."""

    snapshot: LabelSnapshot
    warm_start_model: Sha256 | None = Field(description="blob of model.safetensors of the version to start from")
    warm_start_class_uids: list[Id]
    reproduction: Reproduction | None = Field(default=None, description="of a training that repeats a version")


class NextImage(Contract):
    """The image that a predict job should draw next: the one open in a browser first. Null when all are drawn."""

    image_id: Id | None
    done: int
    total: int


class OpenImage(Contract):
    """The image that is open in a browser, for an early look at a running training; null when none is."""

    image_id: Id | None


class MapUpload(Contract):
    """What comes with a map's two planes, which are uploaded as blobs first."""

    image_id: Id
    image_sha256: Sha256
    step: int = Field(ge=0, lt=2**31)
    class_uids: list[Id]
    prediction: Sha256 = Field(description="blob: height * width class indices")
    confidence: Sha256 = Field(description="blob: height * width bytes, round(255 * confidence)")
    candidates: list[Candidate] = Field(default_factory=list, max_length=1024)


class RefineWork(Contract):
    """What the fast head should learn and draw now. Answered as soon as there is something to do."""

    label_seq: int = Field(description="the log position that this describes; the next question names it as `after`")
    state: str = Field(description="all of this in a few letters; the next question names it, to hear what is new")
    label_count: int = Field(description="labels of the project that hold there")
    class_uids: list[Id] = Field(description="class index -> class")
    model_version: int | None = Field(description="version whose features to use; null: the pretrained encoder's")
    changed: list[SnapshotImage] = Field(
        description="images whose labels changed after the position that was asked from; `labelled_pixels` is 0 where "
        "nothing is left. From position 0: every labelled image"
    )
    label_maps: dict[Id, Base64Bytes] = Field(
        default_factory=dict,
        description="label maps of `changed` as PNG, at `label_seq` and by `class_uids`, where those are few; else "
        "they are asked for one by one",
    )
    gone: list[Id] = Field(description="labelled images that were removed since; replaced ones are among `changed`")
    draw: list[SnapshotImage] = Field(
        description="images that want a fresh map: the one in view first, then those that come next. Empty where "
        "nothing is new to the asker: what could not be drawn then cannot be drawn now"
    )
    idle: bool = Field(description="nobody has looked at the project for a while: finish the job")


class FastMap(Contract):
    """A map by the fast head, in one message: it has to be on screen within a blink."""

    image_id: Id
    image_sha256: Sha256
    label_seq: int = Field(ge=0, lt=2**63, description="the log position that the fast head was fitted at")
    label_count: int = Field(ge=0, lt=2**31)
    model_version: int | None = Field(ge=1, lt=2**31)
    class_uids: list[Id] = Field(max_length=MAX_CLASSES, description="as in the RefineWork that it was fitted to")
    prediction: Base64Bytes = Field(description="zlib: height * width class indices")
    confidence: Base64Bytes = Field(description="zlib: height * width bytes, round(255 * confidence)")
    candidates: list[Candidate] = Field(default_factory=list, max_length=1024)
    timings_ms: dict[Annotated[str, StringConstraints(max_length=40)], FiniteFloat] = Field(
        default_factory=dict, max_length=32
    )


class CheckpointReport(Contract):
    """A checkpoint that the job can resume from, uploaded as a blob first."""

    step: int = Field(ge=0, lt=2**31)
    sha256: Sha256


class Failure(Contract):
    """Why a job could not be done, in a sentence that a user can act on."""

    error: str = Field(min_length=1, max_length=2_000)
    retry: bool = Field(description="another attempt may succeed")
