import hashlib
import json
import os
import threading
from pathlib import Path

import pytest

from catdog.errors import VersionCorruptError
from catdog.storage.files import file_sha256, require_checksums, sync_tree, write_atomically, write_json


def test_the_hash_covers_the_bytes(tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    (tmp_path / "x").write_bytes(data)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(data).hexdigest()


def test_files_with_their_checksums_pass(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "not named").write_bytes(b"b")
    require_checksums(tmp_path, {"a": hashlib.sha256(b"a").hexdigest()})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VersionCorruptError, match=r"missing: .*head\.npz"):
        require_checksums(tmp_path, {"head.npz": "0" * 64})


def test_a_changed_file_is_named_with_both_hashes(tmp_path: Path) -> None:
    (tmp_path / "head.npz").write_bytes(b"changed")
    expected, actual = hashlib.sha256(b"as saved").hexdigest(), hashlib.sha256(b"changed").hexdigest()
    with pytest.raises(VersionCorruptError, match=rf"head\.npz .*{actual[:12]}.*expected {expected[:12]}"):
        require_checksums(tmp_path, {"head.npz": expected})


def test_json_can_be_read_back_and_is_human_readable(tmp_path: Path) -> None:
    document = {"class": "Kätzchen", "n": [1, 2.5, None]}
    write_json(tmp_path / "x.json", document)
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert json.loads(text) == document
    assert "Kätzchen" in text
    assert text.endswith("}\n")


def test_writing_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    for data in (b"old", b"new and longer", b""):
        write_atomically(tmp_path / "x", data)
        assert (tmp_path / "x").read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_written_files_are_readable_by_other_users(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x", b"data")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("broken", ["os.fsync", "pathlib.Path.replace"])
def test_a_failed_write_leaves_the_old_bytes_and_no_leftovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    write_atomically(tmp_path / "x", b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(broken, fail)
        with pytest.raises(OSError, match="disk full"):
            write_atomically(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_bytes_are_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def record_fsync(descriptor: int) -> None:
        steps.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")  # noqa: PTH112
        fsync(descriptor)

    def record_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(Path, "replace", record_replace)
    write_atomically(tmp_path / "x", b"data")
    if Path("/proc/self/fd").exists():
        assert steps == ["file", "rename", "folder"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    versions = [bytes([i]) * 200_000 for i in range(20)]
    write_atomically(path, versions[0])
    seen, stop = [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for data in versions:
        write_atomically(path, data)
    stop.set()
    reader.join()
    assert seen
    assert all(data in versions for data in seen)


def test_a_whole_tree_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x")
    (tmp_path / "top").write_bytes(b"x")
    flushed: set[int] = set()
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.add(os.fstat(descriptor).st_ino))
    sync_tree(tmp_path)
    assert flushed == {path.stat().st_ino for path in (tmp_path, *tmp_path.rglob("*"))}
