"""Odd and hostile pictures, names and forms: exact statuses, nothing written, never a failure of the server."""

import json
import os
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_images
import numpy as np
import pytest
from answers import require_problem
from drawing import draw, encode
from flask.testing import FlaskClient
from PIL import Image

from catdog.prediction.predictor import Predictor

CAT = draw("cat", 4032, (640, 480))
JPEG = encode(CAT)
PROGRESSIVE = encode(CAT, progressive=True)
PNG = encode(CAT, "PNG")
WEBP = encode(CAT, "WEBP")
LOSSLESS = encode(CAT, "WEBP", lossless=True)
SECOND = draw("dog", 1, (640, 480))
ZEROS = zlib.compress(bytes(100_000_000), 9)
"""A hundred megabytes in a hundred kilobytes."""


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """Make a PNG from its header and whatever chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def png_with(extra: bytes) -> bytes:
    """Put a chunk behind the header of the PNG."""
    return PNG[:33] + extra + PNG[33:]


def jpeg_of(width: int, height: int) -> bytes:
    """Make a JPEG whose header promises another size."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def webp_of(side: int) -> bytes:
    """Make a lossy WebP whose header promises another size."""
    at = WEBP.index(b"\x9d\x01\x2a") + 3
    return WEBP[:at] + struct.pack("<HH", side, side) + WEBP[at + 4 :]


def lossless_webp_of(side: int) -> bytes:
    """Make a lossless WebP whose header promises another size."""
    at = LOSSLESS.index(b"VP8L") + 9
    return LOSSLESS[:at] + struct.pack("<I", (side - 1) | (side - 1) << 14) + LOSSLESS[at + 4 :]


def canvas_of(side: int) -> bytes:
    """Make an extended WebP that is nothing but the promise of a canvas."""
    size = struct.pack("<I", side - 1)[:3]
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size * 2
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def deep_png() -> bytes:
    """Make a PNG of 16 bits a channel, in colour."""
    rows = np.asarray(CAT).astype(">u2") * 257
    return png(640, 480, chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))), depth=16)


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def adobe_cmyk() -> bytes:
    """Make a JPEG of four inks as Adobe's programs write it: YCCK, said in an APP14 segment."""
    plain = encode(CAT.convert("CMYK"))
    at = plain.index(b"Adobe") + 11
    assert plain[at] == 0
    return plain[:at] + b"\x02" + plain[at + 1 :]


FINE: dict[str, bytes] = {
    "jpeg": JPEG,
    "jpeg progressive": PROGRESSIVE,
    "jpeg arithmetic": JPEG.replace(b"\xff\xc0", b"\xff\xc9", 1),
    "jpeg grey": encode(CAT.convert("L")),
    "jpeg cmyk": encode(CAT.convert("CMYK")),
    "jpeg ycck": adobe_cmyk(),
    "jpeg 4:4:4": encode(CAT, subsampling=0),
    "jpeg with icc": encode(CAT, icc_profile=b"rubbish" * 100),
    "mpo": encode(CAT, "MPO", save_all=True, append_images=[SECOND]),
    "png": PNG,
    "png 1": encode(CAT.convert("1"), "PNG"),
    "png L": encode(CAT.convert("L"), "PNG"),
    "png LA": encode(CAT.convert("LA"), "PNG"),
    "png P": encode(CAT.convert("P"), "PNG"),
    "png P transparent": encode(CAT.convert("P"), "PNG", transparency=0),
    "png P half transparent": encode(CAT.convert("P"), "PNG", transparency=bytes(range(256))),
    "png RGB transparent": encode(CAT, "PNG", transparency=CAT.getpixel((0, 0))),
    "png RGBA": encode(CAT.convert("RGBA"), "PNG"),
    "png 16 bit grey": encode(Image.fromarray(np.asarray(CAT.convert("L")).astype(np.uint16) * 257), "PNG"),
    "png 16 bit colour": deep_png(),
    "png animated": encode(CAT, "PNG", save_all=True, append_images=[SECOND]),
    "png one pixel": encode(Image.new("RGB", (1, 1)), "PNG"),
    "png thin": encode(Image.new("RGB", (1, 5000)), "PNG"),
    "png with more pixels than it has": png(20, 20, chunk(b"IDAT", ZEROS)),
    # Nothing reads a profile or a text, however long it is.
    "png with a bomb of text": png_with(chunk(b"zTXt", b"k\0\0" + ZEROS)),
    "png with a bomb of international text": png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + ZEROS)),
    "png with a bomb of a profile": png_with(chunk(b"iCCP", b"k\0\0" + ZEROS)),
    "png with a bomb behind": PNG[:-12] + chunk(b"zTXt", b"k\0\0" + ZEROS) + PNG[-12:],
    "webp": WEBP,
    "webp lossless": LOSSLESS,
    "webp RGBA": encode(CAT.convert("RGBA"), "WEBP"),
    "avif": encode(CAT, "AVIF"),
    "avif transparent": encode(CAT.convert("RGBA"), "AVIF"),
    "jpeg without its end": JPEG[:-2],
    "webp animated": encode(CAT, "WEBP", save_all=True, append_images=[SECOND]),
    "rubbish behind": JPEG + b"<?php" * 100,
    "zip behind": JPEG + b"PK\x03\x04" + bytes(100),
    "html in a comment": encode(CAT, comment=b"<script>alert(1)</script>"),
    "odd exif": encode(CAT, exif=b"Exif\0\0rubbish"),
    "exif without end": encode(CAT, exif=b"Exif\0\0II*\0\xff\xff\xff\xff"),
}
COLOURS = {"jpeg", "jpeg progressive", "jpeg cmyk", "jpeg 4:4:4", "mpo", "png", "png P", "png RGBA",
           "png 16 bit colour", "png animated", "webp", "webp lossless", "webp RGBA", "webp animated",
           "avif", "jpeg without its end"}  # fmt: skip
