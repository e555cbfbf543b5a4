"""Cost of decoding, metadata, and transparency."""

import io
import random
import resource
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import hostile_images
import numpy as np
import pytest
from hostile_images import (
    behind_start,
    chunk,
    draw,
    encode,
    png_of,
    png_of_zeros,
    png_with,
    scan_bomb,
    segment,
    webp_of_groups,
)
from numpy.typing import NDArray
from PIL import Image, ImageOps

from catdog.data.images import gate as decode_gate
from catdog.data.images.gate import LARGE_BYTES, DecodeGate
from catdog.data.images.pixels import Limits, decode, decode_kept, decode_upright, verify
from catdog.errors import PictureBrokenError, PictureError, PictureTooLargeError, ServerBusyError

PHOTO = draw((640, 480))
JPEG = encode(PHOTO, quality=90)
PROGRESSIVE = encode(PHOTO, quality=90, progressive=True)
PNG = encode(PHOTO, "PNG")
HARMLESS = {
    "JPEG, 8 MB of EXIF", "JPEG, Photoshop resources", "JPEG, restart marks in its pixels", "WebP, 300,000 frames",
    "PNG, 100 MB of text packed", "PNG, 100 MB of profile packed", "PNG, 4,000 texts of 1 MB packed",
    "PNG, 4,000 packets of 1 MB packed",
}  # fmt: skip
"""Floods of parts that are skipped without being read, or that don't repeat."""


def plainly(image: Image.Image, size: tuple[int, int] = (224, 224)) -> NDArray[np.int64]:
    """Put an image on white and scale it, without regard to memory."""
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    white = Image.new("RGBA", image.size, "white")
    flat = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return np.asarray(flat.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)).astype(int)


# Time


@pytest.mark.slow
@pytest.mark.parametrize("name", hostile_images.floods())
def test_a_flood_of_small_parts_is_rejected_before_decoding(name: str) -> None:
    data = hostile_images.floods()[name]()
    start = time.process_time()
    for check in (decode, verify):
        if name in HARMLESS:
            assert check(data) is not None
        else:
            with pytest.raises(PictureTooLargeError, match=r"would take too long to decode: .*\d"):
                check(data)
    assert time.process_time() - start < 2  # without limits it takes 2 seconds to 2 minutes


def test_the_error_reports_the_scans() -> None:
    with pytest.raises(PictureTooLargeError, match="more than 100 scans"):
        decode(scan_bomb((64, 64), 101))
    with pytest.raises(PictureTooLargeError, match="scans or more of 6,000 x 4,000 pixels"):
        decode(scan_bomb((6000, 4000), 90, refining=True))


def test_scans_of_a_sequential_jpeg_count_too() -> None:
    frame = segment(0xC0, b"\x08\x01\xe0\x02\x80\x03\1\x11\0\2\x11\0\3\x11\0")
    scan = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0" * 20
    with pytest.raises(PictureTooLargeError, match="more than 100 scans"):
        decode(b"\xff\xd8" + frame + scan * 200 + b"\xff\xd9")


@pytest.mark.parametrize("scans", [1, 10, 64, 99])
def test_usual_numbers_of_scans_are_accepted(scans: int) -> None:
    assert decode(scan_bomb((640, 480), scans)).shape == (224, 224, 3)


def test_a_comment_that_looks_like_the_end_hides_no_scans() -> None:
    data = scan_bomb((64, 64), 300)
    first = data.index(b"\xff\xda")
    with pytest.raises(PictureTooLargeError, match="scans"):
        decode(data[:first] + segment(0xFE, b"\xff\xd9") + data[first:])
    second = data.index(b"\xff\xda", first + 2)
    with pytest.raises(PictureTooLargeError, match="scans"):
        decode(data[:second] + segment(0xFE, b"\xff\xd9\xff\xda") + data[second:])


