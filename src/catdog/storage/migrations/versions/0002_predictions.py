"""Counts of predictions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "predictions",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("class_name", sa.String(255), primary_key=True, comment="display name, such as Cat"),
        sa.Column("verdict", sa.String(255), primary_key=True, comment="a class key, neither, or unsure"),
        sa.Column("count", sa.BigInteger, nullable=False),
        comment="predictions served, across processes and restarts",
    )


def downgrade() -> None:
    op.drop_table("predictions")
