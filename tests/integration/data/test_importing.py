import base64
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from drawing import draw, encode, write_dataset, write_pictures

from catdog.data.dataset import Manifest, read_folder
from catdog.data.importing import download, import_pictures, is_archive
from catdog.data.staging import Staging, prepare
from catdog.errors import DatasetError, DownloadError, MissingDependencyError
from catdog.settings import Settings, load_settings

CAT, DOG = encode(draw("cat", 1)), encode(draw("dog", 1))
WHOLE = {"cats": 3, "dogs": 3}


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Data set of 3 training and 2 test images per class, which tests may change."""
    return write_dataset(tmp_path / "pets", train=3, test=2)


def tree(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder, including hidden ones, with their bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return path


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo("x")
            entry.size = len(data)
            entry.pax_headers = {"path": name}  # any name, even with a NUL in it
            archive.addfile(entry, io.BytesIO(data))
    return path


# What can be imported


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "gztar", "bztar", "xztar"])
def test_folders_and_archives_are_imported(pets: Path, settings: Settings, tmp_path: Path, kind: str) -> None:
    source = pets if kind == "folder" else Path(shutil.make_archive(str(tmp_path / "archive"), kind, pets))
    result = import_pictures(source, settings)
    assert result.added == {"train": WHOLE, "test": {"cats": 2, "dogs": 2}}
    assert (result.present, result.duplicates, result.rejected) == (0, 0, ())
    assert result.data_dir == settings.data_dir
    assert tree(settings.data_dir) == tree(pets)  # unchanged copies and nothing else


def test_an_archive_is_identified_by_content(pets: Path, settings: Settings, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", pets)).rename(tmp_path / "pets.bin")
    assert is_archive(archive)
    assert import_pictures(archive, settings).added["train"] == WHOLE
    (tmp_path / "fake.zip").write_bytes(CAT)
    assert not is_archive(tmp_path / "fake.zip")
    assert not is_archive(pets)
    assert not is_archive(tmp_path / "missing.zip")


def test_kaggles_layout_becomes_the_plain_one(pets: Path, settings: Settings, tmp_path: Path) -> None:
    members = {}
    for name, data in tree(pets).items():
        split = "training_set" if name.startswith("train") else "test_set"
        members[f"{split}/{split}/{name.split('/', 1)[1]}"] = data
    members["training_set/training_set/cats/_DS_Store"] = b"\0\0\0\1Bud1"
    members["__MACOSX/training_set/cats/._cat.0.jpg"] = b"\0\5\26\7"
    archive = write_zip(tmp_path / "archive.zip", members)
    result = import_pictures(archive, settings)
    assert tree(settings.data_dir) == tree(pets)
    assert result.rejected == ()


def test_classes_alone_go_to_train(settings: Settings, tmp_path: Path) -> None:
    for name in ("Cat", "Dog"):
        write_pictures(tmp_path / "PetImages" / name, name.lower(), 3)
    assert import_pictures(tmp_path / "PetImages", settings).added == {"train": {"Cat": 3, "Dog": 3}}


def test_a_class_called_train_is_still_one_after_importing(settings: Settings, tmp_path: Path) -> None:
    for i, name in enumerate(("train", "car")):
        write_pictures(tmp_path / "vehicles" / name, "dog", 3, first=10 * i)
    assert import_pictures(tmp_path / "vehicles", settings).added == {"train": {"car": 3, "train": 3}}
    assert read_folder(settings.data_dir, settings).manifest.counts()["train"] == {"car": 3, "train": 3}
    assert import_pictures(tmp_path / "vehicles", settings).added == {}


def test_links_in_a_folder_are_copied_as_images(pets: Path, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "train").symlink_to(pets / "train")
    import_pictures(tmp_path / "links", settings)
    assert len(tree(settings.data_dir)) == 6
    assert not any(path.is_symlink() for path in settings.data_dir.rglob("*"))


def test_progress_is_reported(pets: Path, settings: Settings) -> None:
    told: list[tuple[int, int]] = []
    import_pictures(pets, settings, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(i + 1, 10) for i in range(10)]


# What is there already, junk and copies


def test_importing_again_adds_nothing(pets: Path, settings: Settings, tmp_path: Path) -> None:
    import_pictures(pets, settings)
    before = tree(settings.data_dir)
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", pets))
    for source in (pets, archive):
        result = import_pictures(source, settings)
        assert (result.added, result.present) == ({}, 10)
    assert tree(settings.data_dir) == before


def test_only_new_images_are_added(pets: Path, settings: Settings) -> None:
    import_pictures(pets, settings)
    write_pictures(pets / "train" / "cats", "cat", 2, first=100)
    result = import_pictures(pets, settings)
    assert (result.added, result.present) == ({"train": {"cats": 2}}, 10)


def test_a_test_image_is_not_added_to_training(pets: Path, settings: Settings, tmp_path: Path) -> None:
    import_pictures(pets, settings)
    (tmp_path / "more" / "cats").mkdir(parents=True)
    shutil.copy(pets / "test" / "cats" / "cat.10000.jpg", tmp_path / "more" / "cats" / "other name.jpg")
    assert import_pictures(tmp_path / "more", settings).added == {}


def test_another_image_with_the_same_name_is_kept(pets: Path, settings: Settings, tmp_path: Path) -> None:
    import_pictures(pets, settings)
    first = (settings.data_dir / "train" / "cats" / "cat.0.jpg").read_bytes()
    other = encode(draw("cat", 999))
    for name, data in (("cat.0.jpg", other), ("CAT.1", DOG)):
        (tmp_path / "more" / "cats").mkdir(parents=True, exist_ok=True)
        (tmp_path / "more" / "cats" / name).write_bytes(data)
    assert import_pictures(tmp_path / "more", settings).added == {"train": {"cats": 2}}
    names = tree(settings.data_dir / "train" / "cats")
    assert names["cat.0.jpg"] == first
    assert names[f"cat.0-{hashlib.sha256(other).hexdigest()[:12]}.jpg"] == other
    assert len(names) == 5
    assert import_pictures(tmp_path / "more", settings).added == {}


def test_images_with_the_same_name_in_an_archive_are_all_kept(settings: Settings, tmp_path: Path) -> None:
    members = {f"cats/{folder}/1.jpg": encode(draw("cat", i)) for i, folder in enumerate("abc")}
    import_pictures(write_zip(tmp_path / "x.zip", {**members, "dogs/1.jpg": DOG}), settings)
    assert set(tree(settings.data_dir / "train" / "cats").values()) == set(members.values())


def test_unusable_files_are_reported_by_their_path_in_the_archive(settings: Settings, tmp_path: Path) -> None:
    members = {"cats/1.jpg": CAT, "cats/2.jpg": CAT, "dogs/1.jpg": DOG, "dogs/x.bin": b"x", "cover": b"y"}
    archive = write_zip(tmp_path / "x.zip", members)
    result = import_pictures(archive, settings)
    assert result.added == {"train": {"cats": 1, "dogs": 1}}
    assert result.duplicates == 1
    assert {item.path: item.reason.split(".")[0] for item in result.rejected} == {
        archive / "dogs" / "x.bin": "The file is not a JPEG, PNG, WebP or AVIF image",
        archive / "cover": "It isn't in a class folder",
    }


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_member_that_is_too_large_is_reported_but_not_unpacked(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    settings = load_settings(home=tmp_path / "home", max_picture_bytes=20_000)
    archive = write(tmp_path / "x", {"cats/big.jpg": CAT + bytes(20_000), "cats/1.jpg": CAT, "dogs/1.jpg": DOG})
    result = import_pictures(archive, settings)
    assert result.added == {"train": {"cats": 1, "dogs": 1}}
    assert [item.path for item in result.rejected] == [archive / "cats" / "big.jpg"]
    assert f"it has {len(CAT) + 20_000:,} bytes. The maximum is 20,000." in result.rejected[0].reason


def test_a_member_that_is_too_large_is_not_even_read(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", max_picture_bytes=20_000)
    archive = write_zip(tmp_path / "x", {"cats/big.jpg": DOG + bytes(20_000), "cats/1.jpg": CAT})
    archive.write_bytes(archive.read_bytes().replace(DOG, DOG[:-1] + b"X"))  # reading it would show the damage
    assert import_pictures(archive, settings).added == {"train": {"cats": 1}}


# Hostile and broken archives

HOSTILE = {
    "up": "../../../../evil.jpg",
    "up in the middle": "cats/../../../../../evil.jpg",
    "absolute": "/evil.jpg",
    "backslashes": "..\\..\\..\\evil.jpg",
    "drive": "C:\\evil.jpg",
    "nul": "cats/ev\0il.jpg",
    "long": f"cats/{'e' * 300}.jpg",
    "long in bytes": f"cats/{'猫' * 200}.jpg",
    "long folder": f"{'d' * 300}/cats/evil.jpg",
    "deep": f"cats/{'deep/' * 100}{'x' * 190}/{'y' * 190}/evil.jpg",
    "dots": "cats/...",
    "nothing": "///",
    "device": "cats/CON:",
}


@pytest.mark.parametrize(
    ("write", "name"),
    [
        *[pytest.param(write_zip, name, id=f"zip, {case}") for case, name in HOSTILE.items()],
        *[pytest.param(write_tar, name, id=f"tar, {case}") for case, name in HOSTILE.items()],
        pytest.param(write_tar, "cats/\udcff\udcfe.jpg", id="tar, not text"),  # a zip has only text
    ],
)
def test_names_in_an_archive_never_lead_out_of_the_data(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], name: str
) -> None:
    settings = load_settings(home=tmp_path / "a" / "b" / "home")
    evil = encode(draw("cat", 666))
    members = {"cats/1.jpg": CAT, "cats/2.jpg": encode(draw("cat", 2)), "dogs/1.jpg": DOG}
    archive = write(tmp_path / "x", {name.replace("\0", "~"): evil, **members})
    if "\0" in name:
        archive.write_bytes(archive.read_bytes().replace(b"ev~il", b"ev\0il"))
    import_pictures(archive, settings)
    inside = tree(settings.data_dir)
    assert {CAT, DOG} <= set(inside.values())
    assert tree(tmp_path).keys() == {"x", *(f"a/b/home/data/{path}" for path in inside)}
    assert not Path("/evil.jpg").exists()
    assert [path.name for path in settings.data_dir.iterdir()] == ["train"]


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_long_names_stay_distinct_and_keep_their_suffix(
    settings: Settings, tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    cats = {f"cats/{'e' * 300}{i}.jpg": encode(draw("cat", i)) for i in range(3)}
    import_pictures(write(tmp_path / "x", {**cats, "dogs/1.jpg": DOG}), settings)
    assert set(tree(settings.data_dir / "train" / "cats").values()) == set(cats.values())


@pytest.mark.parametrize("write", [write_zip, write_tar])
@pytest.mark.parametrize("order", [1, -1])
def test_a_file_with_the_name_of_a_folder_is_kept(
    settings: Settings, tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], order: int
) -> None:
    members = {"cats": encode(draw("cat", 5)), "cats/1.jpg": CAT, "dogs/1.jpg": DOG}
    archive = write(tmp_path / "x", dict(list(members.items())[::order]))
    result = import_pictures(archive, settings)
    assert result.added == {"train": {"cats": 1, "dogs": 1}}
    assert [item.reason for item in result.rejected] == ["It isn't in a class folder."]


def test_links_out_of_a_tar_are_skipped(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(encode(draw("cat", 7)))
    write_tar(tmp_path / "x.tar", {"cats/1.jpg": CAT, "dogs/1.jpg": DOG})
    with tarfile.open(tmp_path / "x.tar", "a") as archive:
        for kind, name, target in (
            (tarfile.SYMTYPE, "cats/link.jpg", str(tmp_path / "secret.jpg")),
            (tarfile.SYMTYPE, "cats/out", str(tmp_path)),
            (tarfile.LNKTYPE, "cats/hard.jpg", "../secret.jpg"),
            (tarfile.FIFOTYPE, "cats/pipe.jpg", ""),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            archive.addfile(entry)
        entry = tarfile.TarInfo("cats/out/written.jpg")
        entry.size = len(DOG)
        archive.addfile(entry, io.BytesIO(encode(draw("cat", 8))[: len(DOG)].ljust(len(DOG), b"\0")))
    import_pictures(tmp_path / "x.tar", settings)
    assert not (tmp_path / "written.jpg").exists()
    assert set(tree(settings.data_dir).values()) >= {CAT, DOG}
    assert (tmp_path / "secret.jpg").read_bytes() not in tree(settings.data_dir).values()


def encrypted(path: Path) -> None:
    write_zip(path, {"cats/1.jpg": CAT, "dogs/1.jpg": DOG})
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = data.find(signature)
        while start >= 0:
            data[start + offset] |= 1
            start = data.find(signature, start + 1)
    path.write_bytes(data)


def wrong_checksum(path: Path) -> None:
    write_zip(path, {"cats/1.jpg": CAT, "dogs/1.jpg": DOG})
    data = path.read_bytes()
    path.write_bytes(data.replace(CAT, CAT[:-1] + b"X"))


def broken_compression(path: Path) -> None:
    write_zip(path, {"cats/1.jpg": CAT, "dogs/1.jpg": DOG}, zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    data[60:160] = b"\xff" * 100
    path.write_bytes(data)


def broken_lzma(path: Path) -> None:
    write_zip(path, {"cats/1.jpg": CAT, "dogs/1.jpg": DOG}, zipfile.ZIP_LZMA)
    data = bytearray(path.read_bytes())
    data[60:160] = b"\xff" * 100
    path.write_bytes(data)


def unknown_compression(path: Path) -> None:
    write_zip(path, {"cats/1.jpg": CAT})
    data = path.read_bytes()
    data = data.replace(b"PK\3\4\x14\0\0\0\0\0", b"PK\3\4\x14\0\0\0\x63\0")
    path.write_bytes(data.replace(b"PK\1\2\x14\3\x14\0\0\0\0\0", b"PK\1\2\x14\3\x14\0\0\0\x63\0"))


def short_tar(path: Path) -> None:
    write_tar(path, {"cats/1.jpg": CAT, "dogs/1.jpg": DOG})
    path.write_bytes(path.read_bytes()[: 512 * 3 + len(CAT) // 2])


def short_compressed_tar(path: Path) -> None:
    write_tar(path, {f"cats/{i}.jpg": encode(draw("cat", i)) for i in range(10)}, "w:gz")
    path.write_bytes(path.read_bytes()[:-9000])


def broken_xz_tar(path: Path) -> None:
    write_tar(path, {f"cats/{i}.jpg": encode(draw("cat", i)) for i in range(10)}, "w:xz")
    data = bytearray(path.read_bytes())
    data[-9000:-8000] = b"\xff" * 1000
    path.write_bytes(data)


@pytest.mark.parametrize(
    "make",
    [
        encrypted,
        wrong_checksum,
        broken_compression,
        broken_lzma,
        unknown_compression,
        short_tar,
        short_compressed_tar,
        broken_xz_tar,
    ],
)
def test_an_unreadable_archive_is_an_error_and_leaves_nothing(
    settings: Settings, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "x")
    with pytest.raises(DatasetError, match=r"Can't read the archive .*/x: ."):
        import_pictures(tmp_path / "x", settings)
    assert list(settings.data_dir.iterdir()) == []


@pytest.mark.parametrize("content", [None, b"", CAT + b"PK\3\4"])
def test_a_file_that_is_not_an_archive_is_rejected(settings: Settings, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.zip is not a folder, zip or tar"):
        import_pictures(tmp_path / "x.zip", settings)
    assert not settings.home.exists()


@pytest.mark.parametrize("members", [{}, {"readme.txt": b"x"}, {"cat.jpg": CAT}, {"cats/x.txt": b"x"}])
def test_an_archive_without_usable_images_is_an_error_and_leaves_nothing(
    settings: Settings, tmp_path: Path, members: dict[str, bytes]
) -> None:
    write_zip(tmp_path / "x.zip", members)
    with pytest.raises(DatasetError, match=r"No usable images in class folders.*(1 unusable file|is empty)"):
        import_pictures(tmp_path / "x.zip", settings)
    assert tree(settings.home) == {}
    assert list(settings.data_dir.iterdir()) == []


def test_an_error_about_an_archive_names_the_archive(settings: Settings, tmp_path: Path) -> None:
    write_zip(tmp_path / "x.zip", {"readme.txt": b"x"})
    with pytest.raises(DatasetError, match=r"found in .*/x\.zip\. It has 1 unusable file"):
        import_pictures(tmp_path / "x.zip", settings)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_full_disk_is_reported_before_copying(
    pets: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = pets if kind == "folder" else Path(shutil.make_archive(str(tmp_path / "archive"), "zip", pets))
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DatasetError, match=r"too full: the images need [\d,]+ bytes, and 100 are free"):
        import_pictures(source, settings)
    assert list(settings.data_dir.iterdir()) == []


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_an_interrupted_import_leaves_nothing_and_can_be_repeated(
    pets: Path, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, kind: str
) -> None:
    source = pets if kind == "folder" else Path(shutil.make_archive(str(tmp_path / "archive"), "zip", pets))
    add, added = Staging.add, 0

    def fail_at_the_fourth(*arguments: Any, **options: Any) -> None:
        nonlocal added
        added += 1
        if added == 4:
            raise error
        add(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Staging, "add", fail_at_the_fourth)
        with pytest.raises(type(error)):
            import_pictures(source, settings)
    assert list(settings.data_dir.iterdir()) == []
    assert import_pictures(source, settings).present == 0
    assert tree(settings.data_dir) == tree(pets)


KILLED_AT = {
    "unpacking": ("catdog.data.importing", "_import_folder"),
    "copying": ("catdog.data.staging", "Staging.commit"),
}


@pytest.mark.parametrize("moment", KILLED_AT)
def test_leftovers_of_a_killed_import_are_removed_by_the_next(
    pets: Path, settings: Settings, tmp_path: Path, moment: str
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", pets))
    kill_import(archive, settings, *KILLED_AT[moment])
    assert all(path.name.startswith(".import-") for path in settings.data_dir.iterdir())
    assert read_folder(settings.data_dir, settings).manifest.pictures == ()
    import_pictures(write_zip(tmp_path / "x.zip", {"cats/1.jpg": CAT, "dogs/1.jpg": DOG}), settings)
    assert tree(settings.data_dir).keys() == {"train/cats/1.jpg", "train/dogs/1.jpg"}


def test_an_import_killed_after_acceptance_is_completed_by_the_next(pets: Path, settings: Settings) -> None:
    kill_import(pets, settings, "catdog.data.staging", "_move_files")
    assert import_pictures(pets, settings).present == 10
    assert tree(settings.data_dir) == tree(pets)


def test_the_folder_of_a_running_import_is_left_unchanged(pets: Path, settings: Settings) -> None:
    with prepare(settings.data_dir) as staging:
        import_pictures(pets, settings)
        assert staging.folder.is_dir()
    assert tree(settings.data_dir) == tree(pets)


def kill_import(source: Path, settings: Settings, module: str, function: str) -> None:
    """Import in a process that is killed on reaching a function."""
    code = (
        "import importlib, os, pathlib, signal, sys\n"
        "from catdog.data.importing import import_pictures\n"
        "from catdog.settings import load_settings\n"
        f"owner = importlib.import_module({module!r})\n"
        f"*classes, name = {function!r}.split('.')\n"
        "for part in classes: owner = getattr(owner, part)\n"
        "setattr(owner, name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))\n"
        "import_pictures(pathlib.Path(sys.argv[1]), load_settings(home=pathlib.Path(sys.argv[2])))"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(source), str(settings.home)], check=False)
    assert killed.returncode == -signal.SIGKILL


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_cancelled_import_writes_nothing(pets: Path, settings: Settings, tmp_path: Path, kind: str) -> None:
    source = pets if kind == "folder" else Path(shutil.make_archive(str(tmp_path / "archive"), "zip", pets))
    import_pictures(write_zip(tmp_path / "x.zip", {"birds/1.jpg": CAT}), settings)
    before = tree(settings.data_dir)
    seen: list[Manifest] = []

    def refuse(manifest: Manifest) -> None:
        seen.append(manifest)
        raise DatasetError("No.")

    with pytest.raises(DatasetError, match="No"):
        import_pictures(source, settings, accept=refuse)
    assert tree(settings.data_dir) == before
    assert seen[0].counts()["train"] == {"birds": 1, "cats": 3, "dogs": 3}


# Downloading


class Kaggle(ThreadingHTTPServer):
    """A stand-in for Kaggle's service with one data set."""

    def __init__(self, archive: bytes) -> None:
        super().__init__(("127.0.0.1", 0), KaggleHandler)
        self.archive = archive
        self.status = 200
        self.damaged = False
        self.asked: list[tuple[str, dict[str, object]]] = []


