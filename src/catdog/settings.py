"""All settings, typed and immutable, read from `CATDOG_*` variables and `.env`.

Reading settings has no side effects. The table in `docs/reference.md` is generated from the fields.
"""

import difflib
import os
import re
from collections.abc import Set
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from catdog.env_file import is_readable, warn_once
from catdog.errors import SettingsError

Precision = Literal["auto", "bf16", "f32"]
LogForm = Literal["text", "json"]

_OTHERS: Final = re.compile(
    r"CATDOG_(SHARED|CHROMIUM|PUBLISH|STARTED_AT|PICTURES|NOTEBOOK_\w+|TEST_IMAGES|SERVICE_\w+|PORT_\w+|\w+_SERVICE_\w+)"
)
"""Variables that aren't settings: for tests and docs, and those Kubernetes sets for a service named `catdog`."""

ENV_FILE: Final = ".env"
MAX_BYTES: Final = 2**50
"""Largest value of a setting in bytes: a petabyte."""

SERVING: Final = frozenset({"port", "workers"})
"""Settings that other programs use too; an invalid one stops only the server."""

_RATE: Final = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")
_KEY: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_LONGEST_KEY: Final = 1024
_DATABASE: Final = re.compile(r"(sqlite|postgresql)(\+[a-z0-9_]+)?://")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", re.IGNORECASE)


