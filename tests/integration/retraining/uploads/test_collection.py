"""Images for retraining: storage, rejection, and no loss after a kill or on a full disk."""

import errno
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from drawing import draw, encode
from PIL import Image
from postgres import lose_database
from sqlalchemy import delete, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from catdog.data.images.pixels import decode
from catdog.errors import DiskFullError, NoModelError, RequestError, UploadConflictError, UploadNotFoundError
from catdog.prediction.predictor import Predictor
from catdog.registry.store import ModelStore
from catdog.retraining.uploads import intake
from catdog.retraining.uploads.repair import Repaired
from catdog.retraining.uploads.storage import DOUBTED
from catdog.retraining.uploads.uploads import Uploads
from catdog.settings import Settings, load_settings
from catdog.storage import database, tables

pytestmark = pytest.mark.databases

CATS = [encode(draw("cat", 5000 + i)) for i in range(6)]
GPS = 0x8825


@pytest.fixture
def uploads(home: Settings) -> Iterator[Uploads]:
    made = open_uploads(home)
    yield made
    made.storage.engine.dispose()


def open_uploads(settings: Settings) -> Uploads:
    return Uploads(settings, database.open_database(settings))


def named(pictures: list[bytes]) -> list[tuple[str, bytes]]:
    return [(f"cat.{i}.jpg", data) for i, data in enumerate(pictures)]


def kept_files(settings: Settings) -> list[str]:
    root = settings.retrain_dir
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file() and p.name != ".lock")


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def test_images_are_kept_under_their_class_and_hash(uploads: Uploads, home: Settings) -> None:
    added = uploads.add(named(CATS), "Cat", uploader="192.0.2.7")
    assert (added.folder, added.accepted, added.duplicates, added.rejected) == ("cats", 6, 0, [])
    rows = uploads.active()
    assert len(rows) == 6
    for row in rows:
        assert row.path == home.retrain_dir / "cats" / f"{row.sha256}.jpg"
        assert hashlib.sha256(row.path.read_bytes()).hexdigest() == row.sha256
        assert (row.folder, row.batch, row.uploader, row.state) == ("cats", added.batch, "192.0.2.7", "active")
        assert row.held_out == (int(row.sha256[:8], 16) / 2**32 < home.test_share)
    before = np.asarray(Image.open(io.BytesIO(CATS[0])), np.int16)
    after = np.asarray(Image.open(rows[0].path), np.int16)
    assert np.abs(before - after).mean() < 2
    assert uploads.counts()["active"] == {"cats": 6, "dogs": 0}


def test_sending_an_image_again_adds_nothing(uploads: Uploads, home: Settings) -> None:
    uploads.add(named(CATS), "cats")
    files = kept_files(home)
    again = uploads.add(named(CATS), "cats")
    assert (again.accepted, again.duplicates) == (0, 6)
    # What is kept, fetched and sent back is the same image too.
    back = uploads.add([("x.jpg", uploads.active()[0].path.read_bytes())], "cats")
    assert (back.accepted, back.duplicates) == (0, 1)
    assert kept_files(home) == files
    assert uploads.counts()["total"] == 6


def test_the_same_image_under_another_class_is_refused_with_a_remedy(uploads: Uploads) -> None:
    uploads.add(named(CATS[:1]), "cats")
    added = uploads.add(named(CATS[:1]), "dogs")
    assert added.accepted == 0
    assert "already stored under cats (ID 1)" in added.rejected[0].reason
    assert "relabel" in added.rejected[0].reason
    assert [row.folder for row in uploads.active()] == ["cats"]


def test_metadata_goes_and_the_picture_stands_upright(uploads: Uploads) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "Secret camera"
    exif.get_ifd(GPS)[2] = (52.0, 31.0, 12.0)
    lying = encode(draw("cat", 1, (160, 120)).transpose(Image.Transpose.ROTATE_90), exif=exif, comment=b"secret")
    assert b"Secret camera" in lying
    uploads.add([("lying.jpg", lying)], "cats")
    kept = uploads.active()[0].path
    with Image.open(kept) as image:
        assert image.size == (160, 120)
        assert dict(image.getexif()) == {}
        assert not {"exif", "comment", "icc_profile"} & image.info.keys()
    assert b"ecret" not in kept.read_bytes()
    difference = np.abs(decode(kept.read_bytes()).astype(int) - decode(lying).astype(int)).mean()
    assert difference < 2


