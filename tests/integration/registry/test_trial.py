"""Versions with correct checksums and hostile contents: they are rejected, cheaply."""

import json
import os
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answers import require_problem
from apiflask import APIFlask
from flask.testing import FlaskClient
from tiny import describe_backbone, write_backbone

from catdog.registry.store import ModelStore
from catdog.settings import Settings, load_settings
from catdog.storage.files import file_sha256
from catdog.web.app import create_app

SECRET = "what lies outside is nobody's business"
MOST_MEMORY = 300 * 2**20


class Making:
    """Version 2, a copy of the bundled one, to be damaged."""

    def __init__(self, models: Path) -> None:
        self.models, self.folder = models, models / "2"
        shutil.copytree(models / "1", self.folder)
        self.metadata: dict[str, Any] = json.loads((self.folder / "metadata.json").read_text()) | {"version": 2}
        self.secret = models.parent / "secret"
        self.secret.write_text(SECRET)

    def arrays(self, name: str, **changes: Any) -> None:
        with np.load(self.folder / name) as found:
            np.savez(self.folder / name, **{**found, **changes})

    def raw(self, name: str, member: str, header: str, body: bytes = b"", method: int = zipfile.ZIP_STORED) -> None:
        """Write an array file with an arbitrary header."""
        text = header.encode().ljust(117) + b"\n"
        with np.load(self.folder / name) as found:
            others = {key: found[key] for key in found if key != member}
        np.savez(self.folder / name, **others)
        with zipfile.ZipFile(self.folder / name, "a", method) as archive:
            archive.writestr(f"{member}.npy", b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body)

    def cut(self, name: str, size: int) -> None:
        (self.folder / name).write_bytes((self.folder / name).read_bytes()[:size])

    def backbone(self, folder_name: str = "other", **changes: Any) -> Path:
        folder = self.models / "backbones" / folder_name
        write_backbone(folder, **changes)
        self.metadata["backbone"] = folder_name
        return folder

    def finish(self) -> None:
        """Write the metadata with checksums of the current files."""
        names = [n for n in self.metadata["checksums"] if (self.folder / n).is_file()]
        found = {name: file_sha256(self.folder / name) for name in names}
        self.metadata["checksums"] = {**self.metadata["checksums"], **found}
        self.write(json.dumps(self.metadata))

    def write(self, text: str) -> None:
        (self.folder / "metadata.json").write_text(text)


def shape(text: str, kind: str = "<f4") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {text}, }}"


def full(array: str, value: float, *at: int) -> Callable[[Making], None]:
    def spoil(made: Making, name: str = "head.npz" if "_" in array else "novelty.npz") -> None:
        with np.load(made.folder / name) as found:
            wanted = found[array].astype(np.float64)
        wanted[at or ...] = value
        made.arrays(name, **{array: wanted})

    return spoil


def link(made: Making, name: str, target: Path | str) -> None:
    (made.folder / name).unlink()
    (made.folder / name).symlink_to(target)


def fifo(made: Making) -> None:
    (made.folder / "head.npz").unlink()
    os.mkfifo(made.folder / "head.npz")


def say(**changes: Any) -> Callable[[Making], None]:
    return lambda made: made.metadata.update(changes)


def measured(**changes: Any) -> Callable[[Making], None]:
    return lambda made: made.metadata["metrics"].update(changes)


def checked(**names: Any) -> Callable[[Making], None]:
    return lambda made: made.metadata["checksums"].update({n.replace("__", "/"): v for n, v in names.items()})


def manifest(text: str | bytes) -> Callable[[Making], None]:
    data = text if isinstance(text, bytes) else f"sha256,class,split,path\n{text}".encode()
    return lambda made: (made.folder / "manifest.csv").write_bytes(data) and None


HASH = "0" * 64