class KaggleHandler(BaseHTTPRequestHandler):
    server: Kaggle

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        method = self.path.rsplit("/", 1)[1]
        self.server.asked.append((method, body))
        if (body["ownerSlug"], body["datasetSlug"]) != ("tongpython", "cat-and-dog"):
            self.answer(404, b'{"code": 404, "message": "no such data set"}', "application/json")
        elif method == "GetDataset":
            self.answer(200, b'{"ref": "tongpython/cat-and-dog", "currentVersionNumber": 1}', "application/json")
        elif method == "DownloadDataset":
            self.answer(self.server.status, self.server.archive, "application/zip")

    def answer(self, status: int, body: bytes, kind: str) -> None:
        md5 = hashlib.md5(body + b"x" * self.server.damaged).digest()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-goog-hash", f"md5={base64.b64encode(md5).decode()}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kaggle(pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kaggle]:
    """Serve `pets` to kagglehub as kaggle:tongpython/cat-and-dog in Kaggle's layout."""
    kaggle_env = pytest.importorskip("kagglesdk.kaggle_env")
    files = tree(pets).items()
    nested = {
        f"{name.split('/')[0]}_set/{name.split('/')[0]}_set/{name.split('/', 1)[1]}": data for name, data in files
    }
    server = Kaggle(write_zip(tmp_path / "served.zip", nested).read_bytes())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setitem(
        kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, f"http://127.0.0.1:{server.server_port}"
    )
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("KAGGLEHUB_CACHE", "KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_known_data_set_is_downloaded_and_imported(
    kaggle: Kaggle, pets: Path, settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = download("kaggle:tongpython/cat-and-dog", settings)
    assert result.added == {"train": WHOLE, "test": {"cats": 2, "dogs": 2}}
    assert tree(settings.data_dir) == tree(pets)  # without leftovers of the download
    assert [method for method, _ in kaggle.asked] == ["GetDataset", "DownloadDataset"]
    assert tree(tmp_path / "user") == {}  # nothing is written outside the home
    assert "KAGGLEHUB_CACHE" not in os.environ
    assert capfd.readouterr().out == ""  # stdout is for the command's result
    again = download("kaggle:tongpython/cat-and-dog", settings)
    assert (again.added, again.present) == ({}, 10)


def test_the_users_cache_setting_is_left_unchanged(
    kaggle: Kaggle, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "theirs"))
    download("kaggle:tongpython/cat-and-dog", settings)
    assert len(kaggle.asked) == 2
    assert os.environ["KAGGLEHUB_CACHE"] == str(tmp_path / "theirs")
    assert not (tmp_path / "theirs").exists()