def test_test_pictures_are_refused(uploads: Uploads, drawn: Path, home: Settings) -> None:
    paths = sorted((drawn / "test" / "cats").iterdir())
    added = uploads.add([(path.name, path.read_bytes()) for path in paths], "cats")
    assert added.accepted == 0
    assert len(added.rejected) == len(paths) == 10
    assert "in the test set" in added.rejected[0].reason
    assert kept_files(home) == []


def test_an_unusable_collector_is_reported_and_stops_nothing(uploads: Uploads, home: Settings) -> None:
    small = Uploads(load_settings(home=home.home, max_upload_bytes=20_000), uploads.storage.engine)
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    large = encode(Image.fromarray(noise), "PNG")
    sent = [("text.jpg", b"hello"), ("half.jpg", CATS[1][:2000]), ("large.png", large), ("\x00../\n.jpg", CATS[0])]
    added = small.add(sent, "cats")
    assert added.accepted == 1
    assert [refused.name for refused in added.rejected] == ["text.jpg", "half.jpg", "large.png"]
    assert "CATDOG_MAX_UPLOAD_BYTES" in added.rejected[2].reason
    assert uploads.active()[0].name == "?../?.jpg"
    assert len(kept_files(home)) == 1


def test_unknown_classes_and_batch_names_are_refused(uploads: Uploads) -> None:
    for category in ("bird", "", "../cats", "cats/x"):
        with pytest.raises(RequestError, match="cats, dogs"):
            uploads.add(named(CATS), category)
    with pytest.raises(RequestError, match="batch"):
        uploads.add(named(CATS), "cats", "../../x")


def test_without_a_model_there_are_no_classes(settings: Settings) -> None:
    with pytest.raises(NoModelError):
        open_uploads(settings).add(named(CATS), "cats")


def test_a_zip_adds_its_images(uploads: Uploads, home: Settings) -> None:
    members = {
        "a/1.jpg": CATS[0],
        "../../../2.jpg": CATS[1],
        "/etc/3.jpg": CATS[2],
        "C:\\4.jpg": CATS[3],
        "__MACOSX/._1.jpg": b"resource",
        ".DS_Store": b"finder",
        "notes.txt": b"hello",
        "inner.zip": zipped({"5.jpg": CATS[4]}),
    }
    added = uploads.add([("pets.zip", io.BytesIO(zipped(members)))], "cats")
    assert added.accepted == 4
    assert {refused.name for refused in added.rejected} == {"pets.zip/inner.zip"}
    outside = [path for path in home.home.parent.rglob("*.jpg") if home.retrain_dir not in path.parents]
    assert outside == []
    assert all(name.startswith("cats/") for name in kept_files(home))


def test_a_link_in_a_zip_leads_nowhere(uploads: Uploads, home: Settings) -> None:
    secret = home.home / "secret.jpg"
    secret.write_bytes(CATS[0])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(secret))
    added = uploads.add([("links.zip", buffer.getvalue())], "cats")
    assert (added.accepted, len(added.rejected)) == (0, 1)


@pytest.mark.parametrize("bomb", ["many", "huge", "directory", "broken", "locked"])
def test_zip_bombs_are_told_and_not_unpacked(uploads: Uploads, home: Settings, bomb: str) -> None:
    tight = load_settings(home=home.home, max_upload_files=5, max_upload_total_bytes=1_000_000)
    entry = b"PK\x01\x02\x14\x03\x14\0"  # behind it come the flags; the first says encrypted
    data = {
        "many": lambda: zipped({f"{i}.jpg": CATS[0] for i in range(6)}),
        "huge": lambda: zipped({"zeros.jpg": bytes(30_000_000)}),
        "directory": lambda: zipped({f"{i}/{'x' * 200}.jpg": b"" for i in range(100)}),
        "broken": lambda: zipped({"1.jpg": CATS[0]})[:-30],
        "locked": lambda: zipped({"1.jpg": CATS[0]}).replace(entry + b"\0", entry + b"\1"),
    }[bomb]()
    assert len(data) < 1_000_000
    added = Uploads(tight, uploads.storage.engine).add([("bomb.zip", data)], "cats")
    assert added.accepted == 0
    assert len(added.rejected) == 1
    assert "zip" in added.rejected[0].reason
    assert kept_files(home) == []


def test_several_zips_share_one_limit_of_files(uploads: Uploads, home: Settings) -> None:
    tight = Uploads(load_settings(home=home.home, max_upload_files=5), uploads.storage.engine)
    zips = [
        zipped({"1.jpg": CATS[0], "2.jpg": CATS[1], "3.jpg": CATS[2]}),
        zipped({f"{i}.jpg": CATS[i] for i in (3, 4, 5)}),
    ]
    added = tight.add([("a.zip", zips[0]), ("b.zip", zips[1])], "cats")
    assert (added.accepted, len(added.rejected)) == (3, 1)


