"""Counts by hour, and of more than predictions; what was counted before becomes part of all time."""

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
            comment="hours since 1970 in UTC; 0: of all time",
        ),
        sa.Column("measure", sa.String(16), primary_key=True, comment="what is counted; monitoring.py names them"),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False, comment="0 where no version matters"),
        sa.Column(
            "name",
            sa.String(255),
            primary_key=True,
            comment="class as shown, number of a bin, kind of error, result",
        ),
        sa.Column("detail", sa.String(255), primary_key=True, comment="verdict, or status of an error; else empty"),
        sa.Column("count", sa.BigInteger, nullable=False),
        comment="what the server did, over all processes and restarts: each hour, and all time together",
    )
    op.execute(
        "INSERT INTO counts (hour, measure, version, name, detail, count) "
        "SELECT 0, 'prediction', version, class_name, verdict, count FROM predictions"
    )
    op.drop_table("predictions")


def downgrade() -> None:
    op.create_table(
        "predictions",
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("class_name", sa.String(255), primary_key=True, comment="as it is shown, such as Cat"),
        sa.Column("verdict", sa.String(255), primary_key=True, comment="a class key, neither, or unsure"),
        sa.Column("count", sa.BigInteger, nullable=False),
        comment="how many pictures the server answered for, over all processes and restarts",
    )
    op.execute(
        "INSERT INTO predictions (version, class_name, verdict, count) "
        "SELECT version, name, detail, count FROM counts WHERE hour = 0 AND measure = 'prediction'"
    )
    op.drop_table("counts")
