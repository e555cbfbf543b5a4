"""Pictures and names that are odd or hostile: exact statuses, and never a failure of the server."""

import io
import struct
import zlib

import numpy as np
import pytest
from drawing import draw, encode
from flask.testing import FlaskClient
from PIL import Image
from test_web_api import require_problem

CAT = draw("cat", 4032, (640, 480))
JPEG = encode(CAT)
PNG = encode(CAT, "PNG")
WEBP = encode(CAT, "WEBP")


def bomb(width: int, height: int) -> bytes:
    """Make a PNG whose header promises more pixels than a server should allocate."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 100) + b"IDAT" + b"\0" * 104


def cut(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(CAT, exif=exif)


FINE = {
    "jpeg": JPEG,
    "png": PNG,
    "webp": WEBP,
    "grey": encode(CAT.convert("L")),
    "cmyk": encode(CAT.convert("CMYK")),
    "palette": encode(CAT.convert("P"), "PNG"),
    "transparent": encode(CAT.convert("RGBA"), "PNG"),
    "one bit": encode(CAT.convert("1"), "PNG"),
    "16 bit": encode(Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16), "PNG"),
    "animated webp": encode(CAT, "WEBP", save_all=True, append_images=[draw("dog", 1, (640, 480))]),
    "animated png": encode(CAT, "PNG", save_all=True, append_images=[draw("dog", 1, (640, 480))]),
    "one pixel": encode(Image.new("RGB", (1, 1)), "PNG"),
    "thin": encode(Image.new("RGB", (1, 5000)), "PNG"),
    "rubbish behind": JPEG + b"<?php" * 100,
    "odd exif": encode(CAT, exif=b"Exif\0\0rubbish"),
    **{f"orientation {i}": turned(i) for i in range(1, 9)},
}
REFUSED = {
    "empty": (b"", 400),
    "text": (b"hello", 415),
    "gif": (encode(CAT, "GIF"), 415),
    "bmp": (encode(CAT, "BMP"), 415),
    "tiff": (encode(CAT, "TIFF"), 415),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
    "html": (b"<!doctype html><script>alert(1)</script>", 415),
    "zip": (b"PK\x03\x04" + b"\0" * 100, 415),
    "nul": (b"\0" * 1000, 415),
    "jpeg start": (JPEG[:3], 415),
    "jpeg header": (JPEG[:200], 415),
    "jpeg half": (cut(JPEG, 0.5), 422),
    "jpeg 90": (cut(JPEG, 0.9), 422),
    "png half": (cut(PNG, 0.5), 422),
    "png 5": (cut(PNG, 0.05), 422),
    "webp half": (cut(WEBP, 0.5), 415),
    "bomb": (bomb(60_000, 60_000), 422),
    "small bomb": (bomb(5000, 5000), 422),
    "long side": (bomb(100_000, 1), 422),
    "no pixels": (bomb(100, 100), 422),
}


@pytest.fixture(scope="module")
def client(trained_client: FlaskClient) -> FlaskClient:
    return trained_client


@pytest.mark.parametrize("name", FINE)
def test_what_can_be_decoded_is_answered(client: FlaskClient, name: str) -> None:
    response = client.post("/api/predict", data={"image": (io.BytesIO(FINE[name]), "x.jpg")})
    assert response.status_code == 200, response.text
    if name in ("jpeg", "png", "webp", "cmyk", "animated webp", "animated png", "rubbish behind"):
        assert response.json["class"] == "Cat"


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_is_refused_with_its_reason(client: FlaskClient, name: str) -> None:
    data, status = REFUSED[name]
    require_problem(client.post("/api/predict", data={"image": (io.BytesIO(data), "x.jpg")}), status)
    require_problem(client.post("/api/predict", data=data, content_type="image/jpeg"), status)
    require_problem(client.post("/api/explain", data={"image": (io.BytesIO(data), "x.jpg")}), status)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\x.jpg", "/etc/passwd", "a\0b.jpg", "x" * 300, "ü.jpg", "con", ".", "<b>.jpg"]
)
def test_a_name_of_a_file_means_nothing(client: FlaskClient, name: str) -> None:
    body = f'--X\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode()
    body += JPEG + b"\r\n--X--\r\n"
    response = client.post("/api/predict", data=body, content_type="multipart/form-data; boundary=X")
    assert response.status_code == 200, response.text
    assert len(name) < 5 or name not in response.text


@pytest.mark.parametrize(
    "body", [b"", b"--X", b"--X\r\n\r\n", b"--Y--", b"--X\r\nContent-Disposition: form-data\r\n\r\n"]
)
def test_a_broken_form_is_refused(client: FlaskClient, body: bytes) -> None:
    require_problem(client.post("/api/predict", data=body, content_type="multipart/form-data; boundary=X"), 400)
    require_problem(client.post("/api/predict", data=body, content_type="multipart/form-data"), 400)
