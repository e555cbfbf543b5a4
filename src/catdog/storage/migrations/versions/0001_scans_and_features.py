"""Scanned files and cached features."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("modified_ns", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("problem", sa.Text, comment="why the file can't be used; null if it can"),
        comment="scan results, so unchanged files aren't read again",
    )
    op.create_table(
        "features",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("backbone", sa.String(64), nullable=False),
        sa.Column("view", sa.Integer, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False, comment="float16, little-endian"),
        sa.UniqueConstraint("backbone", "view", "sha256"),
        comment="pooled features by backbone, view and image; view 0 is not augmented",
    )


def downgrade() -> None:
    op.drop_table("features")
    op.drop_table("files")
