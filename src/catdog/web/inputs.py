"""How `.input` reads a request: JSON by the strict parser, and every error as a sentence that names the field."""

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from apiflask import Schema
from apiflask.fields import Integer, List, String
from apiflask.schema_adapters.marshmallow import parser
from apiflask.validators import Length, Range
from flask import Request, has_app_context
from marshmallow import EXCLUDE, ValidationError, missing
from webargs.multidictproxy import MultiDictProxy

from catdog.data.labels import probability_key
from catdog.errors import MediaTypeError, RequestError
from catdog.text import listed
from catdog.web.requests.bodies import FORMS, read_document
from catdog.web.service import live_model

_SHOWN: Final = 100
"""Maximum characters of a wrong value in an error."""

_CLASSES_SHOWN: Final = 20


class Input(Schema):
    """What a route reads from a request; other fields are ignored. Messages of fields follow the field's name."""

    class Meta:  # noqa: D106
        unknown = EXCLUDE

    error_messages = {"type": "The body must be a JSON object."}  # noqa: RUF012  # marshmallow's


class ClassName(String):
    """The name of a class. OpenAPI and errors list the classes of the model in use."""

    def __init__(self, *, only_keys: bool = False, **more: Any) -> None:
        self._only_keys = only_keys
        super().__init__(**more)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Metadata for OpenAPI, with the classes as an enum if there is a model."""
        names = class_names(only_keys=self._only_keys)
        return {**self._given, **({"enum": names} if names else {})}

    @metadata.setter
    def metadata(self, given: Mapping[str, Any]) -> None:
        self._given = given

    def make_error(self, key: str, **kwargs: Any) -> ValidationError:  # noqa: ARG002
        """Return the same error whether the name is missing, blank or no text."""
        names = class_names(only_keys=True)
        return ValidationError(f"must be {f'one of {listed(names, most=_CLASSES_SHOWN)}' if names else 'a class'}.")

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        name: str = super()._deserialize(value, *args, **kwargs)
        if not name.strip():
            raise self.make_error("required")
        return name


class Number(Integer):
    """A number in a query, from 1 to `most`."""

    def __init__(self, default: int, most: int) -> None:
        super().__init__(load_default=default, validate=Range(1, most))
        self._most = most

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> int:
        is_number = value.isascii() and value.isdecimal() and len(value) < 10  # int() accepts signs, spaces and _
        if not (is_number and 1 <= int(value) <= self._most):
            raise ValidationError(f"must be a number from 1 to {self._most:,}, not {value[:_SHOWN]!r}.")
        return int(value)


class TextIds(String):
    """Ids in a query, separated by commas."""

    def __init__(self, most: int) -> None:
        self._most = most
        super().__init__(metadata={"pattern": f"^[1-9][0-9]{{0,8}}(,[1-9][0-9]{{0,8}}){{0,{most - 1}}}$"})

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> Any:
        if not re.fullmatch(self.metadata["pattern"], value):
            raise ValidationError(f"must be 1 to {self._most} ids, such as 3,14, not {value[:_SHOWN]!r}.")
        return [int(number) for number in value.split(",")]


class Ids(List[int]):
    """Ids in JSON. 1.0 is an integer in JSON Schema (6.1.1)."""

    def __init__(self, most: int, largest: int) -> None:
        self._most, self._largest = most, largest
        super().__init__(Integer(validate=Range(1, largest)), required=True, validate=Length(1, most))

    def make_error(self, key: str, **kwargs: Any) -> ValidationError:
        """Return the error for missing ids, and for wrong ones in `input`."""
        given = f"not {str(kwargs['input'])[:_SHOWN]}" if key == "invalid" else "but are missing"
        return ValidationError(f'must be 1 to {self._most:,} ids of uploads, as in {{"ids": [1, 2]}}, {given}.')

    def _deserialize(self, value: Any, *_args: Any, **_kwargs: Any) -> list[Any]:
        if not isinstance(value, list) or not 0 < len(value) <= self._most or not all(map(self._is_id, value)):
            raise self.make_error("invalid", input=value)
        return [int(number) for number in value]

    def _is_id(self, value: object) -> bool:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return type(value) is int and 0 < value <= self._largest


def read(schema: type[Schema], location: str) -> Any:
    """Return what a page's view reads from the request, as `.input` does for the API."""
    return parser.parse(schema(), location=location)


def class_names(*, only_keys: bool = False) -> list[str]:
    """Return the names by which requests may name a class of the model in use; none without a model."""
    if not has_app_context() or not live_model().is_ready:  # without an app, the document names no class
        return []
    classes = live_model().predictor.version.classes
    return list(dict.fromkeys([*(() if only_keys else classes), *map(probability_key, classes)]))


@parser.location_loader("json")
def _load_json(request: Request, _schema: Schema) -> Any:
    document = read_document(request)
    return missing if document is None else document


@parser.location_loader("json_or_form")
def _load_json_or_form(request: Request, schema: Schema) -> Any:
    if request.mimetype in FORMS:
        return MultiDictProxy(request.form, schema)
    if not request.is_json and any(field.required for field in schema.fields.values()):
        kind = request.mimetype[:_SHOWN] or "without a Content-Type"
        raise MediaTypeError(f"The body must be a form or JSON, not {kind}.")
    return _load_json(request, schema)


@parser.error_handler
def _refuse(error: ValidationError, *_args: Any, **_kwargs: Any) -> NoReturn:
    """Raise the first error of a field as an error of the API."""
    _, fields = next(iter(error.messages_dict.items()))
    name, messages = next(iter(fields.items()))
    raise RequestError(messages[0] if name == "_schema" else f"`{name}` {messages[0]}")
