"""Jobs; at most one of each kind is active."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False, comment="type of job; at most one of each is active"),
        sa.Column("state", sa.String(16), nullable=False, comment="queued, running, succeeded, failed or cancelled"),
        sa.Column("stage", sa.String(32), nullable=False),
        sa.Column("progress", sa.Float, nullable=False, comment="0 to 100"),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("eta_seconds", sa.Float),
        sa.Column("arguments", sa.Text, nullable=False, comment="JSON"),
        sa.Column("log", sa.Text, nullable=False, comment="JSON: the last lines"),
        sa.Column("result", sa.Text, comment="JSON; null until it succeeds"),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("requested_by", sa.String(255)),
        sa.Column("created_at", sa.String(32), nullable=False, comment="UTC, ISO 8601"),
        sa.Column("started_at", sa.String(32)),
        sa.Column("finished_at", sa.String(32)),
        comment="background jobs and their progress",
    )
    under_way = sa.text("state IN ('queued', 'running')")
    op.create_index(
        "jobs_one_under_way", "jobs", ["kind"], unique=True, sqlite_where=under_way, postgresql_where=under_way
    )


def downgrade() -> None:
    op.drop_table("jobs")