@pytest.mark.parametrize(
    "data",
    [
        behind_start(JPEG, segment(0xE1, b"Exif\0\0" + bytes(60_000)) * 3 + segment(0xE2, bytes(60_000)) * 90),
        behind_start(JPEG, b"\xff" * 200 + segment(0xFE, b"a comment") * 50),
        JPEG + bytes(300_000),
        JPEG + JPEG,
        png_with(PNG, chunk(b"tEXt", b"k\0v") * 1000),
        png_with(PNG, chunk(b"tEXt", b"Description\0" + b"a" * 3_000_000)),
        png_with(PNG, chunk(b"iCCP", b"k\0\0" + random.Random(0).randbytes(1_500_000))),
    ],
    ids=["profiles", "padding", "zeros behind", "two in one", "texts", "a text of 3 MB", "a profile of 1.5 MB"],
)
def test_metadata_of_cameras_and_editors_is_accepted(data: bytes) -> None:
    assert np.array_equal(decode(data), decode(JPEG if data[:2] == b"\xff\xd8" else PNG))


def test_pixels_in_many_chunks_are_the_same() -> None:
    rows = np.asarray(PHOTO)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    for size in (100, 5000, 40_000):
        parts = [chunk(b"IDAT", pixels[at : at + size]) for at in range(0, len(pixels), size)]
        assert np.array_equal(decode(png_of((640, 480), 8, 2, *parts)), decode(PNG))
        with pytest.raises(PictureBrokenError):
            decode(png_of((640, 480), 8, 2, *parts[: len(parts) // 2]))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "progressive"])
def test_damage_raises_only_our_own_errors(kind: str) -> None:
    seed = PROGRESSIVE if kind == "progressive" else encode(draw((64, 48)), kind)
    chance = random.Random(kind)
    for _ in range(300):
        damaged = bytearray(seed)
        for _ in range(chance.choice((1, 3, 9))):
            at = chance.randrange(min(len(damaged), 700))
            damaged[at : at + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        with suppress(PictureError):
            decode(bytes(damaged), 32)


# Memory

PEAK = """
import sys
from catdog.data.images.pixels import decode, decode_kept
def peak(): return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) * 1024
data, before = sys.stdin.buffer.read(), peak()
{"decode": decode, "keep": decode_kept}[sys.argv[1]](data)
print(peak() - before)
"""

HEAVY: dict[str, Callable[[], bytes]] = {
    "WebP, transparent": lambda: encode(Image.new("RGBA", (4032, 3024), (9, 9, 9, 9)), "WEBP", lossless=True, method=0),
    "PNG, transparent": lambda: png_of_zeros((6760, 5080), 8, 6),
    "PNG, a transparent colour": lambda: png_of_zeros((6760, 5080), 8, 2, chunk(b"tRNS", bytes(6))),
    "PNG, palette": lambda: png_of_zeros(
        (9230, 6930), 8, 3, chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(range(256)))
    ),
    "PNG, 16-bit grey": lambda: png_of_zeros((9000, 6800), 16, 0),
    "JPEG, 64 megapixels": lambda: encode(Image.new("CMYK", (9248, 6920))),
    "JPEG, progressive": lambda: encode(Image.new("RGB", (8064, 6048)), progressive=True),
}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc to know the peak of memory")
@pytest.mark.parametrize("way", ["decode", "keep"])
@pytest.mark.parametrize("name", HEAVY)
def test_the_largest_accepted_image_stays_within_the_memory_limit(name: str, way: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", PEAK, way], input=HEAVY[name](), capture_output=True, check=True, timeout=120
    )
    assert int(finished.stdout) < Limits().max_memory * 1.1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: encode(Image.new("RGB", (6000, 4600)), progressive=True, subsampling=0),
            "progressive JPEG .* 26 mega",
        ),
        (lambda: png_of_zeros((6900, 5300), 8, 2), r"PNG \(colour\) .* 34 mega"),
        (lambda: encode(Image.new("RGB", (4600, 3450)), "WEBP", method=0), "WebP .* 13 mega"),
        (lambda: encode(Image.new("RGB", (4800, 3600)), "AVIF", speed=10), "AVIF .* 1[0-9] mega"),
    ],
)
def test_an_image_that_needs_too_much_memory_is_rejected_with_the_limit_of_its_kind(
    make: Callable[[], bytes], words: str
) -> None:
    with pytest.raises(PictureTooLargeError, match=rf"{words}.* Scale it down") as caught:
        decode(make())
    assert "maximum is 155 MB (CATDOG_MAX_DECODE_BYTES)" in str(caught.value)


