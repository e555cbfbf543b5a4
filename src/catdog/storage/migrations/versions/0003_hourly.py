"""Counts per hour, samples and drift. Earlier counts become part of all time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "counts",
        sa.Column(
            "hour",
            sa.Integer,
            primary_key=True,
            autoincrement=False,
            comment="hours since 1970 in UTC; 0 for all time",
        ),
        sa.Column("measure", sa.String(16), primary_key=True, comment="what is counted; see catdog.monitoring"),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False, comment="0 if no version applies"),
        sa.Column(
            "name",
            sa.String(255),
            primary_key=True,
            comment="displayed class, bin number, kind of error, or result",
        ),
        sa.Column("detail", sa.String(255), primary_key=True, comment="verdict or error status; otherwise empty"),
        sa.Column("count", sa.BigInteger, nullable=False),
        comment="server activity across processes and restarts, per hour and for all time",
    )
    op.execute(
        "INSERT INTO counts (hour, measure, version, name, detail, count) "
        "SELECT 0, 'prediction', version, class_name, verdict, count FROM predictions"
    )
    op.drop_table("predictions")
    _create_samples_and_drift()


def _create_samples_and_drift() -> None:
    op.create_table(
        "samples",
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False, comment="hours since 1970 in UTC"),
        sa.Column(
            "draw",
            sa.BigInteger,
            primary_key=True,
            autoincrement=False,
            comment="random; lowest kept per hour",
        ),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("class_id", sa.Integer, nullable=False),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("novelty", sa.Float, nullable=False),
        sa.Column("position", sa.LargeBinary, nullable=False, comment="projections of the features, float32"),
        comment="random sample of recent predictions for measuring drift; no images",
    )
    op.create_table(
        "drift",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column(
            "claimed_at",
            sa.BigInteger,
            nullable=False,
            comment="when a process last started measuring, Unix time",
        ),
        sa.Column("at", sa.BigInteger, nullable=False, comment="when it was measured, Unix time"),
        sa.Column("n", sa.Integer, nullable=False, comment="predictions compared"),
        sa.Column("score", sa.Float, comment="null if there was too little to compare"),
        sa.Column("p_value", sa.Float),
        sa.Column("measure", sa.String(32), nullable=False, comment="what differs most"),
        comment="difference between recent predictions and those on a version's test images",
    )


def downgrade() -> None:
    op.create_table(
        "predictions",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("class_name", sa.String(255), primary_key=True, comment="display name, such as Cat"),
        sa.Column("verdict", sa.String(255), primary_key=True, comment="a class key, neither, or unsure"),
        sa.Column("count", sa.BigInteger, nullable=False),
        comment="predictions served, across processes and restarts",
    )
    op.execute(
        "INSERT INTO predictions (version, class_name, verdict, count) "
        "SELECT version, name, detail, count FROM counts WHERE hour = 0 AND measure = 'prediction'"
    )
    for name in ("counts", "samples", "drift"):
        op.drop_table(name)
