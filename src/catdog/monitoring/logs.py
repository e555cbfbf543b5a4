"""Logging of the server's processes: warnings as text, or everything as JSON lines."""

import json
import logging
import time
from typing import Any

from catdog.settings import Settings


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON: time, level, logger, message, its `fields`, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record."""
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_log(settings: Settings, *, force: bool = False) -> None:
    """Set up logging to standard error, unless the program has; `CATDOG_LOG=json` also applies to its handlers.

    Args:
        settings: the settings, with the format.
        force: whether to replace the program's own setup.
    """
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, force=force)
    if settings.log == "json":
        write_json(logging.getLogger())
        logging.captureWarnings(True)


def write_json(logger: logging.Logger) -> None:
    """Make a logger's own handlers write JSON lines."""
    for handler in logger.handlers:
        handler.setFormatter(JsonLines())