def test_removing_restoring_and_purging(uploads: Uploads, home: Settings) -> None:
    batch = uploads.add(named(CATS), "cats").batch
    assert uploads.remove([1, 2]) == 2
    assert [row.id for row in uploads.active()] == [3, 4, 5, 6]
    assert len(list((home.retrain_dir / "cats").glob("*.jpg"))) == 4
    assert uploads.restore([1]) == 1
    assert uploads.remove_batch(batch) == 6
    assert uploads.active() == []
    assert uploads.purge() == 0  # not old enough
    assert uploads.restore_batch(batch) == 6
    assert len(uploads.active()) == 6
    uploads.remove([1])
    table = tables.uploads
    with uploads.storage.engine.begin() as connection:
        old = table.c.changed_at.type.python_type.now() - timedelta(days=home.removed_days + 2)
        connection.execute(update(table).where(table.c.id == 1).values(changed_at=old))
    assert uploads.purge() == 1
    assert len(kept_files(home)) == 5
    assert uploads.add(named(CATS[:1]), "cats").accepted == 1


def test_a_removed_image_that_is_sent_again_is_restored(uploads: Uploads) -> None:
    uploads.add(named(CATS[:1]), "cats")
    uploads.remove([1])
    added = uploads.add(named(CATS[:1]), "dogs")
    assert (added.accepted, added.duplicates) == (1, 0)
    row = uploads.active()[0]
    assert (row.id, row.folder, row.batch) == (1, "dogs", added.batch)
    assert row.path.is_file()


def test_relabelling_moves_the_file(uploads: Uploads, home: Settings) -> None:
    uploads.add(named(CATS[:2]), "cats")
    assert uploads.relabel([1], "Dog") == 1
    assert {row.id: (row.folder, row.checked) for row in uploads.active()} == {1: ("dogs", True), 2: ("cats", False)}
    assert {name.split("/")[0] for name in kept_files(home)} == {"cats", "dogs"}
    assert all(row.path.is_file() for row in uploads.active())


def test_a_test_image_of_a_later_champion_is_left_out(uploads: Uploads, home: Settings) -> None:
    uploads.add(named(CATS[:2]), "cats")
    store = ModelStore(home.models_dir)
    version = store.get()

    def write(folder: Path) -> None:
        for name in ("head.npz", "novelty.npz"):
            shutil.copyfile(version.path / name, folder / name)
        row = f"{hashlib.sha256(CATS[0]).hexdigest()},cats,test,x.jpg"
        (folder / "manifest.csv").write_text(f"sha256,class,split,path\n{row}\n")

    kept = {key: version.metadata[key] for key in ("classes", "backbone", "metrics")}
    store.promote(store.save(kept, write).number, "for a test")
    assert [row.id for row in uploads.active()] == [2]


def test_an_image_without_its_file_can_be_removed(uploads: Uploads) -> None:
    uploads.add(named(CATS[:2]), "cats")
    uploads.active()[0].path.unlink()
    assert uploads.remove([1, 2]) == 2
    assert uploads.repair().missing == 1
    assert uploads.purge(0) == 2
    assert uploads.repair() == Repaired()


def test_unknown_numbers_change_nothing(uploads: Uploads) -> None:
    uploads.add(named(CATS[:1]), "cats")
    for change in (uploads.remove, uploads.restore, uploads.confirm):
        with pytest.raises(UploadNotFoundError, match="99"):
            change([1, 99])
    with pytest.raises(UploadNotFoundError):
        uploads.remove_batch("nope")
    assert len(uploads.active()) == 1


def test_feedback_waits_until_it_is_confirmed(uploads: Uploads, home: Settings) -> None:
    prediction = Predictor(settings=home, threads=1).predict(CATS[0])
    row = uploads.feedback(CATS[0], "dog", prediction, "192.0.2.7")
    assert (row.state, row.origin, row.folder, row.predicted) == ("pending", "feedback", "dogs", "cats")
    assert (row.confidence, row.model_version) == (pytest.approx(prediction.confidence), 1)
    assert uploads.active() == []
    assert not (home.retrain_dir / "dogs").exists()
    assert uploads.confirm([row.id]) == 1
    assert [picture.folder for picture in uploads.active()] == ["dogs"]
    uploads.remove([row.id])
    with pytest.raises(UploadConflictError, match="Restore it"):
        uploads.confirm([row.id])
    uploads.restore([row.id])
    with pytest.raises(UploadConflictError, match="dogs"):
        uploads.feedback(CATS[0], "cat", prediction, "192.0.2.7")


