"""Archives from the wild are read; those made to exhaust memory or disk are rejected."""

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from archives import (
    add_zip64_records,
    greedy_xz,
    header,
    overlapping_zip,
    with_method,
    write_plain_tar,
    write_plain_zip,
)
from drawing import add_drawings, draw, encode

from catdog.data import importing
from catdog.data.archives import unpacking
from catdog.data.importing import import_pictures
from catdog.errors import DatasetError
from catdog.retraining.uploads.intake import Added
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings
from catdog.storage.database import open_database

PETS = {f"{name}s/{i}.png": encode(draw(name, i), "PNG") for name in ("cat", "dog") for i in range(3)}
WHOLE = {"train": {"cats": 3, "dogs": 3}}


def upload(home: Settings, data: bytes) -> Added:
    """Upload an archive as images of cats."""
    engine = open_database(home)
    try:
        return Uploads(home, engine).add([("x.zip", data)], "cats")
    finally:
        engine.dispose()


def plain(tmp_path: Path) -> bytes:
    return write_plain_zip(tmp_path / "plain.zip", PETS).read_bytes()


def from_windows(tmp_path: Path) -> bytes:
    folders = dict.fromkeys(("train\\", "train\\cats\\", "train\\dogs\\"), b"")
    pets = {f"train\\{name}".replace("/", "\\"): data for name, data in PETS.items()}
    return write_plain_zip(tmp_path / "w.zip", folders | pets).read_bytes()


def with_drive(tmp_path: Path) -> bytes:
    pets = {f"C:\\pets\\{name}".replace("/", "\\"): data for name, data in PETS.items()}
    return write_plain_zip(tmp_path / "d.zip", pets).read_bytes()


def with_comment(tmp_path: Path) -> bytes:
    comment = b"made by PK\5\6 hand " * 40
    data = plain(tmp_path)
    return data[:-2] + struct.pack("<H", len(comment)) + comment


READ: dict[str, Callable[[Path], bytes]] = {
    "plain": plain,
    "from Windows, folders end in a backslash": from_windows,
    "from Windows, with a drive": with_drive,
    "small, with Zip64 records": lambda path: add_zip64_records(plain(path)),
    "Zip64 records and a program before it": lambda path: b"MZ" + bytes(500) + add_zip64_records(plain(path)),
    "a comment that looks like an end": with_comment,
    "many zeros behind it": lambda path: plain(path) + bytes(300_000),
    "zeros behind its comment": lambda path: plain(path)[:-2] + b"\5\0hello" + bytes(70_000),
    "something behind it": lambda path: plain(path) + b"\r\n" * 20,
    "a program before it": lambda path: b"MZ self-extracting" * 20 + plain(path),
    "Mac": lambda path: write_plain_zip(
        path / "m.zip", {**PETS, "__MACOSX/cats/._0.png": b"\0\5\26\7", ".DS_Store": b"x"}
    ).read_bytes(),
}


@pytest.mark.parametrize("case", READ)
def test_common_zips_are_imported(settings: Settings, tmp_path: Path, case: str) -> None:
    (tmp_path / "x.zip").write_bytes(READ[case](tmp_path))
    result = import_pictures(tmp_path / "x.zip", settings)
    assert (result.added, result.rejected) == (WHOLE, ())


@pytest.mark.parametrize("case", READ)
def test_common_zips_are_uploaded(home: Settings, tmp_path: Path, case: str) -> None:
    added = upload(home, READ[case](tmp_path))
    assert (added.accepted, added.rejected) == (6, [])


def bomb(tmp_path: Path) -> bytes:
    return write_plain_zip(tmp_path / "b.zip", {"cats/0.png": bytes(300 * 2**20)}, zipfile.ZIP_DEFLATED).read_bytes()


def encrypted(tmp_path: Path) -> bytes:
    return plain(tmp_path).replace(b"PK\1\2\x14\x03\x14\0\0", b"PK\1\2\x14\x03\x14\0\1")