"""What shows the drawn cat in its colours."""


def far(client: FlaskClient, one: bytes, other: bytes) -> float:
    """Mean difference of two images as the network takes them, in levels of 255.

    Pixels are compared and not answers: of a level or two, a network that was never trained makes anything.
    """
    predictor = client.application.extensions["catdog"].model.predictor
    return float(np.abs(predictor.pixels(one).astype(float) - predictor.pixels(other)).mean())


REFUSED: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "text": (b"hello", 415),
    "gif": (encode(CAT, "GIF"), 415),
    "gif animated": (encode(CAT, "GIF", save_all=True, append_images=[SECOND]), 415),
    "gif that is a jar": (encode(CAT, "GIF") + b"PK\x03\x04" + bytes(100), 415),
    "bmp": (encode(CAT, "BMP"), 415),
    "tiff": (encode(CAT, "TIFF"), 415),
    "tiff of floats": (encode(CAT.convert("F"), "TIFF"), 415),
    "ico": (encode(CAT.resize((64, 64)), "ICO"), 415),
    "eps": (encode(CAT, "EPS"), 415),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 415),
    "html": (b"<!doctype html><script>alert(1)</script>", 415),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", 415),
    "exe": (b"MZ\x90\0" + bytes(200), 415),
    "elf": (b"\x7fELF" + bytes(200), 415),
    "zip": (b"PK\x03\x04" + bytes(100), 415),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(50), 415),
    "nul": (bytes(1000), 415),
    "jpeg behind a zip": (b"PK\x03\x04" + bytes(100) + JPEG, 415),
    "riff that is no webp": (b"RIFF\x10\0\0\0WAVEfmt " + bytes(8), 415),
    **{
        f"{name} cut at {share:.0%}": (cut(data, share), 422 if share else 400)
        for name, data in {
            "jpeg": JPEG, "progressive": PROGRESSIVE, "png": PNG, "webp": WEBP, "lossless": LOSSLESS
        }.items()
        for share in (0, 0.05, 0.5, 0.99)
    },
    "jpeg start": (JPEG[:3], 422),
    "jpeg nothing between": (b"\xff\xd8\xff\xd9", 422),
    "jpeg of no pixels": (jpeg_of(0, 0), 422),
    "jpeg promise": (jpeg_of(65_535, 65_535), 422),
    "jpeg small promise": (jpeg_of(9000, 8000), 422),
    "png start": (PNG[:8], 422),
    "png promise": (png(60_000, 60_000, chunk(b"IDAT", b"")), 422),
    "png small promise": (png(5000, 5000, chunk(b"IDAT", b"")), 422),
    "png long side": (png(100_000, 1, chunk(b"IDAT", b"")), 422),
    "png without pixels": (png(100, 100), 422),
    "png of no size": (png(0, 0), 422),
    "png wrong checksum": (PNG[:40] + b"\xff" + PNG[41:], 422),
    "jpeg of many scans": (hostile_images.scan_bomb((4896, 4896), 3000), 422),
    "jpeg of padding": (hostile_images.behind_start(JPEG, b"\xff" * 1_000_000), 422),
    "jpeg of comments": (hostile_images.behind_start(JPEG, b"\xff\xfe\0\2" * 100_000), 422),
    "png of texts": (png_with(chunk(b"tEXt", b"k\0v") * 100_000), 422),
    "png of a bomb": (png(12_000, 12_000, chunk(b"IDAT", ZEROS)), 422),
    "webp promise": (webp_of(16_383), 422),
    "webp small promise": (webp_of(6000), 422),
    "webp lossless promise": (lossless_webp_of(16_384), 422),
    "webp canvas": (canvas_of(16_384), 422),
    "webp small canvas": (canvas_of(100), 422),
}  # fmt: skip
NAMES = [
    "../../etc/passwd", "..\\..\\x.jpg", "/etc/passwd", "C:\\x.jpg", "file:///etc/passwd", "a\0b.jpg", "x" * 300,
    "ü.jpg", "\U0001f408.jpg", "‮gpj.exe", "con", ".", "..", "", "<b>.jpg", "a\\\"b.jpg", "%2e%2e%2fx",
    "~/x", "$(touch x)", "`touch x`", "; rm -rf x", "catdog.db", "models/champion.json",
]  # fmt: skip
MULTIPART = "multipart/form-data; boundary=X"


