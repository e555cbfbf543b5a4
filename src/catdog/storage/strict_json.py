"""JSON as others read it: NaN and infinity are none, so null stands in their place."""

import json
import logging
import math
from typing import Any

_log = logging.getLogger(__name__)


def dumps(document: Any, **options: Any) -> str:
    """Write a document as JSON; `options` are those of `json.dumps`.

    What computes a number gives a defined one, or None. If one slips through, that's a fault, which is logged; the
    answer goes out all the same, with null in its place.
    """
    try:
        return json.dumps(document, allow_nan=False, **options)
    except ValueError as error:
        if "circular" in str(error).lower():
            raise
        _log.exception("A number that JSON does not have was to be written; null is in its place.")
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
