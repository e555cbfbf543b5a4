"""Forms in memory: what Werkzeug's parser reads of them, this reads too."""

import io

import pytest
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import MultiPartParser
from werkzeug.test import EnvironBuilder, encode_multipart

from catdog.web.requests.forms import read_form

ANYTHING = bytes(range(256)) * 40 + b"\r\n--\r\n\r\n--b"


def form(**fields: object) -> tuple[bytes, str]:
    boundary, body = encode_multipart(fields, "b0undary")
    return body, boundary


def file(content: bytes, name: str = "a.jpg") -> FileStorage:
    return FileStorage(io.BytesIO(content), name)


@pytest.mark.parametrize("content", [b"", b"x", b"\r\n", ANYTHING, b"--b0undar", b"\r\n--b0undar"])
@pytest.mark.parametrize("name", ["a.jpg", "", "../../x", 'q"uo\\te.jpg', "ä ö.jpg", "n" * 300])
def test_it_reads_what_werkzeug_reads(content: bytes, name: str) -> None:
    body, boundary = form(image=file(content, name), text="words", file=file(b"second"))
    texts, files = MultiPartParser().parse(io.BytesIO(body), boundary.encode(), len(body))
    expected = {("image", True): content, ("text", False): b"words", ("file", True): b"second"}
    assert {(part.name, part.is_file): part.content for part in read_form(body, boundary, 100)} == expected
    assert texts["text"].encode() == b"words"
    assert files["file"].read() == b"second"


def test_parts_keep_their_order_and_their_names() -> None:
    builder = EnvironBuilder(method="POST", data={"image": [file(b"%d" % i) for i in range(20)]})
    environ = builder.get_environ()
    boundary = environ["CONTENT_TYPE"].partition("boundary=")[2].strip('"')
    parts = read_form(environ["wsgi.input"].read(), boundary, 100)
    assert [part.content for part in parts] == [b"%d" % i for i in range(20)]


def test_text_around_a_form_is_ignored() -> None:
    body, boundary = form(image=file(b"x"))
    assert [p.content for p in read_form(b"Hello\r\n" + body.lstrip() + b"Bye", boundary, 100)] == [b"x"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body[:0], "begins the boundary"),
        (lambda body: body.replace(b"b0undary", b"another"), "begins the boundary"),
        (lambda body: b"x" + body.lstrip(), "begins the boundary"),
        (lambda body: body[: len(body) // 2], "byte"),
        (lambda body: body[:-24], "has no end"),
        (lambda body: body.replace(b"--b0undary\r\n", b"--b0undaryX\r\n"), "follows the boundary"),
        (lambda body: body.replace(b"Content-Disposition", b"Content-Odd"), "names no field"),
        (lambda body: body.replace(b"form-data;", b"attachment;"), "names no field"),
        (lambda body: body.replace(b"Content-Type", b"X" * 9000 + b": 1\r\nContent-Type"), "no end of its header"),
    ],
)
def test_what_is_no_form_is_refused(change: object, said: str) -> None:
    body, boundary = form(image=file(b"x" * 100))
    with pytest.raises(ValueError, match=said):
        read_form(change(body), boundary, 100)  # type: ignore[operator]


@pytest.mark.parametrize("boundary", ["", "b" * 201, "bü"])
def test_a_boundary_has_1_to_200_characters(boundary: str) -> None:
    with pytest.raises(ValueError, match="its boundary has"):
        read_form(b"--", boundary, 100)


def test_a_truncated_form_is_refused_or_gains_no_part() -> None:
    body, boundary = form(image=file(ANYTHING), file=file(b"y"))
    for cut in range(len(body) - 2):
        try:
            parts = read_form(body[:cut], boundary, 100)
        except ValueError:
            continue
        assert [part.content for part in parts] == [ANYTHING, b"y"], cut


def test_parts_are_bounded() -> None:
    body, boundary = form(**{f"f{i}": "x" for i in range(10)})
    assert len(read_form(body, boundary, 10)) == 10
    with pytest.raises(RequestEntityTooLarge):
        read_form(body, boundary, 9)
