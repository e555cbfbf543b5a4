"""Which JSON the reader accepts, and which it rejects before or after parsing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from catdog.storage.json_reader import MAX_DEPTH, JsonError, count_values, parse_json, read_json_file

REFUSED = {
    "nested arrays": (b"[" * 100_000 + b"]" * 100_000, "nested"),
    "nested arrays that do not end": (b"[" * 100_000, "nested"),
    "nested objects": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested"),
    "nested behind strings with brackets": (b'["]]]]\\"]",' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"]", "nested"),
    "half of a surrogate pair": (rb'{"a": ["\ud83d"]}', "surrogate"),
    "half of a surrogate pair in a key": (rb'{"\uDE00": 1}', "surrogate"),
    "NUL": (rb'["a\u0000b"]', "NUL"),
    "a key twice": (b'{"a": 1, "b": {"c": 1, "c": 2}}', "'c' twice"),
    "an integer of 5,000 digits": (b"[" + b"9" * 5000 + b"]", "valid JSON"),
    "UTF-16": ("{}".encode("utf-16"), "UTF-8"),
    "UTF-16 without a mark": ("{}".encode("utf-16-be"), "valid JSON"),
    "Latin-1": ('"ä"'.encode("latin-1"), "UTF-8"),
    "nothing": (b"", "valid JSON"),
    "two": (b"{}{}", "valid JSON"),
    "strings that do not end": (b'"\\"' * 200_000 + b"[" * 100, "valid JSON"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_rejected_json_is_explained(name: str, tmp_path: Path) -> None:
    text, words = REFUSED[name]
    with pytest.raises(JsonError, match=words):
        parse_json(text)
    (tmp_path / "file.json").write_bytes(text)
    with pytest.raises(JsonError, match=words):
        read_json_file(tmp_path / "file.json")


@pytest.mark.parametrize(
    "document",
    [None, 1.5, "text", [[]], {"a": {"b": [1, 2]}}, {"smile": "😀"}, ["[[[[" * 1000], ['\\"[' * 100], ["\\u0000"]],
    ids=repr,
)
def test_valid_json_is_read(document: Any) -> None:
    for ensure_ascii in (True, False):
        text = json.dumps(document, ensure_ascii=ensure_ascii).encode()
        assert parse_json(text) == parse_json(b"\xef\xbb\xbf" + text, finite=True) == document
        assert count_values(text) >= text.count(b",")


def test_the_maximum_depth_is_read() -> None:
    text = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse_json(text)
    with pytest.raises(JsonError, match="nested"):
        parse_json(b"[" + text + b"]")


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_nan_and_infinity_from_clients_are_rejected(constant: bytes) -> None:
    assert isinstance(parse_json(b"[" + constant + b"]")[0], float)
    with pytest.raises(JsonError, match="valid JSON"):
        parse_json(b"[" + constant + b"]", finite=True)


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    fifo, large = tmp_path / "fifo.json", tmp_path / "large.json"
    os.mkfifo(fifo)
    with pytest.raises(JsonError, match="regular file"):
        read_json_file(fifo)
    large.write_bytes(b" " * 1001)
    with pytest.raises(JsonError, match="more than 1,000 bytes"):
        read_json_file(large, max_bytes=1000)
    with pytest.raises(OSError, match="directory"):
        read_json_file(tmp_path)
