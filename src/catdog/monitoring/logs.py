"""How the server's processes log: warnings as text, or everything as a line of JSON, whoever of them writes it."""

import json
import logging
import time
from typing import Any

from catdog.settings import Settings


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, what the record brings in `fields`, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
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


def configure_log(settings: Settings, *, anew: bool = False) -> None:
    """Set up logging to standard error, where the program hasn't; with `CATDOG_LOG=json` in JSON whatever it has.

    Args:
        settings: the form of the lines.
        anew: whether to replace what the program has set up.
    """
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, force=anew)
    if settings.log == "json":
        write_json(logging.getLogger())
        logging.captureWarnings(True)


def write_json(logger: logging.Logger) -> None:
    """Let the handlers that a logger has of its own write lines of JSON."""
    for handler in logger.handlers:
        handler.setFormatter(JsonLines())
