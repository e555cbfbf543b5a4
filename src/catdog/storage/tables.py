"""Tables of the database; a change here comes with a revision in `migrations/`.

Most of what stands in them is derived (scan results, features), can be deleted and is made again; only the counts of
what the server did would begin anew, and of pictures for retraining who sent them and when, and what jobs did, would
be forgotten.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

files = Table(
    "files",
    metadata,
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("modified_ns", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("problem", Text, comment="why the file cannot be used; null where it can"),
    comment="what scanning a data set found, so that an unchanged file is not read again",
)

features = Table(
    "features",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("backbone", String(64), nullable=False),
    Column("view", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("vector", LargeBinary, nullable=False, comment="float16, little-endian"),
    UniqueConstraint("backbone", "view", "sha256"),
    comment="pooled features of a picture under a backbone; view 0 is the plain picture",
)

counts = Table(
    "counts",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False, comment="hours since 1970 in UTC; 0: of all time"),
    Column("measure", String(16), primary_key=True, comment="what is counted; monitoring.py names them"),
    Column("version", Integer, primary_key=True, autoincrement=False, comment="0 where no version matters"),
    Column("name", String(255), primary_key=True, comment="class as shown, number of a bin, kind of error, result"),
    Column("detail", String(255), primary_key=True, comment="verdict, or status of an error; else empty"),
    Column("count", BigInteger, nullable=False),
    comment="what the server did, over all processes and restarts: each hour, and all time together",
)


samples = Table(
    "samples",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False, comment="hours since 1970 in UTC"),
    Column("draw", BigInteger, primary_key=True, autoincrement=False, comment="the lowest of an hour are kept"),
    Column("version", Integer, nullable=False),
    Column("class_id", Integer, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("novelty", Float, nullable=False),
    Column("position", LargeBinary, nullable=False, comment="a few projections of the features: float32"),
    comment="a fair sample of what was answered lately, to measure drift; never a picture",
)

drift = Table(
    "drift",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("claimed_at", BigInteger, nullable=False, comment="when a process last took it on to measure, Unix time"),
    Column("at", BigInteger, nullable=False, comment="when it was measured, Unix time"),
    Column("n", Integer, nullable=False, comment="answers that were compared"),
    Column("score", Float, comment="null where there was too little to compare"),
    Column("p_value", Float),
    Column("measure", String(32), nullable=False, comment="what differs most"),
    comment="how far recent answers are from those on a version's test pictures",
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True, comment="of the JPEG file that is kept"),
    Column("source_sha256", String(64), nullable=False, unique=True, comment="of the bytes that were received"),
    Column("folder", String(255), nullable=False, comment="folder name of the class, such as cats"),
    Column("batch", String(32), nullable=False, index=True, comment="pictures that came together"),
    Column("uploader", String(200), nullable=False, comment="address of the client, or cli, or recovered"),
    Column("name", String(200), nullable=False, comment="as the client called it; shown, never a path"),
    Column("bytes", BigInteger, nullable=False, comment="of the file that is kept"),
    Column("created_at", DateTime, nullable=False, comment="UTC"),
    Column("changed_at", DateTime, nullable=False, comment="UTC; when state or class changed last"),
    Column("state", String(16), nullable=False, index=True, comment="active, removed, or pending: to be confirmed"),
    Column("origin", String(16), nullable=False, comment="upload or feedback"),
    Column("held_out", Boolean, nullable=False, comment="tested on and never trained on; by hash"),
    Column("checked", Boolean, nullable=False, comment="a person has confirmed the class"),
    Column("problem", String(200), comment="why the review keeps it out of training; null where it does not"),
    Column("predicted", String(255), comment="folder name of the class that a model answered"),
    Column("verdict", String(255), comment="a class key, neither, or unsure"),
    Column("confidence", Float),
    Column("novelty", Float),
    Column("model_version", Integer),
    comment="pictures kept for retraining; the files lie in retrain_data/",
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(32), nullable=False, comment="what is done; at most one of a kind is under way"),
    Column("state", String(16), nullable=False, comment="queued, running, succeeded, failed or cancelled"),
    Column("stage", String(32), nullable=False),  # the step where the next worker goes on
    Column("progress", Float, nullable=False, comment="0 to 100"),
    Column("message", Text, nullable=False),
    Column("eta_seconds", Float),
    Column("arguments", Text, nullable=False, comment="JSON"),
    Column("log", Text, nullable=False, comment="JSON: the last lines"),
    Column("result", Text, comment="JSON; null until it succeeded"),
    Column("cancel_requested", Boolean, nullable=False),
    Column("requested_by", String(255)),
    Column("created_at", String(32), nullable=False, comment="UTC, ISO 8601"),
    Column("started_at", String(32)),
    Column("finished_at", String(32)),
    Column("number", Integer, nullable=False, server_default="0", comment="grows"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="how often a worker has taken it"),
    comment="what was asked for to be done apart from the web processes, and how it goes",
)

_UNDER_WAY = text("state IN ('queued', 'running')")
Index("jobs_one_under_way", jobs.c.kind, unique=True, sqlite_where=_UNDER_WAY, postgresql_where=_UNDER_WAY)
