"""The tables. How they come to be in a data folder is told by `migrations/`; a test holds the two together.

`label_event` is the truth about labels and append-only: triggers refuse UPDATE and DELETE. Columns marked
"derived" repeat what can be counted from the log; they are written in the transaction that appends.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


class UtcTime(TypeDecorator[datetime]):
    """A moment. SQLite keeps no zone, so it is written as UTC without one and read back with it."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=UTC)


metadata = MetaData()

project = Table(
    "project",
    metadata,
    Column("project_id", String(36), primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),  # casefolded: two names that differ in case only look the same
    Column("created_at", UtcTime, nullable=False),
    Column("deleted_at", UtcTime),
    Column("settings", Text, nullable=False),  # ProjectSettings as JSON
    Column("image_count", Integer, nullable=False),  # derived
    Column("label_count", Integer, nullable=False),  # derived
    Column("label_seq", Integer, nullable=False),  # derived
    Column("image_seq", Integer, nullable=False),  # counts images that came, went or got other pixels
    Column("pinned_version", Integer),
    Index("one_project_name", "name_key", unique=True, sqlite_where=text("deleted_at IS NULL")),
)

label_class = Table(
    "label_class",
    metadata,
    Column("class_uid", String(36), primary_key=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("colour", String(7), nullable=False),
    Column("key", String(1)),
    Column("position", Integer, nullable=False),
    Column("retired_at", UtcTime),
    UniqueConstraint("project_id", "name_key", name="one_class_name"),
    UniqueConstraint("project_id", "position", name="one_class_position"),
)

image = Table(
    "image",
    metadata,
    Column("image_id", String(36), primary_key=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),  # of the canonical pixels
    Column("position", Integer, nullable=False),
    Column("added_at", UtcTime, nullable=False),
    Column("removed_at", UtcTime),
    Column("original_sha256", String(64), nullable=False),
    Column("original_type", Text, nullable=False),
    Column("canonical_sha256", String(64), nullable=False),
    Column("canonical_type", Text, nullable=False),
    Column("thumbnail_sha256", String(64), nullable=False),
    Column("thumbnail_type", Text, nullable=False),
    Column("label_count", Integer, nullable=False),  # derived
    Column("last_seq", Integer, nullable=False),  # derived
    Column("uncertainty", Float),  # derived from the newest map
    Column("map_version", Integer),  # derived: model version that drew the newest map, null for other maps
    Column("image_seq", Integer, nullable=False),  # the project's, when this image came, went or got other pixels
    UniqueConstraint("project_id", "position", name="one_image_position"),
    Index("one_image_content", "project_id", "sha256", unique=True, sqlite_where=text("removed_at IS NULL")),
    Index("image_by_uncertainty", "project_id", "uncertainty"),
    Index("image_by_last_seq", "project_id", "last_seq"),
    Index(
        "image_by_need", "project_id", text("uncertainty / (1 + label_count)"), sqlite_where=text("removed_at IS NULL")
    ),
    Index("image_by_area", "project_id", text("width * height"), sqlite_where=text("removed_at IS NULL")),
    Index("image_by_original", "original_sha256"),
    Index("image_by_canonical", "canonical_sha256"),
    Index("image_by_thumbnail", "thumbnail_sha256"),
)

label_event = Table(
    "label_event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("image_id", String(36), ForeignKey("image.image_id"), nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("annotator_id", Text, nullable=False),
    Column("client_id", String(36), nullable=False),
    Column("client_seq", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("server_time", UtcTime, nullable=False),
    Column("payload", Text, nullable=False),  # the LabelEvent as JSON
    Column("payload_sha256", String(64), nullable=False),
    Index("label_event_by_project", "project_id", "seq"),
    Index("label_event_by_image", "image_id", "seq"),
)

random_click = Table(  # answers to random questions, and whether training may see them; append-only as the log
    "random_click",
    metadata,
    Column("seq", Integer, ForeignKey("label_event.seq"), primary_key=True, autoincrement=False),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("image_id", String(36), ForeignKey("image.image_id"), nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("y", Integer, nullable=False),
    Column("x", Integer, nullable=False),
    Column("class_uid", String(36), nullable=False),  # or void
    Column("held_out", Integer, nullable=False),
    Column("decided_here", Integer, nullable=False),  # 0: the pixel was decided about before, or is always trained on
    Index("random_click_by_class", "project_id", "class_uid"),
    Index("random_click_by_pixel", "image_id", "y", "x"),
)

skipped_question = Table(  # "cannot tell": as good as asked, though it is no label
    "skipped_question",
    metadata,
    Column("question_id", String(36), primary_key=True),
    Column("annotator_id", Text, primary_key=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("image_id", String(36), ForeignKey("image.image_id"), nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("x", Integer, nullable=False),
    Column("y", Integer, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("skipped_question_by_project", "project_id", "at"),
    Index("skipped_question_by_image", "image_id"),
)

judgement = Table(  # what a map said about a pixel whose label its author had not learnt from
    "judgement",
    metadata,
    Column("seq", Integer, ForeignKey("label_event.seq"), primary_key=True, autoincrement=False),  # of the click
    Column("drawn_by", Text, primary_key=True),
    Column("model_version", Integer, primary_key=True, autoincrement=False),  # 0: none
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("image_id", String(36), ForeignKey("image.image_id"), nullable=False),
    Column("said", String(36), nullable=False),  # class_uid
    Column("predicted", String(36), nullable=False),  # class_uid
    Column("confidence", Integer, nullable=False),  # round(255 * probability)
    Column("map_label_seq", Integer, nullable=False),
    Column("asked", Text),
    Column("held_out", Integer, nullable=False),
    Column("live", Integer, nullable=False),  # 1: the map was on the image when the click came
    Index("judgement_by_project", "project_id", "seq"),
)

ground_truth = Table(  # true masks: never labels, never trained on
    "ground_truth",
    metadata,
    Column("image_id", String(36), ForeignKey("image.image_id"), primary_key=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("plane_sha256", String(64), nullable=False),  # zlib: height * width indices in class_uids, 254, 255
    Column("class_uids", Text, nullable=False),
    Index("ground_truth_by_plane", "plane_sha256"),
)

truth_score = Table(  # a version's map of an image against the true mask
    "truth_score",
    metadata,
    Column("image_id", String(36), ForeignKey("image.image_id"), primary_key=True),
    Column("model_version", Integer, primary_key=True, autoincrement=False),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("pairs", Text, nullable=False),  # JSON: [true class, predicted class, pixels], ...
    Index("truth_score_by_project", "project_id", "model_version"),
)

class_count = Table(  # derived: labels that hold, by image and class; `void` counts as a class here
    "class_count",
    metadata,
    Column("image_id", String(36), ForeignKey("image.image_id"), primary_key=True),
    Column("class_uid", String(36), primary_key=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("labels", Integer, nullable=False),
    Index("class_count_by_project", "project_id"),
)

job = Table(
    "job",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(36), nullable=False, unique=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("spec", Text, nullable=False),  # TrainSpec or PredictSpec as JSON
    Column("label_seq", Integer, nullable=False),
    Column("label_count", Integer, nullable=False),  # labels that held at label_seq
    Column("class_uids", Text, nullable=False),  # JSON: class index -> class, fixed for the life of the job
    Column("attempt", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("worker_id", Text),
    Column("deadline", UtcTime),
    Column("progress", Text, nullable=False),  # Progress as JSON
    Column("checkpoint_sha256", String(64)),
    Column("cancel_requested", Integer, nullable=False),
    Column("model_version", Integer),
    Column("reproduced", Integer),  # of a repeated training: 1 = the same bits, 0 = others
    Column("error", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("finished_at", UtcTime),
    CheckConstraint("state NOT IN ('leased', 'running') OR deadline IS NOT NULL", name="a_lease_has_a_deadline"),
    Index(
        "one_training",
        "project_id",
        unique=True,
        sqlite_where=text("kind = 'train' AND state IN ('queued', 'leased', 'running')"),
    ),
    Index(
        "one_refining",
        "project_id",
        unique=True,
        sqlite_where=text("kind = 'refine' AND state IN ('queued', 'leased', 'running')"),
    ),
    Index("job_by_project", "project_id", "number"),
    Index("job_by_state", "state", "number"),
)

job_history = Table(
    "job_history",
    metadata,
    Column("entry", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(36), ForeignKey("job.job_id"), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("from_state", Text),
    Column("to_state", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index("job_history_by_job", "job_id", "entry"),
)

checkpoint = Table(  # a row is the commit point: a file without one does not count
    "checkpoint",
    metadata,
    Column("entry", Integer, primary_key=True, autoincrement=True),
    Column("job_id", String(36), ForeignKey("job.job_id"), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("checkpoint_by_job", "job_id", "entry"),
    Index("checkpoint_by_blob", "sha256"),
)

model_version = Table(
    "model_version",
    metadata,
    Column("model_version_id", String(36), primary_key=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("job_id", String(36), ForeignKey("job.job_id"), nullable=False, unique=True),
    Column("label_seq", Integer, nullable=False),
    Column("label_count", Integer, nullable=False),
    Column("parent", Integer),
    Column("spec", Text, nullable=False),
    Column("class_uids", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("metrics", Text, nullable=False),
    Column("code_version", Text, nullable=False),
    Column("images", Text, nullable=False),  # list of TrainedImage as JSON
    Column("created_at", UtcTime, nullable=False),
    UniqueConstraint("project_id", "version", name="one_version_number"),
)

artifact = Table(
    "artifact",
    metadata,
    Column("model_version_id", String(36), ForeignKey("model_version.model_version_id"), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("size", Integer, nullable=False),
    Index("artifact_by_blob", "sha256"),
)

image_map = Table(
    "image_map",
    metadata,
    Column("map_id", String(36), primary_key=True),
    Column("image_id", String(36), ForeignKey("image.image_id"), nullable=False, unique=True),  # the newest only
    Column("job_id", String(36), ForeignKey("job.job_id"), nullable=False),
    Column("drawn_by", Text, nullable=False),
    Column("model_version", Integer),
    Column("step", Integer, nullable=False),
    Column("label_seq", Integer, nullable=False),
    Column("label_count", Integer, nullable=False),
    Column("timings_ms", Text, nullable=False),  # JSON
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("class_uids", Text, nullable=False),
    Column("prediction_sha256", String(64), nullable=False),
    Column("confidence_sha256", String(64), nullable=False),
    Column("candidates", Text, nullable=False),  # list of Candidate as JSON
    Column("created_at", UtcTime, nullable=False),
    Index("image_map_by_prediction", "prediction_sha256"),
    Index("image_map_by_confidence", "confidence_sha256"),
)

version_map = Table(  # an image as some version sees it, drawn on request to compare versions
    "version_map",
    metadata,
    Column("map_id", String(36), primary_key=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("image_id", String(36), ForeignKey("image.image_id"), nullable=False),
    Column("model_version", Integer, nullable=False),
    Column("job_id", String(36), ForeignKey("job.job_id"), nullable=False),
    Column("step", Integer, nullable=False),
    Column("label_seq", Integer, nullable=False),
    Column("label_count", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("class_uids", Text, nullable=False),
    Column("prediction_sha256", String(64), nullable=False),
    Column("confidence_sha256", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("used_at", UtcTime, nullable=False),
    UniqueConstraint("image_id", "model_version", name="one_map_of_version"),
    Index("version_map_by_project", "project_id", "used_at"),
    Index("version_map_by_prediction", "prediction_sha256"),
    Index("version_map_by_confidence", "confidence_sha256"),
)

orphan = Table(  # blobs that lost their row: deleted by the sweep once nothing can be about to name them again
    "orphan",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("since", UtcTime, nullable=False),
)

update = Table(
    "update_feed",
    metadata,
    Column("update_id", Integer, primary_key=True, autoincrement=True),
    Column("project_id", String(36), ForeignKey("project.project_id"), nullable=False),
    Column("hint", Text, nullable=False),
    Index("update_feed_by_project", "project_id", "update_id"),
    sqlite_autoincrement=True,  # an id is never given twice, even after old updates were pruned
)