@pytest.mark.parametrize("place", ["VP8L", "ALPH", "ANMF"])
def test_code_groups_of_a_lossless_webp_count_as_memory(place: str) -> None:
    with pytest.raises(PictureTooLargeError, match="MB of memory"):
        decode(webp_of_groups(1024, 60_000, place))
    assert decode(webp_of_groups(1024, 300, place)).shape == (224, 224, 3)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc to know the peak of memory")
def test_the_maximum_of_code_groups_stays_within_the_memory_limit() -> None:
    data = webp_of_groups(800, 5900)
    finished = subprocess.run([sys.executable, "-c", PEAK, "decode"], input=data, capture_output=True, check=True)
    assert int(finished.stdout) < Limits().max_memory * 1.1


@pytest.mark.parametrize("method", [0, 4, 6])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L"])
def test_lossless_webp_from_encoders_is_read(mode: str, method: int) -> None:
    image = draw((500, 400), "RGBA" if mode == "RGBA" else "RGB")
    for colours in (2, 9, 200) if mode == "P" else (0,):
        shown = image.quantize(colours).convert("RGB") if colours else image.convert(mode)
        data = encode(shown, "WEBP", lossless=True, exact=True, method=method, quality=60)
        assert np.array_equal(decode(data), plainly(shown))
        assert decode(encode(image, "WEBP", quality=60, method=method)).shape == (224, 224, 3)


def test_a_lossless_webp_truncated_in_its_codes_is_reported_as_damaged() -> None:
    data = webp_of_groups(1024, 60_000)
    for length in (40, 100, 200, 5000):
        with pytest.raises(PictureBrokenError):
            decode(data[:length])


@pytest.mark.parametrize("size", [(5712, 4284), (8064, 6048), (9248, 6920)])
def test_photos_of_current_phones_are_read(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, (200, 30, 30))
    assert np.abs(decode(encode(image)).astype(int) - (200, 30, 30)).max() < 4


def test_a_large_upload_is_stored_at_half_its_size() -> None:
    kept = decode_kept(encode(Image.new("RGB", (5712, 4284), "blue")))
    assert kept.size == (2856, 2142)
    assert decode_kept(encode(Image.new("RGB", (4032, 3024), "blue"))).size == (4032, 3024)


