"""Numbered jobs: after a clock is set back, times don't show which is the newest."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("number", sa.Integer, nullable=False, server_default="0", comment="increasing"))
    # Existing jobs are numbered by time, with an active one last.
    op.execute(
        "UPDATE jobs SET number = (SELECT count(*) FROM jobs AS other WHERE other.created_at < jobs.created_at "
        "OR (other.created_at = jobs.created_at AND other.id <= jobs.id))"
    )
    op.execute(
        "UPDATE jobs SET number = (SELECT max(other.number) + 1 FROM jobs AS other) "
        "WHERE state IN ('queued', 'running')"
    )


def downgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.drop_column("number")
