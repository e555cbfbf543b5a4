"""Pictures kept for retraining."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "uploads",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True, comment="of the JPEG file that is kept"),
        sa.Column(
            "source_sha256", sa.String(64), nullable=False, unique=True, comment="of the bytes that were received"
        ),
        sa.Column("folder", sa.String(255), nullable=False, comment="folder name of the class, such as cats"),
        sa.Column("batch", sa.String(32), nullable=False, index=True, comment="pictures that came together"),
        sa.Column("uploader", sa.String(200), nullable=False, comment="address of the client, or cli, or recovered"),
        sa.Column("name", sa.String(200), nullable=False, comment="as the client called it; shown, never a path"),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="of the file that is kept"),
        sa.Column("created_at", sa.DateTime, nullable=False, comment="UTC"),
        sa.Column("changed_at", sa.DateTime, nullable=False, comment="UTC; when state or class changed last"),
        sa.Column(
            "state", sa.String(16), nullable=False, index=True, comment="active, removed, or pending: to be confirmed"
        ),
        sa.Column("origin", sa.String(16), nullable=False, comment="upload or feedback"),
        sa.Column("held_out", sa.Boolean, nullable=False, comment="tested on and never trained on; by hash"),
        sa.Column("checked", sa.Boolean, nullable=False, comment="a person has confirmed the class"),
        sa.Column("problem", sa.String(200), comment="why the review keeps it out of training; null where it does not"),
        sa.Column("predicted", sa.String(255), comment="folder name of the class that a model answered"),
        sa.Column("verdict", sa.String(255), comment="a class key, neither, or unsure"),
        sa.Column("confidence", sa.Float),
        sa.Column("novelty", sa.Float),
        sa.Column("model_version", sa.Integer),
        comment="pictures kept for retraining; the files lie in retrain_data/",
    )


def downgrade() -> None:
    op.drop_table("uploads")