def part(
    disposition: str | bytes = 'form-data; name="image"; filename="x.jpg"', body: bytes = JPEG, more: str = ""
) -> bytes:
    given = disposition if isinstance(disposition, bytes) else disposition.encode()
    return b"--X\r\nContent-Disposition: " + given + b"\r\n" + more.encode() + b"\r\n" + body + b"\r\n"


END = b"--X--\r\n"
NESTED = b"--Y\r\nContent-Disposition: file; filename=x.jpg\r\n\r\n" + JPEG + b"\r\n--Y--\r\n"
AS_NESTED = "Content-Type: multipart/mixed; boundary=Y\r\n"
TEXT = 'form-data; name="note"'
FORMS: dict[str, tuple[bytes, int, int]] = {
    # what: body, status of predict, status of batch
    "one": (part() + END, 200, 200),
    "no file name": (part('form-data; name="image"') + END, 400, 400),
    "no file name but a kind": (part('form-data; name="image"', more="Content-Type: image/jpeg\r\n") + END, 200, 200),
    "no name": (part('form-data; filename="x.jpg"') + END, 400, 400),
    "another field": (part('form-data; name="picture"; filename="x.jpg"') + END, 400, 400),
    "no end": (part(), 400, 400),
    "cut": (part()[:-2000], 400, 400),
    "nothing": (b"", 400, 400),
    "a mark alone": (b"--X", 400, 400),
    "an end alone": (END, 400, 400),
    "another's end": (b"--Y--", 400, 400),
    "no line behind the end": (part() + b"--X--", 200, 200),
    "twice": (part() + part() + END, 400, 200),
    "image and file": (part() + part('form-data; name="file"; filename="x.jpg"') + END, 400, 200),
    "text and file": (part('form-data; name="image"', b"hello") + part() + END, 200, 200),
    "a note beside": (part(TEXT, b"hello") + part() + END, 200, 200),
    "a form in a field": (part('form-data; name="image"', NESTED, AS_NESTED) + END, 400, 400),
    "a form in a file": (part(body=NESTED, more=AS_NESTED) + END, 415, 200),
    "base64": (part(body=b"/9j/4AAQSkZJRgABAQ==", more="Content-Transfer-Encoding: base64\r\n") + END, 415, 200),
    "a name in Latin-1": (part('form-data; name="image"; filename="é.jpg"'.encode("latin-1")) + END, 200, 200),
    "a name in no encoding": (part("form-data; name=image; filename*=utf-99''%ff.jpg") + END, 200, 200),
    "all in UTF-16": (part('form-data; name="image"; filename="x"'.encode("utf-16")) + END, 400, 400),
    "a line break in the name": (part('form-data; name="image"; filename="a\r\nX-Evil: 1\r\nb"') + END, 400, 400),
    "a quote without end": (part('form-data; name="image"; filename="a') + END, 400, 400),
    "no headers": (b"--X\r\n\r\n" + JPEG + b"\r\n" + END, 400, 400),
    "rubbish for headers": (b"--X\r\nrubbish\r\n\r\n" + JPEG + b"\r\n" + END, 400, 400),
    "a header without end": (part(more="X-Long: " + "a" * 70_000 + "\r\n") + END, 400, 400),
    "a thousand fields": (part(TEXT, b"") * 1001 + part() + END, 413, 413),
    "a long text": (part(TEXT, b"x" * 600_000) + part() + END, 200, 200),
    "bare line feeds": (part().replace(b"\r\n", b"\n") + b"--X--\n", 400, 400),
    "something before and behind": (b"hello\r\n" + part() + END + b"hello", 200, 200),
}


