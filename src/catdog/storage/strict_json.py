"""Standard JSON, in which NaN and infinity are written as null."""

import json
import logging
import math
from typing import Any

_log = logging.getLogger(__name__)


def dumps(document: Any, **options: Any) -> str:
    """Return a document as JSON; `options` are those of `json.dumps`.

    NaN and infinity are bugs in the caller: they are logged and written as null, so the response still goes out.
    """
    try:
        return json.dumps(document, allow_nan=False, **options)
    except ValueError as error:
        if "circular" in str(error).lower():
            raise
        _log.exception("NaN or infinity isn't valid JSON and was written as null.")
        return json.dumps(_with_null(document), allow_nan=False, **options)


def _with_null(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_key(key): _with_null(found) for key, found in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(found) for found in value]
    return value


def _key(key: Any) -> Any:
    return str(key) if isinstance(key, float) and not math.isfinite(key) else key
