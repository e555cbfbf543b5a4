"""Jobs are numbered as they come: where a clock is set back, times do not tell which is the newest."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("number", sa.Integer, nullable=False, server_default="0", comment="grows"))
    # Of those that are there, only the time says which came first; one under way came last.
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