def test_concurrent_decodes_share_one_budget() -> None:
    gate = DecodeGate(100, large_at_once=5)
    used, most, lock = 0, 0, threading.Lock()

    def work(size: int) -> None:
        nonlocal used, most
        with gate.reserve(size):
            with lock:
                used += size
                most = max(most, used)
            time.sleep(0.001)
            with lock:
                used -= size

    threads = [threading.Thread(target=work, args=(10 + 13 * i % 80,)) for i in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert not any(thread.is_alive() for thread in threads)
    assert 50 < most <= 100


def test_small_images_do_not_wait_for_large_ones() -> None:
    gate = DecodeGate(10 * LARGE_BYTES, large_at_once=1)
    entered = threading.Event()
    with gate.reserve(2 * LARGE_BYTES):
        second = threading.Thread(target=lambda: [entered.set() for _ in [gate.reserve(2 * LARGE_BYTES).__enter__()]])
        second.start()
        with gate.reserve(1000), gate.reserve(1000):
            assert not entered.wait(0.05)
    assert entered.wait(10)
    second.join()


def test_too_many_waiting_large_images_are_rejected() -> None:
    gate = DecodeGate(10 * LARGE_BYTES, large_at_once=1, most_large=1)
    with gate.reserve(2 * LARGE_BYTES):
        with pytest.raises(ServerBusyError, match="Try again"), gate.reserve(2 * LARGE_BYTES):
            pass
        with gate.reserve(1000):
            pass
    with gate.reserve(2 * LARGE_BYTES):
        pass


@pytest.fixture
def server_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode with the limits of a web process."""
    monkeypatch.setattr(decode_gate, "_gate", decode_gate.gate())
    decode_gate.serve()


@pytest.mark.slow
@pytest.mark.usefixtures("server_gate")
@pytest.mark.parametrize("kind", ["progressive", "WEBP", "AVIF", "PNG"])
def test_a_servers_largest_images_are_decoded_in_a_separate_process(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = corner(draw((3200, 2400)))
    options = {"progressive": True, "subsampling": 0} if kind == "progressive" else {}
    data = encode(image, "JPEG" if kind == "progressive" else kind, exif=exif, **options)
    kept, upright = decode_kept(data), decode_upright(data, 1000)
    monkeypatch.setattr(decode_gate, "SERVER_BYTES", 5_000_000)
    decode_gate.serve()
    started: list[object] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **named: started.append(given) or popen(*given, **named))
    assert np.array_equal(np.asarray(decode_kept(data)), np.asarray(kept))
    assert np.array_equal(decode_upright(data, 1000), upright)
    assert len(started) == 2
    with pytest.raises(PictureBrokenError, match="truncated or damaged"):
        decode_kept(data[: len(data) // 2])


@pytest.mark.usefixtures("server_gate")
def test_a_crashing_decoder_loses_only_its_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_gate, "SERVER_BYTES", 100_000)
    decode_gate.serve()
    assert decode_kept(JPEG).size == (640, 480)
    monkeypatch.setattr("catdog.data.images.apart._COMMAND", "import os; os._exit(1)")
    for _ in range(5):
        with pytest.raises(PictureBrokenError, match="its decoder stopped early"):
            decode_kept(JPEG)
    monkeypatch.setattr("catdog.data.images.apart._COMMAND", "import time; time.sleep(60)")
    monkeypatch.setattr("catdog.data.images.apart.TIMEOUT_SECONDS", 0.2)
    with pytest.raises(PictureBrokenError, match="its decoder stopped early"):
        decode_kept(JPEG)


@pytest.mark.usefixtures("server_gate")
def test_images_decoded_by_the_server_itself_fit_into_its_memory() -> None:
    gate = decode_gate.gate()
    assert gate.is_apart(Limits().max_memory)
    assert 240e6 + decode_gate.SERVER_BYTES < 350e6


# Colours


@pytest.mark.parametrize("size", [(300, 200), (640, 480), (1999, 1501), (3000, 210)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16", "1", "RGB with a transparent colour"])
def test_strips_give_the_same_pixels_as_the_whole_image(mode: str, size: tuple[int, int]) -> None:
    image, options = draw(size, "RGBA"), {}
    if mode == "P":
        image, options = (
            image.convert("RGB").quantize(32, Image.Quantize.FASTOCTREE),
            {"transparency": bytes(range(0, 256, 8))},
        )
    elif mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif mode.startswith("RGB with"):
        image = image.convert("RGB").quantize(32, Image.Quantize.FASTOCTREE).convert("RGB")
        options = {"transparency": image.getpixel((0, 0))}
    else:
        image = image.convert(mode)
    data = encode(image, "PNG", **options)
    opened = Image.open(io.BytesIO(data))
    opened.load()
    assert np.array_equal(decode(data), plainly(opened))
    longest = max(size) // 2
    upright = decode_upright(data, longest)
    assert np.array_equal(upright, plainly(opened, (upright.shape[1], upright.shape[0])))


def test_a_transparent_webp_and_avif_are_put_on_white() -> None:
    image = draw((1000, 700), "RGBA")
    assert np.array_equal(decode(encode(image, "WEBP", lossless=True, exact=True)), plainly(image))
    assert np.abs(decode(encode(image, "AVIF", quality=95)) - plainly(image)).mean() < 3


# Orientation, and missing end marks


def corner(image: Image.Image) -> Image.Image:
    """Mark a corner, which makes each orientation distinct."""
    image = image.copy()
    image.paste((255, 0, 0), (0, 0, image.width // 2, image.height // 4))
    return image


def xmp(number: int, form: str) -> bytes:
    inner = (
        f'tiff:Orientation="{number}"/>' if form == "attribute" else f"><tiff:Orientation>{number}</tiff:Orientation>"
    )
    return f"<x:xmpmeta><rdf:Description {inner}</x:xmpmeta>".encode()


def raw_profile(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number
    body = exif.tobytes()
    return b"Raw profile type exif\0\nexif\n%8d\n" % len(body) + body.hex().encode() + b"\n"


@pytest.mark.parametrize("form", ["attribute", "element"])
@pytest.mark.parametrize("number", [1, 3, 5, 6, 8, 9])
def test_orientation_in_xmp_is_applied_as_in_pillow(number: int, form: str) -> None:
    image, packet = corner(draw((200, 200))), xmp(number, form)
    xap = b"http://ns.adobe.com/xap/1.0/\0"
    for data in (
        behind_start(encode(image, quality=95), segment(0xE1, xap + packet)),
        png_with(encode(image, "PNG"), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)),
        encode(image, "WEBP", lossless=True, xmp=packet),
    ):
        expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
        assert np.array_equal(decode_upright(data, 200), np.asarray(expected))


@pytest.mark.parametrize("number", [2, 6, 7])
def test_orientation_in_a_raw_profile_is_applied_as_in_pillow(number: int) -> None:
    profile = raw_profile(number)
    name, text = profile.split(b"\0", 1)
    png = encode(corner(draw((200, 200))), "PNG")
    for extra in (chunk(b"tEXt", profile), chunk(b"zTXt", name + b"\0\0" + zlib.compress(text))):
        for data in (png_with(png, extra), png[:-12] + extra + png[-12:]):
            expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
            assert np.array_equal(decode_upright(data, 200), np.asarray(expected))
            assert not np.array_equal(decode_upright(data, 200), decode_upright(png, 200))


def test_the_last_of_several_texts_is_used_as_in_pillow() -> None:
    png = encode(corner(draw((200, 200))), "PNG")
    data = png_with(png, b"".join(chunk(b"tEXt", raw_profile(number)) for number in (3, 8, 6)))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode_upright(data, 200), np.asarray(expected))


def test_exif_outranks_xmp_as_in_pillow() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encode(corner(draw((200, 200))), exif=exif, xmp=xmp(6, "attribute"))
    assert np.array_equal(decode_upright(data, 200), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, encode(PHOTO.convert("L")), encode(draw((1999, 1501)))])
def test_a_jpeg_without_its_end_mark_is_read(data: bytes) -> None:
    for end in (b"", b"\0" * 9, b"\xff"):
        assert np.array_equal(decode(data[:-2] + end), decode(data))
        assert verify(data[:-2] + end).format == "JPEG"


@pytest.mark.parametrize("lost", [40, 200, 2000, 20_000])
@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE], ids=["baseline", "progressive"])
def test_a_jpeg_truncated_in_its_pixels_is_rejected(data: bytes, lost: int) -> None:
    for check in (decode, verify):
        with pytest.raises(PictureBrokenError, match="truncated or damaged"):
            check(data[:-lost])


def test_a_progressive_jpeg_without_its_last_scan_is_rejected() -> None:
    last = PROGRESSIVE.rindex(b"\xff\xda")
    last = PROGRESSIVE.rindex(b"\xff\xc4", 0, last)
    with pytest.raises(PictureBrokenError, match="before its last scan"):
        decode(PROGRESSIVE[:last])


def test_a_jpeg_of_twelve_bits_is_rejected() -> None:
    at = JPEG.index(b"\xff\xc0") + 4
    with pytest.raises(PictureBrokenError, match="12 bits per channel"):
        decode(JPEG[:at] + b"\x0c" + JPEG[at + 1 :])


# AVIF


def test_an_avif_with_frames_larger_than_declared_is_rejected() -> None:
    large, small = encode(Image.new("RGB", (4000, 3000)), "AVIF", speed=10), encode(PHOTO, "AVIF", speed=10)
    at, own = large.index(b"ispe") + 8, small.index(b"ispe") + 8
    with pytest.raises(PictureTooLargeError, match="more pixels than an image of 640 x 480 needs"):
        decode(large[:at] + small[own : own + 8] + large[at + 8 :])


def test_large_metadata_takes_no_time() -> None:
    entries = b"".join(tag.to_bytes(2, "little") + b"\2\0\xff\xff\0\0\0\0\0\0" for tag in range(0x8000, 0x9400))
    exif = b"Exif\0\0II*\0\x08\0\0\0" + (len(entries) // 12).to_bytes(2, "little") + entries
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert decode(behind_start(JPEG, segment(0xE1, exif))).shape == (224, 224, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
