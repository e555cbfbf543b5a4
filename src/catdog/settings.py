"""Every knob, typed and immutable, read from `CATDOG_*` variables and `.env`.

Reading settings writes nothing and creates nothing. `docs/settings.md` lists each field; a test holds it.
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
"""Variables that are no settings: those of tests and documents, and what Kubernetes makes for a service `catdog`."""

ENV_FILE: Final = ".env"
MAX_BYTES: Final = 2**50
"""Most that a setting in bytes can be: a petabyte, which every place that keeps it can count."""

SERVING: Final = frozenset({"port", "workers"})
"""Settings that other programs set too, so that one that is not allowed stops nothing but the server."""

_RATE: Final = re.compile(r"[1-9][0-9]{0,8}/(second|minute|hour|day)")
_KEY: Final = re.compile(r"[!-~]([ -~]*[!-~])?")
_LONGEST_KEY: Final = 1024
_DATABASE: Final = re.compile(r"(sqlite|postgresql)(\+[a-z0-9_]+)?://")
_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", re.IGNORECASE)


class Settings(BaseSettings):
    """What can be set. The variable is the field's name in capitals behind `CATDOG_`."""

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

    home: Path = Field(Path(), description="Folder under which catdog keeps everything: data, models, databases.")
    database_url: str | None = Field(
        None,
        description="SQLAlchemy URL of the database. Unset: the SQLite file `catdog.db` in the home folder.",
    )
    precision: Precision = Field(
        "auto",
        description="Arithmetic of the backbone: `bf16`, `f32`, or `auto` (bf16 where the processor has it).",
    )
    threads: int = Field(0, ge=0, le=256, description="Threads for decoding and inference; 0 means one a core.")
    max_pixels: int = Field(
        64_000_000,
        ge=1,
        le=10**9,
        description="Maximum pixels per image, checked before decoding. `CATDOG_MAX_DECODE_BYTES` sets lower ones for "
        "formats that cannot be decoded at a reduced scale.",
    )
    max_side: int = Field(16_384, ge=1, le=10**6, description="Maximum side of an image in pixels.")
    max_decode_bytes: int = Field(
        155_000_000,
        ge=16_000_000,
        le=MAX_BYTES,
        description="Memory that decoding one image may take, in bytes. The default allows 64 megapixels of baseline "
        "JPEG, 50 of progressive JPEG (25 without chroma subsampling), 34 of PNG in colour, 64 of PNG in grey or with "
        "a palette, 12 of WebP, and 15 of AVIF (11 with transparency).",
    )
    max_picture_bytes: int = Field(
        64 * 2**20, ge=1, le=MAX_BYTES, description="Most bytes that one picture file of a data set may have."
    )
    test_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of pictures held out for testing where the data has no test folder.",
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="Share of training pictures held out to choose the best epoch."
    )
    unsure_below: float = Field(
        0.65, ge=0, le=1, description="Confidence under which the verdict is `unsure` and not a class."
    )
    weights_url: str = Field(
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        description="Where `--backbone imagenet` fetches the ImageNet weights; name a mirror where that is blocked.",
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
        description="Address that the server listens on. Unset: `127.0.0.1`, or `0.0.0.0` where `PORT` is set.",
    )
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        validation_alias="PORT",
        description="Port that the server listens on; hosting services set it. Unset: 5000, for this machine only.",
    )
    workers: int = Field(
        0, ge=0, le=256, validation_alias="WEB_CONCURRENCY", description="Web processes; 0 means one a core."
    )
    api_key: SecretStr | None = Field(
        None,
        description="Key that a request needs to change anything. Unset: only this machine may change something.",
    )
    worker: Literal["child", "external"] = Field(
        "child",
        description="Where jobs run: in a `child` process of the server, or `external`, by `catdog worker` elsewhere.",
    )
    promote: Literal["auto", "manual"] = Field(
        "auto",
        description="Whether retraining promotes what passes the gate (`auto`) or leaves that to a person (`manual`).",
    )
    max_upload_bytes: int = Field(
        25 * 2**20, ge=1, le=MAX_BYTES, description="Most bytes of one picture that is sent to the server."
    )
    max_request_bytes: int = Field(
        32 * 2**20, ge=1, le=MAX_BYTES, description="Most bytes of one request to the server."
    )
    max_batch: int = Field(100, ge=1, le=10**6, description="Most pictures in one request to the server.")
    max_upload_files: int = Field(500, ge=1, le=10**6, description="Most pictures in one request that adds pictures.")
    max_upload_total_bytes: int = Field(
        256 * 2**20,
        ge=1,
        le=MAX_BYTES,
        description="Most bytes of one request that adds pictures; these go over the disk.",
    )
    max_kept_pictures: int = Field(
        100_000, ge=1, le=10**9, description="Most pictures kept for retraining, removed and waiting ones too."
    )
    max_kept_bytes: int = Field(
        10 * 2**30, ge=1, le=MAX_BYTES, description="Most bytes of pictures kept for retraining."
    )
    min_free_bytes: int = Field(
        256 * 2**20, ge=0, le=MAX_BYTES, description="Bytes of the disk that pictures for retraining leave free."
    )
    removed_days: float = Field(
        30, ge=0, le=36_500, description="Days that a removed picture can be restored before `purge` deletes it."
    )
    session_hours: int = Field(
        12, ge=1, le=24 * 365, description="Hours that signing in with the key on the page is good for."
    )
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Proxies before the server whose `X-Forwarded-*` is believed, one behind another; 0 believes none.",
    )
    rate_limit: str = Field(
        "600/minute", description="Requests an address, as `600/minute` (or second, hour, day), or `off`."
    )
    rate_limit_changes: str = Field("60/minute", description="Requests an address that change something.")
    rate_limit_keys: str = Field("10/minute", description="Wrong keys an address; on this machine too.")
    rate_limit_local: bool = Field(
        False, description="Whether the first two limits are for clients on this machine too, who come by no proxy."
    )
    rate_limit_storage: str = Field(
        "memory",
        repr=False,
        description="Where requests are counted: `memory`, each process for itself, or `redis://…`, all together.",
    )
    cors_origins: str | None = Field(
        None,
        description="Sites whose pages may call the API: `https://a.example`, more behind commas, or `*`. Unset: none.",
    )
    history_days: int = Field(
        90, ge=1, le=3650, description="Days for which the server keeps its counts by hour; totals are kept for ever."
    )
    drift_threshold: float = Field(
        0.2, gt=0, le=1, description="Drift score from which on the server warns, if it is more than chance."
    )
    log: LogForm = Field(
        "text",
        description="What the server logs: `text`, starts, ends and warnings; `json`, each request too, as lines.",
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
        """Take a variable of blanks for one that is not set."""
        return init_settings, _without_blanks(env_settings), _without_blanks(dotenv_settings), file_secret_settings

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if "\0" in str(value):
            raise ValueError("A path holds no NUL")
        try:
            return value.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"The home folder of that user is not known: {error}") from error
        except FileNotFoundError as error:
            raise ValueError("The working directory is gone; go to another, or name a folder from / on") from error

    @field_validator("api_key")
    @classmethod
    def _no_weak_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():  # a variable that is set to nothing, as in compose files
            return None
        key = value.get_secret_value()
        if not 16 <= len(key) <= _LONGEST_KEY:
            raise ValueError(
                f"A key needs at least 16 characters, and at most {_LONGEST_KEY:,}; `openssl rand -hex 32` makes one"
            )
        # Clients send it in a header: those bring ASCII, and lose spaces at the ends.
        if not _KEY.fullmatch(key):
            raise ValueError(
                "A key is sent in a header, so it may hold letters without accents, digits and punctuation, and must "
                "not begin or end with a space; `openssl rand -hex 32` makes one"
            )
        return value

    @field_validator("rate_limit", "rate_limit_changes", "rate_limit_keys")
    @classmethod
    def _rate(cls, value: str) -> str:
        if value != "off" and not _RATE.fullmatch(value):
            raise ValueError("A rate is a number from 1 on and a time, such as 10/second, 600/minute, 1/day, or off")
        return value

    @field_validator("rate_limit_storage")
    @classmethod
    def _storage(cls, value: str) -> str:
        if value != "memory" and not value.startswith(("redis://", "rediss://", "redis+unix://")):
            raise ValueError("Either memory or the URL of a Redis server is needed, such as redis://localhost:6379/0")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: str | None) -> str | None:
        origins = [origin.strip() for origin in (value or "").split(",") if origin.strip()]
        if origins != ["*"] and not all(map(_ORIGIN.fullmatch, origins)):
            raise ValueError("Origins are scheme://name or scheme://name:port, with commas between, or * alone")
        return ",".join(origins) or None

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: str | None) -> str | None:
        if value is not None and not _DATABASE.match(value):
            raise ValueError(
                "The URL of SQLite or PostgreSQL is needed, such as sqlite:///catdog.db or "
                "postgresql+psycopg://user:password@host/name"
            )
        return value

    @property
    def data_dir(self) -> Path:
        """Imported pictures: `train/<class>/…` and `test/<class>/…`."""
        return self.home / "data"

    @property
    def retrain_dir(self) -> Path:
        """Pictures kept for the next training: `<class>/…`."""
        return self.home / "retrain_data"

    @property
    def jobs_dir(self) -> Path:
        """What a job under way has made so far: `<id>/…`; removed when it ends."""
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
        """The address in use: this machine only, unless a host or a hosting service's port is set."""
        return self.host or ("127.0.0.1" if self.port is None else "0.0.0.0")

    @property
    def resolved_port(self) -> int:
        """The port in use."""
        return self.port or 5000

    @property
    def resolved_workers(self) -> int:
        """Web processes in use: the setting, or one for each core that this process may run on."""
        return self.workers or available_cores()

    @property
    def resolved_threads(self) -> int:
        """Threads in use: the setting, or one for each core that this process may run on."""
        return self.threads or available_cores()