class Writes:
    """What Python opens to write, makes or moves, while it is asked for; Python's audit hooks cannot be taken away."""

    def __init__(self) -> None:
        self.is_watching = False
        self.found: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_watching:
            return
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.found.append(str(path))
        elif event in ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "subprocess.Popen"):
            self.found.append(f"{event} {arguments[0]}")


WRITES = Writes()


def files_of(folder: Path) -> set[str]:
    """Name all files under a folder but those of the database, in which predictions are counted."""
    return {str(path) for path in folder.rglob("*") if not path.name.startswith("catdog.db")}


@pytest.fixture(scope="module")
def client(trained_client: FlaskClient) -> FlaskClient:
    return trained_client


@pytest.fixture(autouse=True)
def nothing_is_written(client: FlaskClient) -> Iterator[None]:
    """Check that no file comes from what is sent, neither in the home nor elsewhere."""
    home: Path = client.application.extensions["catdog"].settings.home
    before = files_of(home), files_of(Path.cwd())
    WRITES.found.clear()
    WRITES.is_watching = True
    yield
    WRITES.is_watching = False
    counting = (str(home / "catdog.db"), f"os.remove {home / 'catdog.db'}", f"os.mkdir {home}")  # the last: if need be
    assert [path for path in WRITES.found if not path.startswith(counting[:2]) and path != counting[2]] == []
    assert (files_of(home), files_of(Path.cwd())) == before


def send(client: FlaskClient, path: str, *pictures: bytes) -> Any:
    """Send pictures as a form; made here, since the client of the tests writes large ones to the disk."""
    return client.post(path, data=b"".join(part(body=picture) for picture in pictures) + END, content_type=MULTIPART)


@pytest.mark.parametrize("name", FINE)
def test_decodable_images_are_classified(client: FlaskClient, name: str) -> None:
    one = send(client, "/api/predict", FINE[name])
    assert one.status_code == 200, one.text
    (many,) = send(client, "/api/predict/batch", FINE[name]).json["results"]
    raw = client.post("/api/predict", data=FINE[name], content_type="image/png").json
    assert {**one.json, "latency_ms": 0} == {**many, "latency_ms": 0} == {**raw, "latency_ms": 0}
    if name in COLOURS:
        assert far(client, FINE[name], PNG) < 8