def test_restored_feedback_that_nobody_confirmed_waits_again(uploads: Uploads, home: Settings) -> None:
    prediction = Predictor(settings=home, threads=1).predict(CATS[0])
    row = uploads.feedback(CATS[0], "cat", prediction, "192.0.2.7")
    uploads.remove([row.id])
    uploads.restore([row.id])
    assert uploads.page(state="pending")[1] == 1
    assert uploads.add(named(CATS[:1]), "cats").accepted == 1  # who uploads it vouches for it
    assert [picture.checked for picture in uploads.active()] == [True]


def test_the_list_starts_with_the_most_urgent_uploads(uploads: Uploads, home: Settings) -> None:
    uploads.add(named(CATS[:5]), "cats")
    prediction = Predictor(settings=home, threads=1).predict(CATS[5])
    waiting = uploads.feedback(CATS[5], "dog", prediction, "192.0.2.7").id
    uploads.record_review(
        {2: {"verdict": "unsure"}, 4: {"problem": "doubted"}, 1: {"predicted": "dogs"}, 3: {"verdict": "cat"}}
    )
    uploads.remove([5])
    rows, total = uploads.page(limit=10)
    assert [row.id for row in rows] == [waiting, 4, 2, 1, 3, 5]
    assert total == 6
    assert [row.id for row in uploads.page(order="newest", offset=2, limit=2)[0]] == [4, 3]
    assert uploads.page(state="active", folder="cats")[1] == 4
    assert [row.id for row in uploads.active()] == [1, 2, 3]
    assert uploads.counts()["kept_out"] == 1


def test_a_confirmation_during_a_review_wins(uploads: Uploads) -> None:
    uploads.add(named(CATS[:2]), "cats")
    uploads.confirm([1])
    uploads.record_review({1: {"problem": DOUBTED}, 2: {"problem": DOUBTED}, 99: {"problem": DOUBTED}})
    assert [row.id for row in uploads.active()] == [1]


def test_a_failing_database_is_reported_and_loses_no_image(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object) -> None:
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    with monkeypatch.context() as patch:
        patch.setattr(intake, "insert_row", locked)
        with pytest.raises(OperationalError):
            uploads.add(named(CATS[:1]), "cats")
    assert uploads.active() == []
    assert uploads.repair().adopted == 1
    assert uploads.add(named(CATS[:1]), "cats").duplicates == 1


