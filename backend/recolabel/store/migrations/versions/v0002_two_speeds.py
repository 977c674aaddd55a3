"""Who drew a map, the job that keeps the fast head fitted, and the version that a project is pinned to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add them. Maps of before were drawn by a version, or are early looks where they name none."""
    op.add_column("project", sa.Column("pinned_version", sa.Integer(), nullable=True))
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