def _without_blanks(source: Any) -> Any:
    """Leave out what is set to blanks, but for a key: who set that wants one, and is told that it is none."""

    def is_set(name: str, value: Any) -> bool:
        return not isinstance(value, str) or bool(value.strip()) or name.casefold().endswith("api_key")

    return lambda: {name: value for name, value in source().items() if is_set(name, value)}


def available_cores() -> int:
    """Count the cores that this process may run on, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_settings(*, serving: bool = False, passed_over: Set[str] = frozenset(), **overrides: Any) -> Settings:
    """Read the settings; `overrides` (by field name) win over variables, and those over `.env`.

    Args:
        serving: whether this is for the server. Otherwise a `PORT` or `WEB_CONCURRENCY` that is not allowed is passed
            over: it is meant for a server, perhaps another one.
        passed_over: settings, by field name, that an option decides: what is not allowed of them is passed over.
        overrides: settings by field name; None stands for not given.

    Raises:
        SettingsError: a value is not allowed; names the variable, the rule and the value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    # A pipe of that name would be waited for.
    given["_env_file"] = ENV_FILE if is_readable(Path(ENV_FILE)) else None
    _warn_of_unknown(given["_env_file"])
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = error.errors()
    wrong = {_field_of(problem) for problem in problems}
    if wrong <= (passed_over if serving else SERVING) - given.keys():
        return Settings(**given, **{name: Settings.model_fields[name].default for name in wrong})
    raise SettingsError("; ".join(map(_explain, problems)))


