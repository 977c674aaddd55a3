"""Who drew a map, the job that keeps the fast head fitted, and the version that a project is pinned to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add them. Maps of before were drawn by a version, or are early looks where they name none."""
    op.add_column("project", sa.Column("image_seq", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("project", sa.Column("pinned_version", sa.Integer(), nullable=True))
    op.add_column("image", sa.Column("image_seq", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("image_by_last_seq", "image", ["project_id", "last_seq"])
    op.add_column("image_map", sa.Column("drawn_by", sa.Text(), nullable=False, server_default="version"))
    op.add_column("image_map", sa.Column("label_count", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("image_map", sa.Column("timings_ms", sa.Text(), nullable=False, server_default="{}"))
    op.execute("UPDATE image_map SET drawn_by = 'training' WHERE model_version IS NULL")
    op.execute("UPDATE image_map SET label_count = (SELECT label_count FROM job WHERE job.job_id = image_map.job_id)")
    op.create_index(
        "one_refining",
        "job",
        ["project_id"],
        unique=True,
        sqlite_where=sa.text("kind = 'refine' AND state IN ('queued', 'leased', 'running')"),
    )
    op.create_table(
        "random_click",
        sa.Column("seq", sa.Integer(), sa.ForeignKey("label_event.seq"), primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.String(36), nullable=False, unique=True),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("project.project_id"), nullable=False),
        sa.Column("image_id", sa.String(36), sa.ForeignKey("image.image_id"), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("class_uid", sa.String(36), nullable=False),
        sa.Column("held_out", sa.Integer(), nullable=False),
        sa.Column("decided_here", sa.Integer(), nullable=False),
    )
    op.create_table(
        "judgement",
        sa.Column("seq", sa.Integer(), sa.ForeignKey("label_event.seq"), primary_key=True, autoincrement=False),
        sa.Column("drawn_by", sa.Text(), primary_key=True),
        sa.Column("model_version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("project.project_id"), nullable=False),
        sa.Column("image_id", sa.String(36), sa.ForeignKey("image.image_id"), nullable=False),
        sa.Column("said", sa.String(36), nullable=False),
        sa.Column("predicted", sa.String(36), nullable=False),
        sa.Column("confidence", sa.Integer(), nullable=False),
        sa.Column("map_label_seq", sa.Integer(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=True),
        sa.Column("held_out", sa.Integer(), nullable=False),
        sa.Column("live", sa.Integer(), nullable=False),
    )
    op.create_table(
        "ground_truth",
        sa.Column("image_id", sa.String(36), sa.ForeignKey("image.image_id"), primary_key=True),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("project.project_id"), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("plane_sha256", sa.String(64), nullable=False),
        sa.Column("class_uids", sa.Text(), nullable=False),
    )
    op.create_index("ground_truth_by_plane", "ground_truth", ["plane_sha256"])
    op.create_table(
        "truth_score",
        sa.Column("image_id", sa.String(36), sa.ForeignKey("image.image_id"), primary_key=True),
        sa.Column("model_version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("project.project_id"), nullable=False),
        sa.Column("pairs", sa.Text(), nullable=False),
    )
    op.create_index("truth_score_by_project", "truth_score", ["project_id", "model_version"])
    op.create_index("judgement_by_project", "judgement", ["project_id", "seq"])
    op.create_index("random_click_by_class", "random_click", ["project_id", "class_uid"])
    op.create_index("random_click_by_pixel", "random_click", ["image_id", "y", "x"])
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER random_click_stays_on_{change.lower()} BEFORE {change} ON random_click "
            "BEGIN SELECT RAISE(ABORT, 'what is held out is decided once'); END"
        )
    op.create_table(
        "skipped_question",
        sa.Column("question_id", sa.String(36), primary_key=True),
        sa.Column("annotator_id", sa.Text(), primary_key=True),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("project.project_id"), nullable=False),
        sa.Column("image_id", sa.String(36), sa.ForeignKey("image.image_id"), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
    )
    op.create_index("skipped_question_by_project", "skipped_question", ["project_id", "at"])
    op.create_index("skipped_question_by_image", "skipped_question", ["image_id"])
    for name, expression in (("need", "uncertainty / (1 + label_count)"), ("area", "width * height")):
        op.create_index(
            f"image_by_{name}",
            "image",
            ["project_id", sa.text(expression)],
            sqlite_where=sa.text("removed_at IS NULL"),
        )
    op.add_column("job", sa.Column("reproduced", sa.Integer(), nullable=True))
    op.add_column("model_version", sa.Column("images", sa.Text(), nullable=False, server_default="[]"))
    op.create_table(
        "version_map",
        sa.Column("map_id", sa.String(36), primary_key=True),
        sa.Column("project_id", sa.String(36), sa.ForeignKey("project.project_id"), nullable=False),
        sa.Column("image_id", sa.String(36), sa.ForeignKey("image.image_id"), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(36), sa.ForeignKey("job.job_id"), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("label_seq", sa.Integer(), nullable=False),
        sa.Column("label_count", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("class_uids", sa.Text(), nullable=False),
        sa.Column("prediction_sha256", sa.String(64), nullable=False),
        sa.Column("confidence_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("used_at", sa.DateTime(), nullable=False),
        sa.UniqueConstraint("image_id", "model_version", name="one_map_of_version"),
    )
    op.create_index("version_map_by_project", "version_map", ["project_id", "used_at"])
    op.create_index("version_map_by_prediction", "version_map", ["prediction_sha256"])
    op.create_index("version_map_by_confidence", "version_map", ["confidence_sha256"])