class Settings(BaseSettings):
    """The settings. A field's variable is `CATDOG_` and its name in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="CATDOG_",
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        allow_inf_nan=False,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
    )

    home: Path = Field(Path(), description="Folder for everything catdog stores: data, models, databases.")
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of the database. Unset: the SQLite file `catdog.db` in the home folder.",
    )
    precision: Precision = Field(
        "auto",
        description="Arithmetic of the backbone: `bf16`, `f32`, or `auto` (bf16 if the processor supports it).",
    )
    threads: int = Field(0, ge=0, le=256, description="Threads for decoding and inference; 0 means one per core.")
    max_pixels: int = Field(
        64_000_000,
        ge=1,
        le=10**9,
        description="Maximum pixels per image, checked before decoding. `CATDOG_MAX_DECODE_BYTES` sets lower "
        "limits for formats that can't be decoded at a reduced scale.",
    )
    max_side: int = Field(16_384, ge=1, le=10**6, description="Maximum side of an image in pixels.")
    max_decode_bytes: int = Field(
        155_000_000,
        ge=16_000_000,
        le=MAX_BYTES,
        description="Maximum memory for decoding one image, in bytes. The default allows 64 megapixels of baseline "
        "JPEG, 50 of progressive JPEG (25 without chroma subsampling), 34 of PNG in colour, 64 of PNG in grey or with "
        "a palette, 12 of WebP, and 15 of AVIF (11 with transparency).",
    )
    max_picture_bytes: int = Field(
        64 * 2**20, ge=1, le=MAX_BYTES, description="Maximum bytes per image file in a data set."
    )
    test_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of images held out for testing if the data has no test folder.",
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="Share of training images held out to choose the best epoch."
    )
    unsure_below: float = Field(
        0.65, ge=0, le=1, description="Confidence below which the verdict is `unsure` instead of a class."
    )
    weights_url: str = Field(
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        description="URL of the ImageNet weights for `--backbone imagenet`; set a mirror if it is blocked.",
    )
    tracking: bool = Field(True, description="Record each training run with MLflow.")
    tracking_uri: str | None = Field(
        None,
        validation_alias="MLFLOW_TRACKING_URI",
        description="MLflow server or database. Unset: the SQLite file `mlflow.db` in the home folder.",
    )
    tracking_experiment: str = Field("catdog", min_length=1, description="Name of the MLflow experiment.")

    host: str | None = Field(
        None,
        min_length=1,
        description="Address the server listens on. Unset: `127.0.0.1`, or `0.0.0.0` if `PORT` is set.",
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        validation_alias="PORT",
        description="Port the server listens on; hosting services set it. Unset: 5000, for this machine only.",
    )
    workers: int = Field(
        0, ge=0, le=256, validation_alias="WEB_CONCURRENCY", description="Web processes; 0 means one per core."
    )
    api_key: SecretStr | None = Field(
        None,
        description="Key required for requests that change something. Unset: only this machine may.",
    )
    worker: Literal["child", "external"] = Field(
        "child",
        description="Where jobs run: in a `child` process of the server, or `external`, in a separate `catdog worker`.",
    )
    promote: Literal["auto", "manual"] = Field(
        "auto",
        description="Whether retraining promotes versions that pass the gate (`auto`) or leaves it to you (`manual`).",
    )
    max_upload_bytes: int = Field(
        25 * 2**20, ge=1, le=MAX_BYTES, description="Maximum bytes per image sent to the server."
    )
    max_request_bytes: int = Field(
        32 * 2**20, ge=1, le=MAX_BYTES, description="Maximum bytes per request to the server."
    )
    max_batch: int = Field(100, ge=1, le=10**6, description="Maximum images per request to the server.")
    max_upload_files: int = Field(500, ge=1, le=10**6, description="Maximum images per upload request.")
    max_upload_total_bytes: int = Field(
        256 * 2**20,
        ge=1,
        le=MAX_BYTES,
        description="Maximum bytes per upload request; uploads are buffered on disk.",
    )
    max_kept_pictures: int = Field(
        100_000, ge=1, le=10**9, description="Maximum images stored for retraining, including removed and pending ones."
    )
    max_kept_bytes: int = Field(
        10 * 2**30, ge=1, le=MAX_BYTES, description="Maximum bytes of images stored for retraining."
    )
    min_free_bytes: int = Field(
        256 * 2**20, ge=0, le=MAX_BYTES, description="Disk space in bytes that images for retraining leave free."
    )
    removed_days: float = Field(
        30, ge=0, le=36_500, description="Days a removed image can be restored before `purge` deletes it."
    )
    session_hours: int = Field(12, ge=1, le=24 * 365, description="Hours until a sign-in on the page expires.")
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Number of proxies in front of the server whose `X-Forwarded-*` headers are trusted; 0 for none.",
    )
    rate_limit: str = Field(
        "600/minute", description="Requests per client IP, such as `600/minute` (or second, hour, day), or `off`."
    )
    rate_limit_changes: str = Field("60/minute", description="Requests per client IP that change something.")
    rate_limit_keys: str = Field("10/minute", description="Wrong keys per client IP, also on this machine.")
    rate_limit_local: bool = Field(
        False, description="Whether the first two limits also apply to direct requests from this machine."
    )
    rate_limit_storage: str = Field(
        "memory",
        repr=False,
        description="Where requests are counted: `memory`, separately per process, or `redis://…`, shared.",
    )
    cors_origins: str | None = Field(
        None,
        description="Origins that may call the API: `https://a.example`, comma-separated, or `*`. Unset: none.",
    )
    history_days: int = Field(
        90, ge=1, le=3650, description="Days the server keeps hourly counts; totals are kept forever."
    )
    drift_threshold: float = Field(
        0.2, gt=0, le=1, description="Drift score at which the server warns, if it is statistically significant."
    )
    log: LogForm = Field(
        "text",
        description="Log format: `text` with starts, stops and warnings, or `json` lines with every request too.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic-settings gives all of them
        init_settings: Any,
        env_settings: Any,
        dotenv_settings: Any,
        file_secret_settings: Any,
    ) -> tuple[Any, ...]:
        """Treat a blank variable as unset."""
        return init_settings, _without_blanks(env_settings), _without_blanks(dotenv_settings), file_secret_settings

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if "\0" in str(value):
            raise ValueError("A path can't contain NUL")
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"That user's home folder is unknown: {error}") from error
        except FileNotFoundError as error:
            raise ValueError(
                "The working directory no longer exists; change to another, or use an absolute path"
            ) from error

    @field_validator("api_key")
    @classmethod
    def _no_weak_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():  # set but empty, as in compose files
            return None
        key = value.get_secret_value()
        if not 16 <= len(key) <= _LONGEST_KEY:
            raise ValueError(
                f"The key must have 16 to {_LONGEST_KEY:,} characters; generate one with `openssl rand -hex 32`"
            )
        # Clients send it in a header, which is ASCII and loses spaces at the ends.
        if not _KEY.fullmatch(key):
            raise ValueError(
                "The key must be printable ASCII without spaces at the ends; generate one with `openssl rand -hex 32`"
            )
        return value

    @field_validator("rate_limit", "rate_limit_changes", "rate_limit_keys")
    @classmethod
    def _rate(cls, value: str) -> str:
        if value != "off" and not _RATE.fullmatch(value):
            raise ValueError(
                "A rate is a positive number per unit of time, such as 10/second, 600/minute or 1/day, or off"
            )
        return value

    @field_validator("rate_limit_storage")
    @classmethod
    def _storage(cls, value: str) -> str:
        if value != "memory" and not value.startswith(("redis://", "rediss://", "redis+unix://")):
            raise ValueError("Use memory or the URL of a Redis server, such as redis://localhost:6379/0")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str | None) -> str | None:
        origins = [origin.strip() for origin in (value or "").split(",") if origin.strip()]
        if origins != ["*"] and not all(map(_ORIGIN.fullmatch, origins)):
            raise ValueError("Origins must be scheme://name or scheme://name:port, comma-separated, or a single *")
        return ",".join(origins) or None

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: str | None) -> str | None:
        if value is not None and not _DATABASE.match(value):
            raise ValueError(
                "The database must be SQLite or PostgreSQL, such as sqlite:///catdog.db or "
                "postgresql+psycopg://user:password@host/name"
            )
        return value

    @property
    def data_dir(self) -> Path:
        """Imported images: `train/<class>/…` and `test/<class>/…`."""
        return self.home / "data"

    @property
    def retrain_dir(self) -> Path:
        """Images kept for the next training: `<class>/…`."""
        return self.home / "retrain_data"

    @property
    def jobs_dir(self) -> Path:
        """Intermediate files of running jobs: `<id>/…`; removed when they end."""
        return self.home / "jobs"

    @property
    def models_dir(self) -> Path:
        """Model versions, backbones and `champion.json`."""
        return self.home / "models"

    @property
    def resolved_database_url(self) -> str:
        """The database in use, as an SQLAlchemy URL."""
        return self.database_url or _sqlite_url(self.home / "catdog.db")

    @property
    def resolved_tracking_uri(self) -> str:
        """The MLflow store in use."""
        return self.tracking_uri or _sqlite_url(self.home / "mlflow.db")

    @property
    def resolved_host(self) -> str:
        """The address in use: this machine only, unless `CATDOG_HOST` or `PORT` is set."""
        return self.host or ("127.0.0.1" if self.port is None else "0.0.0.0")

    @property
    def resolved_port(self) -> int:
        """The port in use."""
        return self.port or 5000

    @property
    def resolved_workers(self) -> int:
        """Web processes in use: the setting, or one per available core."""
        return self.workers or available_cores()

    @property
    def resolved_threads(self) -> int:
        """Threads in use: the setting, or one per available core."""
        return self.threads or available_cores()


def _without_blanks(source: Any) -> Any:
    """Ignore blank values, except for the key: a blank key is an error rather than no key."""

    def is_set(name: str, value: Any) -> bool:
        return not isinstance(value, str) or bool(value.strip()) or name.casefold().endswith("api_key")

    return lambda: {name: value for name, value in source().items() if is_set(name, value)}


def available_cores() -> int:
    """Return the number of cores this process may use; in a container, fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_settings(*, serving: bool = False, overridden: Set[str] = frozenset(), **overrides: Any) -> Settings:
    """Read the settings; `overrides` (by field name) win over variables, and those over `.env`.

    Args:
        serving: whether the server reads them. Otherwise an invalid `PORT` or `WEB_CONCURRENCY` is ignored: it may be
            meant for another server.
        overridden: settings, by field name, that options override; their invalid values are ignored.
        overrides: settings by field name; None means not given.

    Raises:
        SettingsError: a value is invalid; names the variable, the rule and the value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    # Reading a pipe of that name would block.
    given["_env_file"] = ENV_FILE if is_readable(Path(ENV_FILE)) else None
    _warn_of_unknown(given["_env_file"])
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = error.errors()
    wrong = {_field_of(problem) for problem in problems}
    if wrong <= (overridden if serving else SERVING) - given.keys():
        return Settings(**given, **{name: Settings.model_fields[name].default for name in wrong})
    raise SettingsError("; ".join(map(_explain, problems)))


def _warn_of_unknown(env_file: str | None) -> None:
    """Warn about unknown `CATDOG_*` variables, which are probably typos."""
    from dotenv import dotenv_values

    given = {**(dotenv_values(env_file, encoding="utf-8-sig", interpolate=False) if env_file else {}), **os.environ}
    known = {variable_name(field) for field in Settings.model_fields}
    for name in sorted(given):
        if name.upper().startswith("CATDOG_") and name.upper() not in known and not _OTHERS.fullmatch(name.upper()):
            if name == "CATDOG_PORT" and not str(given[name]).isdecimal():
                continue
            nearest = difflib.get_close_matches(name.upper(), known, 1) or difflib.get_close_matches(
                name[7:].upper(), known, 1
            )
            warn_once(f"Unknown setting {name[:100]}." + (f" Did you mean {nearest[0]}?" if nearest else ""))


def variable_name(field: str) -> str:
    """Return the environment variable that sets `field`."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"CATDOG_{field.upper()}"


def _sqlite_url(path: Path) -> str:
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path)).render_as_string()  # quotes "?" and "%20" in a folder's name


def _field_of(problem: Any) -> str:
    location = str(problem["loc"][0]) if problem["loc"] else "settings"
    return next((name for name in Settings.model_fields if variable_name(name) == location), location)


_SECRET: Final = frozenset({"api_key", "rate_limit_storage", "database_url", "tracking_uri"})
"""Settings whose values are never shown: a URL may contain a password."""


def _explain(problem: Any) -> str:
    field = _field_of(problem)
    name = variable_name(field) if field in Settings.model_fields else field
    value = problem["input"]
    shown = "value hidden" if field in _SECRET else f"got {_shortened(repr(_plain(value)))}"
    rule = "The value is empty" if problem["type"] == "string_too_short" else problem["msg"]
    return f"{name}: {rule.removeprefix('Value error, ')} ({shown})."


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"