def test_unusable_files_in_a_download_are_reported_by_data_set(
    kaggle: Kaggle, settings: Settings, tmp_path: Path
) -> None:
    kaggle.archive = write_zip(tmp_path / "x.zip", {"cats/1.jpg": CAT, "cats/x.bin": b"x"}).read_bytes()
    result = download("kaggle:tongpython/cat-and-dog", settings)
    assert [str(item.path) for item in result.rejected] == ["kaggle:tongpython/cat-and-dog/cats/x.bin"]


@pytest.mark.parametrize("trouble", ["unknown", "forbidden", "damaged", "no archive", "down"])
def test_a_failed_download_explains_how_to_do_it_by_hand(
    kaggle: Kaggle, settings: Settings, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "kaggle:somebody/else" if trouble == "unknown" else "kaggle:tongpython/cat-and-dog"
    kaggle.status = 403 if trouble == "forbidden" else 200
    kaggle.damaged = trouble == "damaged"
    if trouble == "no archive":
        kaggle.archive = b"<html>Please sign in</html>"
    if trouble == "down":
        from kagglesdk import kaggle_env

        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, "http://127.0.0.1:9")
    handle = name.removeprefix("kaggle:")
    with pytest.raises(
        DownloadError,
        match=rf"(?s)Can't download {name}.*https://www\.kaggle\.com/datasets/{handle} .*catdog data import",
    ):
        download(name, settings)
    assert list(settings.data_dir.iterdir()) == []
    assert "KAGGLEHUB_CACHE" not in os.environ


@pytest.mark.parametrize("name", ["cat-and-dog", "kaggle:cat-and-dog", "kaggle:a/b/c", "http://x/y", "", "hf:a/b"])
def test_an_invalid_data_set_name_is_rejected(settings: Settings, name: str) -> None:
    with pytest.raises(DownloadError, match=rf"kaggle:OWNER/DATASET: '{name}'"):
        download(name, settings)
    assert not settings.home.exists()


def test_without_kagglehub_the_error_says_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        download("kaggle:tongpython/cat-and-dog", settings)