def test_without_a_connection_in_time_nothing_is_stored(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_in_time(*_: object) -> None:
        raise PoolTimeoutError("QueuePool limit of size 2 overflow 5 reached")

    with monkeypatch.context() as patch:
        patch.setattr(intake, "insert_row", none_in_time)
        with pytest.raises(PoolTimeoutError):
            uploads.add(named(CATS[:1]), "cats")
    assert uploads.repair().adopted == 0
    assert uploads.add(named(CATS[:1]), "cats").accepted == 1


def test_quotas_and_free_disk_are_kept(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    few = open_uploads(load_settings(home=home.home, max_kept_pictures=2))
    with pytest.raises(DiskFullError, match=r"CATDOG_MAX_KEPT_PICTURES.*2 images were stored"):
        few.add(named(CATS), "cats")
    assert len(few.active()) == 2
    assert few.add(named(CATS[:2]), "cats").duplicates == 2
    small = open_uploads(load_settings(home=home.home, max_kept_bytes=20_000))
    with pytest.raises(DiskFullError, match="CATDOG_MAX_KEPT_BYTES"):
        small.add(named(CATS), "cats")
    assert small.counts()["bytes"] <= 20_000
    usage = shutil.disk_usage(home.home)._replace(free=home.min_free_bytes + 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DiskFullError, match="CATDOG_MIN_FREE_BYTES"):
        open_uploads(home).add(named(CATS), "cats")


def test_a_full_disk_leaves_nothing_half(uploads: Uploads, home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads.add(named(CATS[:2]), "cats")
    before = kept_files(home)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError, match="0 images were stored"):
            uploads.add(named(CATS[2:]), "cats")
    assert kept_files(home) == before
    assert len(uploads.active()) == 2
    assert uploads.add(named(CATS), "cats").accepted == 4


def test_a_change_that_fails_half_way_changes_nothing(
    uploads: Uploads, home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads.add(named(CATS[:3]), "cats")
    before = kept_files(home)
    replace, calls = Path.replace, []

    def fail_at_second(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.EIO, "broken disk")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail_at_second)
        with pytest.raises(OSError, match="broken disk"):
            uploads.relabel([1, 2, 3], "dogs")
    assert kept_files(home) == before
    assert {row.folder for row in uploads.active()} == {"cats"}


def test_repair_makes_files_and_rows_consistent(uploads: Uploads, home: Settings) -> None:
    uploads.add(named(CATS), "cats")
    rows = uploads.active()
    table = tables.uploads
    with uploads.storage.engine.begin() as connection:
        connection.execute(delete(table).where(table.c.id == 1))  # killed between file and row
    (home.retrain_dir / "dogs").mkdir()
    rows[1].path.rename(home.retrain_dir / "dogs" / rows[1].path.name)  # killed between move and row
    shutil.copyfile(rows[2].path, home.retrain_dir / "dogs" / rows[2].path.name)
    rows[3].path.unlink()  # somebody deleted it
    (home.retrain_dir / "cats" / f".{'a' * 64}.jpg-x1").write_bytes(b"half")  # killed while writing
    (home.retrain_dir / "cats" / "holiday.jpg").write_bytes(CATS[0])  # somebody's own
    assert uploads.repair() == Repaired(adopted=1, moved=2, missing=1, removed=1)
    assert uploads.repair() == Repaired()
    active = uploads.active()
    assert {row.sha256 for row in active} == {row.sha256 for row in rows} - {rows[3].sha256}
    assert all(hashlib.sha256(row.path.read_bytes()).hexdigest() == row.sha256 for row in active)
    assert [row.uploader for row in active if row.sha256 == rows[0].sha256] == ["recovered"]
    assert (home.retrain_dir / "cats" / "holiday.jpg").exists()
    assert uploads.add(named(CATS[3:4]), "cats").accepted == 1  # sent again, it is whole again
    assert len(uploads.active()) == 6


def test_a_lost_database_loses_no_image(uploads: Uploads, home: Settings) -> None:
    uploads.add(named(CATS), "cats")
    uploads.remove([1])
    hashes = {row.sha256 for row in uploads.active()}
    uploads.storage.engine.dispose()
    lose_database(home)
    again = open_uploads(home)
    assert again.repair().adopted == 6
    assert {row.sha256 for row in again.active()} == hashes
    assert again.counts()["removed"]["cats"] == 1


SENDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from drawing import draw, encode
from catdog.retraining.uploads.uploads import Uploads
from catdog.storage.database import open_database
from catdog.settings import load_settings
settings = load_settings(home=Path(sys.argv[1]))
uploads = Uploads(settings, open_database(settings))
uploads.repair()
for i in range(int(sys.argv[2])):
    added = uploads.add([(f"{i}.jpg", encode(draw("cat", 6000 + i)))], "cats")
    print(i, added.accepted, added.duplicates, flush=True)
"""


def sender(home: Settings, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SENDER, str(home.home), str(count), str(Path(__file__).parents[3] / "support")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_kill_loses_nothing_that_was_acknowledged(home: Settings) -> None:
    for delay in (0.02, 0.11, 0.23):
        process = sender(home, 500)
        assert process.stdout is not None
        heard = [process.stdout.readline()]
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        heard += process.stdout.read().splitlines()
        process.wait()
        whole = [line.split() for line in heard if len(line.split()) == 3]
        acknowledged = max(int(line[0]) for line in whole) + 1
        uploads = open_uploads(home)
        uploads.repair()
        paths = {row.sha256: row.path for row in uploads.active()}
        for i in range(acknowledged):
            expected = intake.reencode(encode(draw("cat", 6000 + i)), home)
            assert paths[hashlib.sha256(expected).hexdigest()].read_bytes() == expected
        assert len(kept_files(home)) == uploads.counts()["total"]
        assert uploads.repair() == Repaired()
        uploads.storage.engine.dispose()


def test_an_image_sent_by_two_processes_is_stored_once(home: Settings) -> None:
    processes = [sender(home, 20) for _ in range(2)]
    told = [[line.split() for line in process.communicate(timeout=60)[0].splitlines()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum(int(line[1]) for lines in told for line in lines) == 20
    assert sum(int(line[2]) for lines in told for line in lines) == 20
    uploads = open_uploads(home)
    assert uploads.counts()["total"] == len(kept_files(home)) == 20
    assert uploads.repair() == Repaired()
