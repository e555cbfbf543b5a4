"""Attempts per job: a job whose worker keeps getting killed is abandoned."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    comment = "how often a worker has started it"
    op.add_column("jobs", sa.Column("attempts", sa.Integer, nullable=False, server_default="0", comment=comment))


def downgrade() -> None:
    with op.batch_alter_table("jobs") as table:
        table.drop_column("attempts")
