"""Images for retraining."""

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
        sa.Column("sha256", sa.String(64), nullable=False, unique=True, comment="of the stored JPEG file"),
        sa.Column("source_sha256", sa.String(64), nullable=False, unique=True, comment="of the uploaded bytes"),
        sa.Column("folder", sa.String(255), nullable=False, comment="folder name of the class, such as cats"),
        sa.Column("batch", sa.String(32), nullable=False, index=True, comment="images uploaded together"),
        sa.Column("uploader", sa.String(200), nullable=False, comment="client address, cli, or recovered"),
        sa.Column("name", sa.String(200), nullable=False, comment="client's file name, for display only"),
        sa.Column("bytes", sa.BigInteger, nullable=False, comment="of the stored file"),
        sa.Column("created_at", sa.DateTime, nullable=False, comment="UTC"),
        sa.Column("changed_at", sa.DateTime, nullable=False, comment="UTC; when the state or class last changed"),
        sa.Column(
            "state", sa.String(16), nullable=False, index=True, comment="active, removed, or pending confirmation"
        ),
        sa.Column("origin", sa.String(16), nullable=False, comment="upload or feedback"),
        sa.Column("held_out", sa.Boolean, nullable=False, comment="chosen by hash for testing, never for training"),
        sa.Column("checked", sa.Boolean, nullable=False, comment="a person has confirmed the class"),
        sa.Column("problem", sa.String(200), comment="why the review excludes it from training; null if it doesn't"),
        sa.Column("predicted", sa.String(255), comment="folder name of the predicted class"),
        sa.Column("verdict", sa.String(255), comment="a class key, neither, or unsure"),
        sa.Column("confidence", sa.Float),
        sa.Column("novelty", sa.Float),
        sa.Column("model_version", sa.Integer),
        comment="images for retraining; the files are in retrain_data/",
    )


def downgrade() -> None:
    op.drop_table("uploads")
