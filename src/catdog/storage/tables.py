"""Tables of the database; a change here needs a revision in `migrations/`.

Scan results and features can be deleted and are recomputed. Deleting the database also loses the server's counts, the
history of jobs, and who uploaded which image when.
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
    Column("problem", Text, comment="why the file can't be used; null if it can"),
    comment="scan results, so unchanged files aren't read again",
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
    comment="pooled features by backbone, view and image; view 0 is not augmented",
)

counts = Table(
    "counts",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False, comment="hours since 1970 in UTC; 0 for all time"),
    Column("measure", String(16), primary_key=True, comment="what is counted; see catdog.monitoring"),
    Column("version", Integer, primary_key=True, autoincrement=False, comment="0 if no version applies"),
    Column("name", String(255), primary_key=True, comment="displayed class, bin number, kind of error, or result"),
    Column("detail", String(255), primary_key=True, comment="verdict or error status; otherwise empty"),
    Column("count", BigInteger, nullable=False),
    comment="server activity across processes and restarts, per hour and for all time",
)


samples = Table(
    "samples",
    metadata,
    Column("hour", Integer, primary_key=True, autoincrement=False, comment="hours since 1970 in UTC"),
    Column("draw", BigInteger, primary_key=True, autoincrement=False, comment="random; lowest kept per hour"),
    Column("version", Integer, nullable=False),
    Column("class_id", Integer, nullable=False),
    Column("confidence", Float, nullable=False),
    Column("novelty", Float, nullable=False),
    Column("position", LargeBinary, nullable=False, comment="projections of the features, float32"),
    comment="random sample of recent predictions for measuring drift; no images",
)

drift = Table(
    "drift",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("claimed_at", BigInteger, nullable=False, comment="when a process last started measuring, Unix time"),
    Column("at", BigInteger, nullable=False, comment="when it was measured, Unix time"),
    Column("n", Integer, nullable=False, comment="predictions compared"),
    Column("score", Float, comment="null if there was too little to compare"),
    Column("p_value", Float),
    Column("measure", String(32), nullable=False, comment="what differs most"),
    comment="difference between recent predictions and those on a version's test images",
)

uploads = Table(
    "uploads",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("sha256", String(64), nullable=False, unique=True, comment="of the stored JPEG file"),
    Column("source_sha256", String(64), nullable=False, unique=True, comment="of the uploaded bytes"),
    Column("folder", String(255), nullable=False, comment="folder name of the class, such as cats"),
    Column("batch", String(32), nullable=False, index=True, comment="images uploaded together"),
    Column("uploader", String(200), nullable=False, comment="client address, cli, or recovered"),
    Column("name", String(200), nullable=False, comment="client's file name, for display only"),
    Column("bytes", BigInteger, nullable=False, comment="of the stored file"),
    Column("created_at", DateTime, nullable=False, comment="UTC"),
    Column("changed_at", DateTime, nullable=False, comment="UTC; when the state or class last changed"),
    Column("state", String(16), nullable=False, index=True, comment="active, removed, or pending confirmation"),
    Column("origin", String(16), nullable=False, comment="upload or feedback"),
    Column("held_out", Boolean, nullable=False, comment="chosen by hash for testing, never for training"),
    Column("checked", Boolean, nullable=False, comment="a person has confirmed the class"),
    Column("problem", String(200), comment="why the review excludes it from training; null if it doesn't"),
    Column("predicted", String(255), comment="folder name of the predicted class"),
    Column("verdict", String(255), comment="a class key, neither, or unsure"),
    Column("confidence", Float),
    Column("novelty", Float),
    Column("model_version", Integer),
    comment="images for retraining; the files are in retrain_data/",
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("kind", String(32), nullable=False, comment="type of job; at most one of each is active"),
    Column("state", String(16), nullable=False, comment="queued, running, succeeded, failed or cancelled"),
    Column("stage", String(32), nullable=False),  # where the next worker continues
    Column("progress", Float, nullable=False, comment="0 to 100"),
    Column("message", Text, nullable=False),
    Column("eta_seconds", Float),
    Column("arguments", Text, nullable=False, comment="JSON"),
    Column("log", Text, nullable=False, comment="JSON: the last lines"),
    Column("result", Text, comment="JSON; null until it succeeds"),
    Column("cancel_requested", Boolean, nullable=False),
    Column("requested_by", String(255)),
    Column("created_at", String(32), nullable=False, comment="UTC, ISO 8601"),
    Column("started_at", String(32)),
    Column("finished_at", String(32)),
    Column("number", Integer, nullable=False, server_default="0", comment="increasing"),
    Column("attempts", Integer, nullable=False, server_default="0", comment="how often a worker has started it"),
    comment="background jobs and their progress",
)

_UNDER_WAY = text("state IN ('queued', 'running')")
Index("jobs_one_under_way", jobs.c.kind, unique=True, sqlite_where=_UNDER_WAY, postgresql_where=_UNDER_WAY)