def in_parts(tmp_path: Path) -> bytes:
    data = plain(tmp_path)
    return data[:-18] + struct.pack("<H", 2) + data[-16:]


def lists_a_million(_: Path) -> bytes:
    entry = b"PK\1\2" + bytes(42)
    count = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entry) * count, 4, 0)
    return b"PK\3\4" + entry * count + end


REFUSED: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "cut in half": (lambda path: plain(path)[: len(plain(path)) // 2], "truncated"),
    "without its last bytes": (lambda path: plain(path)[:-5], "truncated"),
    "encrypted": (encrypted, "encrypted"),
    "in parts": (in_parts, "split archive"),
    "first of several parts": (lambda path: b"PK\7\x08" + plain(path)[:300], "split archive"),
    **{
        name: (lambda path, method=method: with_method(plain(path), method), name)  # type: ignore[misc]
        for name, method in {"bzip2": 12, "LZMA": 14, "Deflate64": 9, "zstd": 93, "xz": 95, "method 77": 77}.items()
    },
    "overlapping": (lambda _: overlapping_zip(encode(draw("cat", 1), "PNG"), 250), "overlap"),
    "lists a million": (lists_a_million, "500,000 files|too many files"),
    "damaged list": (lambda path: plain(path).replace(b"PK\1\2", b"PK\1\3"), "damaged"),
    "list said to be larger": (lambda path: plain(path)[:-10] + b"\xff\xff\xff\x7f" + plain(path)[-6:], "list|damaged"),
    "RAR": (lambda _: b"Rar!\x1a\7\1\0" + bytes(50), "RAR"),
    "7z": (lambda _: b"7z\xbc\xaf\x27\x1c" + bytes(50), "7z"),
    "one file by gzip": (lambda _: gzip.compress(PETS["cats/0.png"]), "single file"),
    "zstd": (lambda _: b"\x28\xb5\x2f\xfd" + bytes(50), "zstd"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_unsupported_archive_is_rejected_with_the_reason_and_leaves_nothing(
    settings: Settings, tmp_path: Path, case: str
) -> None:
    make, reason = REFUSED[case]
    (tmp_path / "x.zip").write_bytes(make(tmp_path))
    with pytest.raises(DatasetError, match=reason):
        import_pictures(tmp_path / "x.zip", settings)
    assert list(settings.home.rglob("*.*")) == []


@pytest.mark.parametrize("case", [*REFUSED, "bomb"])
def test_an_unsupported_upload_is_rejected_with_the_reason(home: Settings, tmp_path: Path, case: str) -> None:
    make, reason = (bomb, "would unpack to") if case == "bomb" else REFUSED[case]
    added = upload(home, make(tmp_path))
    assert added.accepted == 0
    assert len(added.rejected) == 1
    assert any(word in added.rejected[0].reason for word in reason.split("|"))


def test_a_bomb_is_not_unpacked_by_an_import(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**20)
    (tmp_path / "x.zip").write_bytes(bomb(tmp_path))
    with pytest.raises(DatasetError, match="would unpack to 314,572,800 bytes"):
        import_pictures(tmp_path / "x.zip", settings)


@pytest.mark.parametrize("name", ["train.zip", "train.tar.gz", "train.rar", "train.7z"])
def test_a_nested_archive_is_reported(settings: Settings, home: Settings, tmp_path: Path, name: str) -> None:
    inner = {
        "train.zip": plain(tmp_path),
        "train.tar.gz": write_plain_tar(tmp_path / "t.tar.gz", PETS, "w:gz").read_bytes(),
        "train.rar": b"Rar!\x1a\7\1\0" + bytes(50),
        "train.7z": b"7z\xbc\xaf\x27\x1c" + bytes(50),
    }[name]
    archive = write_plain_zip(tmp_path / "x.zip", {name: inner, "sample.csv": b"id\n"})
    with pytest.raises(DatasetError, match=rf"{name}: It is an archive itself"):
        import_pictures(archive, settings)
    reasons = {refused.name: refused.reason for refused in upload(home, archive.read_bytes()).rejected}
    assert reasons[f"x.zip/{name}"].startswith("It is an archive itself")


def test_archives_in_a_folder_are_reported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    write_plain_zip(tmp_path / "pets" / "train.zip", PETS)
    with pytest.raises(DatasetError, match=r"train\.zip: It is an archive itself"):
        import_pictures(tmp_path / "pets", settings)


def test_an_empty_archive_is_reported_as_empty(settings: Settings, home: Settings, tmp_path: Path) -> None:
    for archive in (write_plain_zip(tmp_path / "x.zip", {}), write_plain_tar(tmp_path / "x.tar", {})):
        with pytest.raises(DatasetError, match="is empty"):
            import_pictures(archive, settings)
    assert "empty" in upload(home, (tmp_path / "x.zip").read_bytes()).rejected[0].reason


def test_images_with_the_same_name_are_all_kept(settings: Settings, home: Settings, tmp_path: Path) -> None:
    other, third = encode(draw("cat", 77), "PNG"), encode(draw("cat", 78), "PNG")
    archive = write_plain_zip(tmp_path / "x.zip", {**PETS, "../cats/0.png": other})
    with zipfile.ZipFile(archive, "a") as zipped, pytest.warns(UserWarning, match="Duplicate"):
        zipped.writestr("cats/0.png", third)
    assert import_pictures(archive, settings).added == {"train": {"cats": 5, "dogs": 3}}
    assert upload(home, archive.read_bytes()).accepted == 8


@pytest.mark.parametrize(
    ("encoding", "cats", "dogs"),
    [
        ("utf-8", "猫", "犬 🐶"),
        ("cp932", "猫のしゃしん", "犬のしゃしん"),
        ("gbk", "猫咪", "小狗"),
        ("cp850", "Kätzchen", "Hündchen"),
        ("latin-1", "café", "Hündchen"),
        ("cp437", "gatós", "perros"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_of_undeclared_encoding_are_decoded(
    settings: Settings, tmp_path: Path, encoding: str, cats: str, dogs: str, kind: str
) -> None:
    raw = {"XXXX": cats.encode(encoding), "YYYY": dogs.encode(encoding)}
    pets = {name.replace("cats", "XXXX").replace("dogs", "YYYY"): data for name, data in PETS.items()}
    if kind == "zip":
        archive = write_zip_of_raw_names(tmp_path / "x.zip", pets, raw)
    else:
        archive = tmp_path / "x.tar"
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
            for name, data in pets.items():
                shown = raw[name[:4]].decode("utf-8", "surrogateescape") + name[4:]
                entry = tarfile.TarInfo(shown)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    assert import_pictures(archive, settings).added == {"train": {cats: 3, dogs: 3}}


def write_zip_of_raw_names(path: Path, members: dict[str, bytes], raw: dict[str, bytes]) -> Path:
    """Write a zip, replacing the first four bytes of each name."""
    local, central = b"", b""
    for name, data in members.items():
        stored = raw[name[:4]] + name[4:].encode()
        crc = struct.pack("<LLL", zipfile.crc32(data), len(data), len(data))  # type: ignore[attr-defined]
        head = struct.pack("<HHHHH", 20, 0, 0, 0, 33) + crc + struct.pack("<HH", len(stored), 0)
        entry = b"PK\1\2\x14\0" + head + struct.pack("<HHHLL", 0, 0, 0, 0, len(local))
        local += b"PK\3\4" + head + stored + data
        central += entry + stored
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(members), len(members), len(central), len(local), 0)
    path.write_bytes(local + central + end)
    return path


# Tars


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.6])
def test_a_truncated_tar_is_reported(settings: Settings, tmp_path: Path, mode: str, share: float) -> None:
    archive = write_plain_tar(tmp_path / "x.tar", PETS, mode)
    data = archive.read_bytes()
    archive.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DatasetError, match="truncated"):
        import_pictures(archive, settings)
    assert list(settings.data_dir.iterdir()) == []


def test_a_tar_with_a_damaged_header_is_not_treated_as_complete(settings: Settings, tmp_path: Path) -> None:
    archive = write_plain_tar(tmp_path / "x.tar", PETS)
    data = bytearray(archive.read_bytes())
    at = data.find(b"dogs/1.png")
    data[at : at + 5] = b"\xff" * 5
    archive.write_bytes(data)
    with pytest.raises(DatasetError, match="truncated or damaged after 4 entries"):
        import_pictures(archive, settings)


def test_an_xz_that_needs_too_much_memory_is_rejected(settings: Settings, tmp_path: Path) -> None:
    archive = write_plain_tar(tmp_path / "x.tar", PETS)
    archive.write_bytes(greedy_xz(archive.read_bytes()))
    with pytest.raises(DatasetError, match="128 MiB of memory"):
        import_pictures(archive, settings)


def test_consecutive_xz_streams_are_one_tar(settings: Settings, tmp_path: Path) -> None:
    data = write_plain_tar(tmp_path / "x.tar", PETS).read_bytes()
    half = len(data) // 2
    (tmp_path / "x.tar.xz").write_bytes(lzma.compress(data[:half]) + bytes(8) + lzma.compress(data[half:]) + bytes(4))
    assert import_pictures(tmp_path / "x.tar.xz", settings).added == WHOLE


FLOODS = {
    "a long name": (tarfile.GNUTYPE_LONGNAME, b"a" * (2 * 2**20)),
    "a record": (tarfile.XHDTYPE, b"2097140 comment=" + b"a" * (2097140 - 17) + b"\n"),
    "a record for all": (tarfile.XGLTYPE, b"2097140 comment=" + b"a" * (2097140 - 17) + b"\n"),
}


@pytest.mark.parametrize("case", FLOODS)
def test_a_tar_with_large_headers_is_rejected(settings: Settings, tmp_path: Path, case: str) -> None:
    kind, content = FLOODS[case]
    start = header("x", len(content), kind) + content + bytes(-len(content) % 512)
    whole = start + write_plain_tar(tmp_path / "x.tar", PETS).read_bytes()
    (tmp_path / "x.tar").write_bytes(bz2.compress(whole))
    with pytest.raises(DatasetError, match=r"headers .* have more than 1,048,576 bytes"):
        import_pictures(tmp_path / "x.tar", settings)


def test_endless_headers_are_rejected(settings: Settings, tmp_path: Path) -> None:
    record = b"30 comment=aaaaaaaaaaaaaaaaaa\n"
    one = header("x", len(record), tarfile.XHDTYPE) + record + bytes(512 - len(record))
    whole = one * 20_000 + write_plain_tar(tmp_path / "x.tar", PETS).read_bytes()
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(DatasetError, match=r"headers|truncated or damaged"):
        import_pictures(tmp_path / "x.tar.gz", settings)


def test_an_endless_map_of_a_sparse_file_is_rejected(settings: Settings, tmp_path: Path) -> None:
    entry = bytearray(header("cats/0.png", 0, tarfile.GNUTYPE_SPARSE))
    entry[386 : 386 + 24] = b"00000000000\x0000000001000\0"
    entry[482] = 1  # more of the map follows
    entry[148:156] = b" " * 8
    entry[148:156] = b"%06o\0 " % sum(entry)
    more = (b"00000000000\x0000000000001\0" * 21).ljust(504, b"\0") + b"\1" + bytes(7)
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(bytes(entry) + more * 10_000))
    with pytest.raises(DatasetError, match="headers"):
        import_pictures(tmp_path / "x.tar.gz", settings)


def test_a_tar_bomb_is_rejected(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its bytes are read or skipped."""
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**20)
    archive = write_plain_tar(tmp_path / "x.tar.bz2", {"notes": bytes(300 * 2**20), **PETS}, "w:bz2")
    with pytest.raises(DatasetError, match="unpacks to too many bytes"):
        import_pictures(archive, settings)


def test_too_many_entries_are_rejected(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MAX_MEMBERS", 5)
    for archive in (write_plain_zip(tmp_path / "x.zip", PETS), write_plain_tar(tmp_path / "x.tar", PETS)):
        with pytest.raises(DatasetError, match=r"more than 5 "):
            import_pictures(archive, settings)


def test_an_upload_keeps_images_before_a_damaged_one(home: Settings, tmp_path: Path) -> None:
    data = plain(tmp_path)
    add_drawings(home, "cat", 1)
    damaged = data.replace(PETS["dogs/0.png"], PETS["dogs/0.png"][:-1] + b"X")
    added = upload(home, damaged)
    assert added.accepted == 3
    assert "dogs/0.png" in added.rejected[0].reason


# Links


def linked_tar(path: Path, links: dict[str, tuple[bytes, str]], *, first: bool = False) -> Path:
    """Write a tar of the pets and of links (name -> kind and target), which come first or last."""
    with tarfile.open(path, "w") as tar:
        for name in (*links, *PETS) if first else (*PETS, *links):
            entry = tarfile.TarInfo(name)
            if name in links:
                entry.type, entry.linkname = links[name]
                tar.addfile(entry)
            else:
                entry.size = len(PETS[name])
                tar.addfile(entry, io.BytesIO(PETS[name]))
    return path


def linked_zip(path: Path, links: dict[str, str]) -> Path:
    """Write a zip of the pets and of symbolic links."""
    write_plain_zip(path, PETS)
    with zipfile.ZipFile(path, "a") as zipped:
        for name, target in links.items():
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            zipped.writestr(info, target)
    return path


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("kind", ["hard", "symbolic", "chain"])
def test_links_in_a_tar_become_files(tmp_path: Path, kind: str, first: bool) -> None:
    links = {
        f"test/{name}": (tarfile.LNKTYPE, name) if kind == "hard" else (tarfile.SYMTYPE, f"../../{name}")
        for name in PETS
    }
    if kind == "chain":
        links |= {f"again/{name}": (tarfile.SYMTYPE, f"../../test/{name}") for name in PETS}
    archive = linked_tar(tmp_path / "x.tar", links, first=first)
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    assert importing._unpack(archive, unpacked, 2**20) == []
    for name in links:
        assert (unpacked / name).read_bytes() == PETS[name.split("/", 1)[1]]


def test_a_split_of_links_is_imported(settings: Settings, tmp_path: Path) -> None:
    links = {f"test/{name}": (tarfile.LNKTYPE, f"train/{name}") for name in PETS}
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, data in PETS.items():
            entry = tarfile.TarInfo(f"train/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        for name, (kind, target) in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
    result = import_pictures(tmp_path / "x.tar", settings)
    assert (result.added, result.duplicates) == ({"test": {"cats": 3, "dogs": 3}}, 6)


LOST = {"cats/out.png": "/etc/passwd", "cats/up.png": "../../x", "cats/none.png": "9.png", "birds": "cats"}


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_broken_links_are_reported(settings: Settings, tmp_path: Path, kind: str) -> None:
    loop = {"cats/a.png": "b.png", "cats/b.png": "a.png"}
    if kind == "tar":
        links = {name: (tarfile.SYMTYPE, target) for name, target in {**LOST, **loop}.items()}
        archive = linked_tar(tmp_path / "x.tar", links | {"cats/hard.png": (tarfile.LNKTYPE, "/etc/passwd")})
    else:
        archive = linked_zip(tmp_path / "x.zip", {**LOST, **loop, "cats/hard.png": "../../../etc/passwd"})
    result = import_pictures(archive, settings)
    assert result.added == WHOLE
    lost = {str(item.path.relative_to(archive)) for item in result.rejected if "a link" in item.reason}
    assert lost == {*LOST, *loop, "cats/hard.png"}


def test_links_in_a_zip_become_files(settings: Settings, home: Settings, tmp_path: Path) -> None:
    archive = linked_zip(tmp_path / "x.zip", {f"cats/l{i}.png": f"../cats/{i}.png" for i in range(3)})
    result = import_pictures(archive, settings)
    assert (result.rejected, result.added, result.duplicates) == ((), WHOLE, 3)
    added = upload(home, archive.read_bytes())
    assert (added.accepted, added.duplicates, added.rejected) == (6, 3, [])


def test_links_to_too_many_bytes_are_rejected(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 2**10)
    monkeypatch.setattr(unpacking, "MAX_RATIO", 1)
    links = {f"cats/l{i}.png": (tarfile.LNKTYPE, "cats/0.png") for i in range(500)}
    data = max(PETS.values(), key=len)
    monkeypatch.setitem(PETS, "cats/0.png", data * 20)
    with pytest.raises(DatasetError, match="its links lead to are too large"):
        import_pictures(linked_tar(tmp_path / "x.tar", links), settings)


# What is no archive

NO_ARCHIVES = {
    "pets.zip": (b"", "It is empty"),
    "page.zip": (b"\r\n<!DOCTYPE html><html>Sign in", "It is a web page, not an archive"),
    "upper.tar.gz": (b"<HTML><BODY>404", "It is a web page, not an archive"),
    "error.zip": (b'{"error": "not found"}', "It is text, not an archive"),
    "pointer.zip": (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "git lfs pull"),
    "noise.zip": (bytes(range(255, 0, -1)) * 9, "isn't a zip or tar"),
    "zeros.zip": (bytes(5000), "isn't a zip or tar"),
    "pets.zip.002": (bytes(range(255, 0, -1)) * 9, "split archive. Join the parts first: cat pets.zip.* > pets.zip"),
    "pets.zip.001": (b"PK\x03\x04" + bytes(range(255, 0, -1)) * 9, "split archive"),
    "pets.tar.gz.01": (b"PK\x03\x04" + bytes(900), "split archive"),
}


@pytest.mark.parametrize("name", NO_ARCHIVES)
def test_a_file_that_only_looks_like_an_archive_is_identified(
    settings: Settings, home: Settings, tmp_path: Path, name: str
) -> None:
    content, reason = NO_ARCHIVES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=re.escape(reason)):
        import_pictures(tmp_path / name, settings)
    engine = open_database(home)
    added = Uploads(home, engine).add([(name, content)], "cats")
    engine.dispose()
    assert [reason in refused.reason for refused in added.rejected] == [True]


@pytest.mark.parametrize("size", [600, 5120, 10_240, 2**21])
def test_a_file_beginning_with_zeros_is_not_a_tar(home: Settings, size: int) -> None:
    for content in (bytes(size), bytes(size) + b"a movie" * 100):
        engine = open_database(home)
        (refused,) = Uploads(home, engine).add([("movie.jpg", content)], "cats").rejected
        engine.dispose()
        assert "tar" not in refused.reason.replace("start", "")


def test_the_reason_for_an_archive_without_images_is_consistent(settings: Settings, tmp_path: Path) -> None:
    cases = {
        "It has 1 unusable file; none is an image": {"readme.txt": b"hello"},
        "the images aren't in class folders": {"0.png": PETS["cats/0.png"], "1.png": PETS["dogs/0.png"]},
    }
    for reason, members in cases.items():
        with pytest.raises(DatasetError, match=reason) as refused:
            import_pictures(write_plain_zip(tmp_path / "x.zip", members), settings)
        assert "is empty" not in str(refused.value)


def test_an_image_named_like_a_zip_is_an_image(home: Settings) -> None:
    assert upload(home, PETS["cats/0.png"]).accepted == 1