HOSTILE: dict[str, Callable[[Making], Any]] = {
    "head of NaN": full("hidden_weights", np.nan),
    "one NaN in the head": full("output_bias", np.nan, 1),
    "infinity in the head": full("hidden_bias", np.inf, 0),
    "a weight that is infinite in single precision": full("output_weights", 1e39, 0),
    "weights whose products overflow": full("output_weights", 1e38),
    "mean of NaN": full("mean", np.nan),
    "projection with infinity": full("projection", -np.inf, 0),
    "bank with NaN": full("bank", np.nan, 0),
    "projection whose products overflow": full("projection", 3e38),
    "threshold of NaN": full("threshold", np.nan),
    "threshold of infinity": full("threshold", np.inf),
    "threshold of nothing": full("threshold", 0),
    "threshold below nothing": full("threshold", -1),
    "neighbour 0": lambda m: m.arrays("novelty.npz", neighbour=np.array(0)),
    "neighbour beyond the bank": lambda m: m.arrays("novelty.npz", neighbour=np.array(10**6)),
    "neighbour of NaN": lambda m: m.arrays("novelty.npz", neighbour=np.array(np.nan)),
    "neighbour of text": lambda m: m.arrays("novelty.npz", neighbour=np.array("x")),
    "mean of text": lambda m: m.arrays("novelty.npz", mean=np.array(["x"] * 1280)),
    "novelty for other features": lambda m: m.arrays("novelty.npz", mean=np.ones(7), projection=np.ones((7, 256))),
    "no bank": lambda m: m.arrays("novelty.npz", bank=np.empty((0, 256))),
    "a head of other features": lambda m: m.arrays("head.npz", hidden_weights=np.ones((7, 128), np.float32)),
    "a head of no features": lambda m: m.arrays("head.npz", hidden_weights=np.ones((0, 128), np.float32)),
    "a head of more classes": lambda m: m.arrays(
        "head.npz", output_weights=np.ones((128, 3), np.float32), output_bias=np.ones(3, np.float32)
    ),
    "a head of one dimension": lambda m: m.arrays("head.npz", hidden_weights=np.ones(1280, np.float32)),
    "a head of text": lambda m: m.arrays("head.npz", hidden_bias=np.array(["1"] * 128)),
    "a head of objects": lambda m: m.arrays("head.npz", hidden_bias=np.array([{}] * 128)),
    "a head of complex numbers": lambda m: m.arrays("head.npz", hidden_bias=np.ones(128, complex)),
    "10^12 elements": lambda m: m.raw("head.npz", "hidden_weights", shape("(1000000, 1000000)"), b"\0" * 64),
    "10^30 elements": lambda m: m.raw("head.npz", "hidden_weights", shape(f"({10**15}, {10**15})"), b"\0" * 64),
    "10^9 elements in a bank": lambda m: m.raw("novelty.npz", "bank", shape("(4000000, 256)", "<f2"), b"\0" * 64),
    "10^12 elements of no bytes": lambda m: m.raw("novelty.npz", "bank", shape("(4000000, 256)", "|V0")),
    "a long text": lambda m: m.raw("replay.npz", "split", shape("(1,)", "<U900000000")),
    "fewer than nothing": lambda m: m.raw("head.npz", "hidden_bias", shape("(-128,)"), b"\0" * 512),
    "shape that is code": lambda m: m.raw("head.npz", "hidden_bias", shape("(__import__('os').getpid(),)")),
    "shape of true and false": lambda m: m.raw("head.npz", "hidden_bias", shape("(True,)"), b"\0" * 4),
    "header nested deep": lambda m: m.raw("head.npz", "hidden_bias", "(" * 9000),
    "an array without its bytes": lambda m: m.raw("head.npz", "hidden_bias", shape("(128,)"), b"\0" * 5),
    "an array with more bytes": lambda m: m.raw("head.npz", "hidden_bias", shape("(128,)"), b"\0" * 513),
    "a zip bomb": lambda m: m.raw(
        "head.npz", "hidden_weights", shape("(100000000,)"), b"\0" * (4 * 10**8), zipfile.ZIP_DEFLATED
    ),
    "bzip2": lambda m: m.raw("head.npz", "hidden_bias", shape("(128,)"), b"\0" * 512, zipfile.ZIP_BZIP2),
    "LZMA": lambda m: m.raw("head.npz", "hidden_bias", shape("(128,)"), b"\0" * 512, zipfile.ZIP_LZMA),
    "a head cut": lambda m: m.cut("head.npz", 5000),
    "a head cut before its directory": lambda m: m.cut("head.npz", 657_000),
    "an empty head": lambda m: m.cut("head.npz", 0),
    "a head that is no zip": lambda m: (m.folder / "head.npz").write_text("head"),
    "an empty zip": lambda m: (m.folder / "head.npz").write_bytes(b"PK\x05\x06" + bytes(18)),
    "novelty cut": lambda m: m.cut("novelty.npz", 5000),
    "replay cut": lambda m: m.cut("replay.npz", 5000),
    "replay of NaN": lambda m: m.arrays("replay.npz", features=np.full((2, 1280), np.nan), labels=np.array([0, 1]),
                                        sha256=np.array([HASH] * 2), split=np.array(["train"] * 2)),
    "replay of other features": lambda m: m.arrays("replay.npz", features=np.ones((2, 7)), labels=np.array([0, 1]),
                                                   sha256=np.array([HASH] * 2), split=np.array(["train"] * 2)),
    "replay of other classes": lambda m: m.arrays("replay.npz", features=np.ones((2, 1280)), labels=np.array([0, 9]),
                                                  sha256=np.array([HASH] * 2), split=np.array(["test"] * 2)),
    "replay of negative classes": lambda m: m.arrays("replay.npz", features=np.ones((1, 1280)), labels=np.array([-1]),
                                                     sha256=np.array([HASH]), split=np.array(["test"])),
    "replay of other splits": lambda m: m.arrays("replay.npz", features=np.ones((1, 1280)), labels=np.array([0]),
                                                 sha256=np.array([HASH]), split=np.array(["x"])),
    "replay of uneven lengths": lambda m: m.arrays("replay.npz", labels=np.array([0, 1])),
    "replay without hashes": lambda m: m.arrays("replay.npz", sha256=np.zeros(4)),
    "manifest without columns": manifest(b"a,b\n1,2\n"),
    "manifest of another class": manifest(f"{HASH},birds,train,x.jpg\n"),
    "manifest of another split": manifest(f"{HASH},cats,x,x.jpg\n"),
    "manifest without hashes": manifest("x,cats,train,x.jpg\n"),
    "manifest of short rows": manifest(f"{HASH}\n"),
    "manifest with an endless field": manifest(f"{HASH},cats,train,{'x' * 200_000}\n"),
    "manifest with NUL": manifest(f"{HASH},cats,train,x\0.jpg\n"),
    "manifest of a long name": manifest(f"{HASH},cats,train,{'x' * 300}\n"),
    "data from a path with NUL": say(data={"root": "/a\0b"}),
    "data from a long path": say(data={"root": "/" + "x" * 300}),
    "manifest of noise": lambda m: (m.folder / "manifest.csv").write_bytes(bytes(range(256)) * 100),
    "metadata that is a list": lambda m: m.write("[1, 2]"),
    "metadata that is null": lambda m: m.write("null"),
    "metadata that is text": lambda m: m.write('"text"'),
    "metadata that is empty": lambda m: m.write(""),
    "metadata that is cut": lambda m: m.write(json.dumps(m.metadata)[:500]),
    "metadata nested deep": lambda m: m.write('{"classes": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "metadata nested deep in objects": lambda m: m.write('{"a":' * 100_000 + "1" + "}" * 100_000),
    "metadata with NaN": lambda m: m.write(json.dumps({**m.metadata, "temperature": float("nan")})),
    "metadata with Infinity": measured(loss=float("inf")),
    "metadata with a number beyond": lambda m: m.write(json.dumps(m.metadata | {"x": "?"}).replace('"?"', "1e999")),
    "metadata of many bytes": lambda m: m.write(json.dumps({**m.metadata, "note": "x" * 33 * 2**20})),
    "metadata of many lists": lambda m: m.write(json.dumps(m.metadata | {"note": [[]] * 300_000})),
    "metadata of a long number": lambda m: m.write(json.dumps(m.metadata).replace('"n": 983', f'"n": {"9" * 5000}')),
    "metadata that is not UTF-8": lambda m: (m.folder / "metadata.json").write_bytes(b'{"format": "\xff"}'),
    "format of another kind": say(format="1"),
    "format that is true": say(format=True),
    "no class": say(classes=[]),
    "one class": say(classes=["cats"]),
    "classes that are text": say(classes="cats"),
    "classes that are null": say(classes=None),
    "classes that are numbers": say(classes=[1, 2]),
    "a class without a name": say(classes=["cats", ""]),
    "a class of a space": say(classes=["cats", " "]),
    "a class twice": say(classes=["cats", "cats"]),
    "classes that are called alike": say(classes=["cats", "cat"]),
    "a class that leads out": say(classes=["cats", "../dogs"]),
    "a class with NUL": say(classes=["cats", "do\0gs"]),
    "a class of half a character": say(classes=["cats", "\ud800"]),
    "a class with a long name": say(classes=["cats", "x" * 256]),
    "a million classes": say(classes=[str(i) for i in range(10**6)]),
    "backbone that leads out": say(backbone="../.."),
    "backbone one up": say(backbone=".."),
    "backbone of an absolute path": say(backbone="/etc"),
    "backbone in a folder": say(backbone="a/b"),
    "backbone without a name": say(backbone=""),
    "backbone that is a number": say(backbone=5),
    "backbone that is null": say(backbone=None),
    "backbone that is not there": say(backbone="mobilenetv2-224-000000000000"),
    "backbone with NUL": say(backbone="a\0b"),
    "checksums that are a list": lambda m: m.write(json.dumps(m.metadata | {"checksums": ["head.npz", "novelty.npz"]})),
    "checksums that are null": lambda m: m.write(json.dumps(m.metadata | {"checksums": None})),
    "checksum that is a number": checked(**{"report.html": 5}),
    "checksum that is short": checked(**{"report.html": "00"}),
    "checksum of an absolute name": lambda m: m.metadata["checksums"].update({str(m.secret): HASH}),
    "checksum of /etc/passwd": lambda m: m.metadata["checksums"].update({"/etc/passwd": HASH}),
    "checksum that leads out": lambda m: m.metadata["checksums"].update({"../../secret": HASH}),
    "checksum in a folder": lambda m: m.metadata["checksums"].update({"a/b": HASH}),
    "checksum of Windows' path": lambda m: m.metadata["checksums"].update({"..\\..\\secret": HASH}),
    "checksum of the folder": lambda m: m.metadata["checksums"].update({".": HASH}),
    "checksum of nothing": lambda m: m.metadata["checksums"].update({"": HASH}),
    "checksum with NUL": lambda m: m.metadata["checksums"].update({"a\0": HASH}),
    "accuracy over 1": measured(accuracy=1.5),
    "accuracy in quotes": measured(accuracy="0.9"),
    "accuracy of true": measured(accuracy=True),
    "fewer images than none": measured(n=-1),
    "half an image": measured(n=1.5),
    "metrics that are a list": say(metrics=[]),
    "a matrix of another size": measured(confusion_matrix=[[1, 2, 3]]),
    "a matrix of text": measured(confusion_matrix=[["1", "2"], ["3", "4"]]),
    "measures of other classes": measured(per_class={"x": {}}),
    "an interval of one": measured(accuracy_ci=[0.5]),
    "data that is a list": say(data=[]),
    "data from a number": say(data={"root": 5}),
    "counts of text": say(data={"counts": {"train": {"cats": "5"}}}),
    "a history of text": say(history=["x"]),
    "data that is null": say(data=None),
    "metrics that are null": say(metrics=None),
    "temperature that is null": say(temperature=None),
    "a date that is null": say(created_at=None),
    "coverage that is null": measured(coverage=None),
    "an interval that is null": measured(accuracy_ci=None),
    "weights beyond reason": full("hidden_bias", 1e30, 0),
    "a date of a number": say(created_at=5),
    "temperature of nothing": say(temperature=0),
    "a link to a file outside": lambda m: link(m, "head.npz", m.secret),
    "a link to a head outside": lambda m: (shutil.copy(m.folder / "head.npz", m.models.parent / "h"),
                                           link(m, "head.npz", m.models.parent / "h")),
    "a link to itself": lambda m: link(m, "head.npz", "head.npz"),
    "a link to nothing": lambda m: link(m, "head.npz", "nowhere"),
    "a manifest that leads out": lambda m: link(m, "manifest.csv", m.secret),
    "a FIFO": fifo,
    "a folder for a head": lambda m: ((m.folder / "head.npz").unlink(), (m.folder / "head.npz").mkdir()),
    "a huge file": lambda m: (os.truncate(m.folder / "manifest.csv", 2**40), m.write(json.dumps(m.metadata))),
    "a backbone of NaN": lambda m: m.backbone(weight=float("nan")),
    "a backbone of infinity": lambda m: m.backbone(weight=float("inf")),
    "a backbone of other features": lambda m: m.backbone(),
    "a backbone that claims other features": lambda m: m.backbone(features=1280),
    "a backbone that claims another size": lambda m: m.backbone(image_size=1024),
    "a backbone that claims a giant size": lambda m: m.backbone(image_size=10**6),
    "a backbone that claims to be another": lambda m: m.backbone(id="mobilenetv2-256-2f52614f82f1"),
    "a backbone without checksums": lambda m: m.backbone(checksums={}),
    "a backbone with outer checksums": lambda m: m.backbone(checksums={"../../../secret": HASH}),
    "a backbone of a list": lambda m: (m.backbone() / "backbone.json").write_text("[]"),
    "a backbone nested deep": lambda m: (m.backbone() / "backbone.json").write_text("[" * 100_000),
    "a network of noise": lambda m: (folder := m.backbone(), (folder / "backbone.xml").write_text("<net"),
                                     describe_backbone(folder)),
    "a network without weights": lambda m: (folder := m.backbone(), (folder / "backbone.bin").write_bytes(b""),
                                            describe_backbone(folder)),
    "a network linked from outside": lambda m: (folder := m.backbone(), (folder / "backbone.bin").unlink(),
                                                (folder / "backbone.bin").symlink_to(m.secret),
                                                describe_backbone(folder)),
}  # fmt: skip

AT_THE_START = ["head of NaN", "10^12 elements", "metadata nested deep", "backbone that leads out", "replay cut",
                "checksum that leads out", "a backbone of NaN", "a FIFO", "manifest of noise"]  # fmt: skip


@pytest.fixture(scope="module")
def served(bundled: Settings, tmp_path_factory: pytest.TempPathFactory) -> tuple[APIFlask, Settings]:
    """A server with the bundled model, whose threads don't look for other versions."""
    home = Path(shutil.copytree(bundled.home, tmp_path_factory.mktemp("served") / "home"))
    settings = load_settings(home=home, rate_limit="off", rate_limit_changes="off")
    app = create_app(settings)
    app.extensions["catdog"].stop()
    return app, settings


@pytest.fixture
def made(served: tuple[APIFlask, Settings]) -> Iterator[Making]:
    """A version to be damaged in that server's store, removed after the test."""
    models = served[1].models_dir
    champion = (models / "champion.json").read_bytes()
    making = Making(models)
    yield making
    shutil.rmtree(making.folder)
    shutil.rmtree(models / "backbones" / "other", ignore_errors=True)
    (models / "champion.json").write_bytes(champion)


def spoil(made: Making, how: str) -> None:
    before = (made.folder / "metadata.json").read_bytes()
    HOSTILE[how](made)
    if (made.folder / "metadata.json").read_bytes() == before:
        made.finish()


@pytest.mark.slow
@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_version_is_not_promoted_and_stops_nothing(
    made: Making, served: tuple[APIFlask, Settings], how: str
) -> None:
    app, settings = served
    client = app.test_client()
    spoil(made, how)
    tracemalloc.start()
    response = client.post("/api/models/2/promote")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    problem = require_problem(response, 409)
    assert 10 < len(problem["error"]) < 1000
    outside = file_sha256(made.secret)
    for part in (SECRET, outside[:12], outside[:8], str(settings.home), "Traceback", "root:x:"):
        assert part not in problem["error"]
    assert peak < MOST_MEMORY
    assert ModelStore(settings.models_dir).champion() == 1
    listed = client.get("/api/models")
    assert listed.status_code == 200
    assert [row["version"] for row in listed.json["versions"]] == [1, 2]
    for path in ("/?tab=status&compare=2", "/api/stats", "/api/model/status"):
        assert client.get(path).status_code == 200
    assert client.get("/api/models/2/download").status_code in (200, 409)


def test_the_version_that_the_hostile_ones_are_made_of_is_promoted(
    made: Making, served: tuple[APIFlask, Settings]
) -> None:
    made.finish()
    client = served[0].test_client()
    assert client.post("/api/models/2/promote").json == {"champion": 2}
    assert client.post("/api/models/rollback").json == {"champion": 1}


def test_a_minimal_version_is_shown(made: Making, served: tuple[APIFlask, Settings]) -> None:
    for name in ("replay.npz", "manifest.csv", "head.keras"):
        (made.folder / name).unlink()
        del made.metadata["checksums"][name]
    made.metadata = {name: made.metadata[name] for name in ("format", "classes", "backbone", "checksums")}
    made.finish()
    client = served[0].test_client()
    assert client.post("/api/models/2/promote").json == {"champion": 2}
    try:
        for path in ("/", "/?tab=status", "/?tab=retrain", "/?tab=visualizations", "/api/model/status", "/api/stats",
                     "/api/models", "/api/charts", "/metrics", "/api/models/2/download"):  # fmt: skip
            assert client.get(path).status_code == 200, path
    finally:
        assert client.post("/api/models/1/promote").status_code == 200


def test_a_worse_head_is_not_restored(made: Making, served: tuple[APIFlask, Settings]) -> None:
    client = served[0].test_client()
    made.finish()
    history = [{"version": v, "at": "2026-01-01T00:00:00+00:00", "reason": "better"} for v in (2, 1)]
    (made.models / "champion.json").write_text(json.dumps({"version": 1, "history": history}))
    spoil(made, "head of NaN")
    require_problem(client.post("/api/models/rollback"), 409, "NaN")
    assert ModelStore(made.models).champion() == 1


def require_sentence(home: Path, *arguments: str) -> None:
    """Run a command that must end with a sentence and exit code 1."""
    command = [sys.executable, "-m", "catdog", "--home", str(home), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    sentence = finished.stderr.lower()
    assert "can't" in sentence or "nan" in sentence or "missing" in sentence, sentence


@pytest.mark.parametrize("how", ["a backbone of NaN", "10^12 elements"])
def test_the_command_line_rejects_it_in_a_sentence(made: Making, served: tuple[APIFlask, Settings], how: str) -> None:
    spoil(made, how)
    require_sentence(served[1].home, "models", "promote", "2")
    assert ModelStore(made.models).champion() == 1


@pytest.mark.parametrize("how", AT_THE_START)
def test_a_server_starts_without_a_hostile_champion_and_says_why(
    made: Making, served: tuple[APIFlask, Settings], how: str
) -> None:
    spoil(made, how)
    history = [{"version": 2, "at": "2026-01-01T00:00:00+00:00", "reason": "by hand"}]
    (made.models / "champion.json").write_text(json.dumps({"version": 2, "history": history}))
    app = create_app(served[1])
    client = app.test_client()
    app.extensions["catdog"].stop()
    require_problem(client.get("/readyz"), 503)
    assert client.get("/api/model/status").json["refused"]["version"] == 2
    for path in ("/", "/?tab=status", "/?tab=retrain", "/?tab=visualizations", "/api/models", "/metrics", "/api/stats"):
        assert client.get(path).status_code == 200, path


ENTRY = {"version": 1, "at": "2026-01-01T00:00:00+00:00", "reason": "x"}
CHAMPIONS: dict[str, str] = {
    "empty": "",
    "list": "[]",
    "null": "null",
    "number": "1",
    "no history": "{}",
    "history of a number": '{"history": 5}',
    "history of null": '{"history": null}',
    "history of text": '{"history": "text"}',
    "entry of text": '{"history": ["x"]}',
    "entry of more": json.dumps({"history": [{**ENTRY, "more": 1}]}),
    "version in quotes": json.dumps({"history": [{**ENTRY, "version": "1"}]}),
    "version that leads out": json.dumps({"history": [{**ENTRY, "version": "../../etc"}]}),
    "version of a fraction": json.dumps({"history": [{**ENTRY, "version": 1.0}]}),
    "version that is true": json.dumps({"history": [{**ENTRY, "version": True}]}),
    "version 0": json.dumps({"history": [{**ENTRY, "version": 0}]}),
    "version below 0": json.dumps({"history": [{**ENTRY, "version": -1}]}),
    "version beyond": json.dumps({"history": [{**ENTRY, "version": 10**300}]}),
    "version of 5,000 digits": '{"history": [{"version": ' + "9" * 5000 + ', "at": "", "reason": ""}]}',
    "version of NaN": '{"history": [{"version": NaN, "at": "", "reason": ""}]}',
    "reason of a number": json.dumps({"history": [{**ENTRY, "reason": 5}]}),
    "nested deep": "[" * 100_000 + "]" * 100_000,
    "nested deep in objects": '{"history":' * 100_000,
    "long": json.dumps({"history": [ENTRY], "note": "x" * 33 * 2**20}),
}


@pytest.mark.parametrize("text", CHAMPIONS.values(), ids=CHAMPIONS)
def test_a_hostile_champion_file_stops_nothing_but_changes(
    made: Making, served: tuple[APIFlask, Settings], text: str
) -> None:
    client: FlaskClient = served[0].test_client()
    made.finish()
    (made.models / "champion.json").write_text(text)
    served[0].extensions["catdog"].model.refresh()
    require_problem(client.post("/api/models/2/promote"), 409, "champion")
    require_problem(client.get("/api/models"), 409, "champion")
    ready = client.get("/readyz")
    assert ready.status_code == 200  # the one that answered goes on, and the fault is named
    document = dict(ready.json or {})
    assert "champion" in document.pop("faults")[0]
    assert document == {"status": "degraded", "version": 1}
    for path in ("/", "/api/model/status", "/api/stats", "/?tab=retrain", "/metrics"):
        assert client.get(path).status_code == 200, path


def test_the_command_line_says_what_is_wrong_with_the_champion_file(
    made: Making, served: tuple[APIFlask, Settings]
) -> None:
    for text in (CHAMPIONS["nested deep"], CHAMPIONS["version that leads out"]):
        (made.models / "champion.json").write_text(text)
        require_sentence(served[1].home, "models", "list")


@pytest.mark.parametrize("number", ["0", "999", "1000000000", "9" * 300, "9" * 4000])
def test_an_unknown_version_is_not_found(served: tuple[APIFlask, Settings], number: str) -> None:
    client = served[0].test_client()
    require_problem(client.post(f"/api/models/{number}/promote"), 404)
    require_problem(client.get(f"/api/models/{number}/download"), 404)


ASSESSMENTS: dict[str, Any] = {
    "a list": [],
    "text for examples": {"n": 1, "examples": "x"},
    "an example of no class": {"n": 1, "examples": [{"sha256": HASH, "path": "x", "true": 9, "answered": 0,
                                                     "probabilities": [1.0, 0.0]}]},
    "an example of more classes": {"n": 1, "examples": [{"sha256": HASH, "path": "x", "true": 0, "answered": 0,
                                                         "probabilities": [1.0, 0.0, 0.0]}]},
    "an example without probabilities": {"n": 1, "examples": [{"sha256": HASH, "path": "x", "true": 0, "answered": 1}]},
    "a path with NUL": {"n": 1, "examples": [{"sha256": HASH, "path": "a\0b", "true": 0, "answered": 1,
                                              "probabilities": [0.1, 0.9]}]},
    "rates of text": {"n": 1, "rates": ["x"]},
    "bins of nobody": {"n": 1, "reliability": [{"from": 0, "to": 1, "n": 0, "confidence": 1, "accuracy": 1}]},
    "a curve of one": {"n": 1, "roc": [{"points": [[0]], "auc": 1}, None]},
    "NaN": {"n": 1, "roc": [{"points": [[0, float("nan")]], "auc": 1}, None]},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("document", ASSESSMENTS.values(), ids=ASSESSMENTS)
def test_a_hostile_assessment_stops_no_chart(made: Making, served: tuple[APIFlask, Settings], document: Any) -> None:
    app, _ = served
    (made.folder / "assessment.json").write_text(json.dumps(document))
    (made.folder / "replay.npz").unlink()
    for name in ("assessment.json", "replay.npz"):
        made.metadata["checksums"].pop(name, None)
    made.metadata["checksums"]["assessment.json"] = ""
    made.finish()
    client = app.test_client()
    assert client.post("/api/models/2/promote").status_code == 200
    try:
        for path in ("/api/charts", "/api/charts/pictures", "/?tab=visualizations", "/api/charts/roc",
                     "/api/charts/pictures?true=cat&answered=dog", f"/api/charts/pictures/{HASH}"):  # fmt: skip
            assert client.get(path).status_code in (200, 404, 503), path
    finally:
        client.post("/api/models/1/promote")