def test_one_that_takes_long_to_decode_keeps_no_other_waiting(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = client.application.extensions["catdog"].model
    decoding, may_end = threading.Event(), threading.Event()
    pixels = Predictor.pixels

    def slowly(self: Predictor, picture: bytes) -> Any:
        if picture == PNG:
            decoding.set()
            assert may_end.wait(60)
        return pixels(self, picture)

    monkeypatch.setattr(Predictor, "pixels", slowly)
    slow = [
        threading.Thread(target=work, args=(PNG,)) for work in (model.predict, model.predict_uncounted, model.explain)
    ]
    for thread in slow:
        thread.start()
    try:
        assert decoding.wait(60)
        assert send(client, "/api/predict", JPEG).json["class"] == "Cat"
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
        assert all(thread.is_alive() for thread in slow)
    finally:
        may_end.set()
        for thread in slow:
            thread.join()


@pytest.mark.parametrize("name", REFUSED)
def test_undecodable_images_are_refused_with_a_reason(client: FlaskClient, name: str) -> None:
    data, status = REFUSED[name]
    require_problem(send(client, "/api/predict", data), status)
    require_problem(client.post("/api/predict", data=data, content_type="image/jpeg"), status)
    require_problem(send(client, "/api/explain", data), status)
    batch = send(client, "/api/predict/batch", data, PNG)
    refused, answered = batch.json["results"]
    assert (batch.status_code, refused["status"], answered["class"]) == (200, status, "Cat")


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_predictions_do_not_depend_on_camera_orientation(client: FlaskClient, kind: str) -> None:
    """Exactly, where nothing is lost: without compression, at the size that the network takes.

    A picture that lies on its side is scaled along its other side first, and JPEG rounds otherwise when turned: either
    changes a pixel by a level or two of 255.
    """
    stored_as = {
        1: None, 2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM",
        5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270",
    }  # fmt: skip
    options: dict[str, Any] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}.get(kind, {})
    for size, is_exact in (((224, 224), kind != "JPEG"), ((640, 480), False)):
        picture = draw("cat", 4032, size)
        straight = encode(picture, kind, **options)
        upright = send(client, "/api/predict", straight).json
        for orientation, how in stored_as.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            stored = picture if how is None else picture.transpose(Image.Transpose[how])
            turned = encode(stored, kind, exif=exif, **options)
            answer = send(client, "/api/predict", turned).json
            assert far(client, turned, straight) < 0.5
            if is_exact:
                assert answer["probabilities"] == upright["probabilities"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_file_names_are_ignored(client: FlaskClient, name: str) -> None:
    body = part(f'form-data; name="image"; filename="{name}"') + END
    for path in ("/api/predict", "/api/predict/batch"):
        response = client.post(path, data=body, content_type=MULTIPART)
        assert response.status_code == 200, response.text
        assert response.json.get("results", [response.json])[0]["class"] == "Cat"
        assert len(name) < 5 or name not in response.text


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_read_or_refused(client: FlaskClient, name: str) -> None:
    body, one, many = FORMS[name]
    for path, status in (("/api/predict", one), ("/api/predict/batch", many)):
        response = client.post(path, data=body, content_type=MULTIPART)
        if status != 200:
            require_problem(response, status)
        assert response.status_code == status, response.text
        assert "X-Evil" not in response.headers
    assert client.post("/api/predict", data=body, content_type="multipart/form-data; boundary=Z").status_code in (
        400,
        413,
    )
    require_problem(client.post("/api/predict", data=body, content_type="multipart/form-data"), 400)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("multipart/form-data; boundary=", 400),
        ("multipart/form-data; boundary=" + "X" * 70, 200),
        ("multipart/form-data; boundary=" + "X" * 1000, 400),
        ('multipart/form-data; boundary="X"; charset=utf-99', 200),
        ("multipart/mixed; boundary=X", 415),
        ("image/svg+xml", 200),
        ("image/", 200),
        ("image/jpeg; q=é", 200),
        ("application/octet-stream", 200),
        ("application/x-www-form-urlencoded", 415),
        ("application/json", 415),
        ("text/html", 415),
        ("; ;", 415),
        ("a" * 5000, 415),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_content_type_decides_how_a_body_is_read_only(client: FlaskClient, kind: str, status: int) -> None:
    long = b"X" * max(1, kind.count("X"))
    body = (part() + END).replace(b"--X", b"--" + long) if kind.startswith("multipart") else JPEG
    for path in ("/api/predict", "/api/predict/batch"):
        response = client.post(path, data=body, content_type=kind)
        assert response.status_code == status, response.text


def test_form_errors_say_what_is_wrong(client: FlaskClient) -> None:
    def error(name: str) -> str:
        return str(json.loads(client.post("/api/predict", data=FORMS[name][0], content_type=MULTIPART).text)["error"])

    assert "200 parts" in error("a thousand fields")
    assert "8,192 bytes" in error("a header without end")
    assert "names no field" in error("no name")
    assert "has no end" in error("cut")