def _warn_of_unknown(env_file: str | None) -> None:
    """Warn of variables that are called like settings and are none: a typing error would go unnoticed."""
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
            warn_once(f"{name[:100]} is no setting" + (f". Did you mean {nearest[0]}?" if nearest else "."))


def variable_name(field: str) -> str:
    """Name the environment variable that sets `field`."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else f"CATDOG_{field.upper()}"


def _sqlite_url(path: Path) -> str:
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path)).render_as_string()  # a "?" or "%20" in a folder's name is quoted


def _field_of(problem: Any) -> str:
    location = str(problem["loc"][0]) if problem["loc"] else "settings"
    return next((name for name in Settings.model_fields if variable_name(name) == location), location)


_SECRET: Final = frozenset({"api_key", "rate_limit_storage", "database_url", "tracking_uri"})
"""Settings whose values are not shown: a URL may hold a password."""


def _explain(problem: Any) -> str:
    field = _field_of(problem)
    name = variable_name(field) if field in Settings.model_fields else field
    value = problem["input"]
    received = _shortened(repr(str(value) if isinstance(value, Path) else value))
    if field in _SECRET:
        received = "a value that is not shown"
    said = "The value is empty" if problem["type"] == "string_too_short" else problem["msg"]
    return f"{name}: {said.removeprefix('Value error, ')}. Received: {received}"


def _shortened(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"
