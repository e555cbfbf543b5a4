import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawing import draw, encode, write_pictures
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from catdog.data.images.pixels import (
    IMAGE_SIZE,
    Limits,
    PictureInfo,
    decode,
    decode_upright,
    decode_views,
    prepare_dataset,
    read_picture,
    verify,
)
from catdog.errors import PictureBrokenError, PictureError, PictureFormatError, PictureTooLargeError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants(size: int = 64) -> Image.Image:
    """Draw red, green / blue, white: an image that shows how it was rotated."""
    picture = Image.new("RGB", (size, size), WHITE)
    half = size // 2
    for colour, corner in ((RED, (0, 0)), (GREEN, (half, 0)), (BLUE, (0, half))):
        picture.paste(colour, (*corner, corner[0] + half, corner[1] + half))
    return picture


def corners(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the colours in the middle of the four quadrants, `(4, 3)`."""
    low, high = len(pixels) // 4, 3 * len(pixels) // 4
    return pixels[[low, low, high, high], [low, high, low, high]].astype(int)


def assert_corners(data: bytes, expected: object, tolerance: int = 0) -> None:
    actual = corners(decode(data))
    assert np.abs(actual - np.asarray(expected)).max() <= tolerance, actual


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size but has no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + b"\0\0\0\x10IDAT"


def jpeg_header(width: int, height: int) -> bytes:
    """Return a JPEG that claims another size, truncated after the header."""
    data = encode(quadrants())
    start = data.index(b"\xff\xc0")
    return data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 : data.index(b"\xff\xda") + 20]


def webp_header(width: int, height: int) -> bytes:
    """Return a lossless WebP that claims another size, truncated after the header."""
    data = encode(quadrants(), "WEBP", lossless=True)
    start = data.index(b"VP8L") + 9
    return data[:start] + struct.pack("<I", (width - 1) | (height - 1) << 14) + data[start + 4 :]


# Formats and modes


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 3), ("PNG", 0), ("WEBP", 12), ("AVIF", 12)])
def test_accepted_formats_decode_to_their_colours(kind: str, tolerance: int) -> None:
    data = encode(quadrants(), kind)
    pixels = decode(data)
    assert (pixels.shape, pixels.dtype) == ((IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    assert_corners(data, [RED, GREEN, BLUE, WHITE], tolerance)
    assert verify(data) == PictureInfo(kind, 64, 64)


@pytest.mark.parametrize("size", [1, 32, 96, 300])
def test_any_size_can_be_requested(size: int) -> None:
    assert decode(encode(quadrants()), size).shape == (size, size, 3)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1000), (1000, 3), (223, 225)])
def test_any_shape_is_scaled_to_the_square(shape: tuple[int, int]) -> None:
    assert (decode(encode(Image.new("RGB", shape, RED), "PNG")) == RED).all()


def test_the_image_is_not_cropped() -> None:
    picture = Image.new("RGB", (400, 100), RED)
    picture.paste(GREEN, (200, 0, 400, 100))
    assert_corners(encode(picture, "PNG"), [RED, GREEN, RED, GREEN])


def test_decoded_pixels_do_not_depend_on_the_format() -> None:
    picture = draw("cat", 1, (500, 400))
    whole = decode(encode(picture, "PNG")).astype(int)
    assert np.abs(decode(encode(picture, "JPEG", quality=95)) - whole).mean() < 3
    assert np.abs(decode(encode(picture, "WEBP", lossless=True)) - whole).max() == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_modes_of_png(mode: str) -> None:
    picture = quadrants().convert(mode, dither=Image.Dither.NONE)
    assert_corners(encode(picture, "PNG"), corners(np.asarray(picture.convert("RGB"))), 1)


def test_modes_of_jpeg() -> None:
    grey = [76, 150, 29, 255]
    assert_corners(encode(quadrants().convert("L")), [[value] * 3 for value in grey], 2)
    assert_corners(encode(quadrants().convert("CMYK")), [RED, GREEN, BLUE, WHITE], 4)
    assert_corners(encode(quadrants(), progressive=True), [RED, GREEN, BLUE, WHITE], 4)


def grey16(values: list[int]) -> Image.Image:
    return Image.fromarray(np.array(values, np.uint16).reshape(2, 2).repeat(32, 0).repeat(32, 1))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 0x4000, 0x8000, 0xFFFF], [0, 64, 128, 255]), ([0, 300, 2_000, 10_000], [0, 1, 7, 39])],
)
def test_sixteen_bit_grey_is_scaled_instead_of_clipped(values: list[int], expected: list[int]) -> None:
    data = encode(grey16(values), "PNG")
    assert Image.open(io.BytesIO(data)).mode == "I;16"
    assert_corners(data, [[value] * 3 for value in expected], 1)


def test_transparent_parts_are_white() -> None:
    rgba = quadrants().convert("RGBA")
    rgba.putalpha(Image.fromarray(np.array([[255, 128], [0, 255]], np.uint8).repeat(32, 0).repeat(32, 1)))
    expected = [RED, (127, 255, 127), WHITE, WHITE]
    assert_corners(encode(rgba, "PNG"), expected, 1)
    assert_corners(encode(rgba, "WEBP", lossless=True), expected, 1)


def test_transparent_grey_is_white() -> None:
    picture = Image.merge("LA", (Image.new("L", (8, 8), 0), Image.new("L", (8, 8), 0)))
    assert (decode(encode(picture, "PNG")) == 255).all()


def test_a_transparent_colour_of_a_palette_is_white() -> None:
    palette = quadrants().quantize(4)
    blue = palette.getpixel((5, 60))
    assert_corners(encode(palette, "PNG", transparency=blue), [RED, GREEN, WHITE, WHITE])
    alphas = bytes(0 if index == blue else 255 for index in range(4))
    assert_corners(encode(palette, "PNG", transparency=alphas), [RED, GREEN, WHITE, WHITE])


@pytest.mark.parametrize(("mode", "colour"), [("RGB", BLUE), ("L", 29), ("1", 0)])
def test_a_transparent_colour_without_a_palette_is_white(mode: str, colour: object) -> None:
    picture = quadrants().convert(mode, dither=Image.Dither.NONE)
    assert picture.getpixel((5, 60)) == colour
    assert tuple(corners(decode(encode(picture, "PNG", transparency=colour)))[2]) == WHITE


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "AVIF"])
def test_the_first_frame_of_an_animation_is_used(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, BLUE, GREEN)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert_corners(data, [RED] * 4, 4)


def test_a_jpeg_of_several_images_is_a_jpeg() -> None:
    data = encode(quadrants(), "MPO", save_all=True, append_images=[Image.new("RGB", (64, 64))])
    assert verify(data) == PictureInfo("JPEG", 64, 64)
    assert_corners(data, [RED, GREEN, BLUE, WHITE], 4)


# Orientation


def stored(orientation: int) -> Image.Image:
    """Return `quadrants()` as stored by a camera with this EXIF orientation."""
    row, column = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    pixels = np.asarray(quadrants())
    if row in ("left", "right"):
        pixels = pixels.transpose(1, 0, 2)
    pixels = pixels[::-1] if row in ("bottom", "right") else pixels
    return Image.fromarray(pixels[:, ::-1] if column in ("bottom", "right") else pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert_corners(encode(stored(orientation), kind, exif=exif), [RED, GREEN, BLUE, WHITE], 12)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_long_image_on_its_side_is_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored(orientation).resize((3000, 1000)), exif=exif)
    assert_corners(data, [RED, GREEN, BLUE, WHITE], 4)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0broken", b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0"]
)
def test_damaged_or_invalid_metadata_is_ignored(exif: bytes) -> None:
    assert_corners(encode(quadrants(), exif=exif), [RED, GREEN, BLUE, WHITE], 4)


# Rejected files


@pytest.mark.parametrize("check", [verify, decode])
@pytest.mark.parametrize("share", [0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_truncated_file_is_an_error(kind: str, share: float, check: Callable[[bytes], object]) -> None:
    data = encode(draw("dog", 1, (640, 480)), kind)
    assert check(data) is not None
    with pytest.raises(PictureError):
        check(data[: int(len(data) * share)])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_truncated_in_its_pixels_is_reported_as_damaged(kind: str) -> None:
    data = encode(draw("dog", 1, (640, 480)), kind)
    with pytest.raises(PictureBrokenError, match=rf"Can't decode the {kind} image: it is truncated or damaged \("):
        decode(data[: len(data) // 2])


def test_damaged_pixels_are_an_error() -> None:
    data = bytearray(encode(draw("dog", 1, (640, 480)), "PNG"))
    middle = len(data) // 2
    data[middle : middle + 50] = b"\xff" * 50
    with pytest.raises(PictureBrokenError):
        decode(bytes(data))


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cat.jpg", encode(quadrants()))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "described"),
    [
        (lambda: encode(quadrants(), "GIF"), "a GIF"),
        (lambda: encode(quadrants(), "BMP"), "a BMP"),
        (lambda: encode(quadrants(), "TIFF"), "a TIFF"),
        (lambda: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (lambda: b"\n <!DOCTYPE html><html></html>", "markup text"),
        (zipped, "a zip archive"),
        (lambda: b"%PDF-1.7 ...", "a PDF"),
        (lambda: b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC image.* convert it to JPEG"),
        (lambda: b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC image.* convert it to JPEG"),
        (lambda: b"\0\0\0\x18ftypqt  " + bytes(20), "a QuickTime video"),
        (lambda: b"\0\0\0\x18ftypisom" + bytes(20), r"a video \(MP4\)"),
        (lambda: b"\0\0\0\x18ftypcrx " + bytes(20), "a camera's raw file"),
        (lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(20), "a JPEG XL image"),
        (lambda: b"\xff\x0a" + bytes(20), "a JPEG XL image"),
        (lambda: encode(quadrants(), "JPEG2000"), "a JPEG 2000 image"),
        (lambda: b"8BPS\0\1" + bytes(20), "a Photoshop file"),
        (lambda: b"II*\0\x10\0\0\0CR\x02\0" + bytes(20), "a camera's raw file"),
        (lambda: b"II*\0\x08\0\0\0\x01\0\x12\xc6\x01\0\x04\0\0\0\1\4\0\0", r"raw file \(DNG\)"),
        (lambda: b"Not a picture at all", r"unknown type \(20 bytes, beginning with b'Not a pi'"),
    ],
)
def test_other_formats_are_rejected_by_content(make: Callable[[], bytes], described: str) -> None:
    for check in (verify, decode):
        with pytest.raises(PictureFormatError, match=rf"not a JPEG, PNG, WebP or AVIF image\. It is .*{described}"):
            check(make())


def test_an_empty_file_is_rejected() -> None:
    for check in (verify, decode):
        with pytest.raises(PictureFormatError, match=r"The file is empty\. Use a JPEG, PNG, WebP or AVIF image"):
            check(b"")


@pytest.mark.parametrize("make", [png_header, jpeg_header, webp_header])
@pytest.mark.parametrize(("width", "height"), [(9000, 8000), (8000, 9000), (16_385, 10), (10, 16_385)])
def test_images_over_the_limits_are_rejected_before_decoding(
    make: Callable[[int, int], bytes], width: int, height: int
) -> None:
    if make is webp_header and 16_385 in (width, height):
        pytest.skip("WebP has no such sizes")
    # The file has no pixels, so decoding it would report damage instead.
    with pytest.raises(PictureTooLargeError, match=rf"{width:,} x {height:,} pixels.* 64,000,000.* 16,384"):
        verify(make(width, height))
    with pytest.raises(PictureTooLargeError):
        decode(make(width, height))


@pytest.mark.parametrize("side", [14_000, 50_000, 2**31 - 1])
def test_a_decompression_bomb_is_rejected(side: int) -> None:
    with pytest.raises(PictureTooLargeError, match=rf"{side:,} x {side:,} pixels.* 64,000,000"):
        decode(png_header(side, side))


def test_limits_are_inclusive_and_can_be_set() -> None:
    data = encode(quadrants(), "PNG")
    assert verify(data, Limits(64 * 64, 64)) == PictureInfo("PNG", 64, 64)
    for limits in (Limits(64 * 64 - 1, 64), Limits(64 * 64, 63)):
        with pytest.raises(PictureTooLargeError, match="64 x 64 pixels"):
            decode(data, limits=limits)


# Large photos


def test_a_large_jpeg_is_decoded_at_the_needed_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    load = JpegImageFile.load

    def spy(self: JpegImageFile) -> object:
        result = load(self)
        sizes.append(self.size)
        return result

    photograph = draw("cat", 3, (400, 300)).resize((4000, 3000), Image.Resampling.BICUBIC)
    expected = np.asarray(photograph.resize((224, 224), Image.Resampling.BILINEAR)).astype(int)
    data = encode(photograph, quality=90)
    monkeypatch.setattr(JpegImageFile, "load", spy)
    difference = np.abs(decode(data) - expected)
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99) < 16
    assert sizes
    assert max(sizes) <= (1000, 750)


# Reading and views


def test_a_path_and_its_bytes_are_the_same_image(tmp_path: Path) -> None:
    path = write_pictures(tmp_path, "cat", 1)[0]
    assert read_picture(path) == read_picture(str(path)) == read_picture(path.read_bytes()) == path.read_bytes()
    assert read_picture(memoryview(b"abc")) == b"abc"


def test_a_png_named_jpg_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "cat.jpg"
    path.write_bytes(encode(quadrants(), "PNG"))
    assert verify(read_picture(path)).format == "PNG"


def test_read_errors_are_explained(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="No such file"):
        read_picture(tmp_path / "missing.jpg")
    with pytest.raises(PictureError, match="it is a folder"):
        read_picture(tmp_path)


def test_view_0_is_the_image_and_others_are_derived_from_it() -> None:
    data = encode(draw("cat", 1))
    plain, first, second = decode_views(data, [0, 1, 2])
    assert np.array_equal(plain, decode(data))
    assert first.shape == plain.shape
    assert not np.array_equal(plain, first)
    assert not np.array_equal(first, second)


def test_views_are_reproducible() -> None:
    data = encode(draw("cat", 1))
    together = decode_views(data, [0, 1, 2, 3], 96)
    for number in (3, 1, 0, 2):
        assert np.array_equal(decode_views(data, [number], 96)[0], together[number])
    assert not np.array_equal(decode_views(encode(draw("cat", 2)), [1], 96)[0], together[1])


# Batches


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_pictures(tmp_path_factory.mktemp("batches"), "cat", 10)


def test_batches_hold_images_and_labels_in_order(pictures: list[Path]) -> None:
    batches = prepare_dataset(pictures, range(10), batch_size=4, image_size=32)
    assert len(batches) == 3
    for _ in range(2):  # may be read again
        read = list(batches)
        assert [images.shape for images, _ in read] == [(4, 32, 32, 3), (4, 32, 32, 3), (2, 32, 32, 3)]
        assert {images.dtype for images, _ in read} == {np.dtype(np.uint8)}
        assert {labels.dtype for _, labels in read} == {np.dtype(np.int64)}
        assert np.concatenate([labels for _, labels in read]).tolist() == list(range(10))
        together = np.concatenate([images for images, _ in read])
        assert all(np.array_equal(together[i], decode(pictures[i].read_bytes(), 32)) for i in range(10))


def test_batches_can_be_indexed(pictures: list[Path]) -> None:
    batches = prepare_dataset([path.read_bytes() for path in pictures], range(10), batch_size=4, image_size=32)
    images, labels = batches[2]
    assert images.shape == (2, 32, 32, 3)
    assert labels.tolist() == [8, 9]
    for index in (3, -1):
        with pytest.raises(IndexError, match=rf"\[0, 2\], not {index}"):
            batches[index]


def test_no_images_give_no_batches() -> None:
    batches = prepare_dataset([], [])
    assert len(batches) == 0
    assert list(batches) == []


def test_shuffling_is_reproducible_and_keeps_images_with_their_labels(pictures: list[Path]) -> None:
    batches = prepare_dataset(pictures, range(10), batch_size=4, image_size=16)

    def order(seed: int, epoch: int) -> list[int]:
        read = list(batches.shuffled(seed, epoch))
        numbers = np.concatenate([labels for _, labels in read]).tolist()
        images = np.concatenate([images for images, _ in read])
        for image, number in zip(images, numbers, strict=True):
            assert np.array_equal(image, decode(pictures[number].read_bytes(), 16))
        return numbers

    first = order(1, 0)
    assert sorted(first) == list(range(10))
    assert first != list(range(10))
    assert order(1, 0) == first
    assert order(1, 1) != first
    assert order(2, 0) != first
    assert np.concatenate([labels for _, labels in batches]).tolist() == list(range(10))


def test_augmented_batches_show_other_views_each_epoch(pictures: list[Path]) -> None:
    batches = prepare_dataset(pictures[:1], [0], image_size=32, augment=True)
    views = [batches.shuffled(1, epoch)[0][0][0] for epoch in (0, 1, 0)]
    assert not np.array_equal(views[0], decode(pictures[0].read_bytes(), 32))
    assert not np.array_equal(views[0], views[1])
    assert np.array_equal(views[0], views[2])


def test_an_unusable_image_is_named_when_its_batch_is_read(pictures: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    batches = prepare_dataset([*pictures[:4], bad], range(5), batch_size=4, image_size=32)
    assert batches[0][0].shape == (4, 32, 32, 3)
    with pytest.raises(PictureFormatError, match=r"10 bytes.*bad\.jpg"):
        batches[1]
    with pytest.raises(PictureError, match=r"No such file.*missing\.jpg"):
        list(prepare_dataset([str(tmp_path / "missing.jpg")], [0]))


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0], {}, "one label per image, not 1 for 2"),
        ([0, 1], {"batch_size": 0}, "batch_size=0.* at least 1"),
        ([0, 1], {"image_size": -1}, "image_size=-1.* at least 1"),
        ([0, 1], {"threads": 0}, "threads=0.* at least 1"),
    ],
)
def test_invalid_arguments_are_rejected(labels: list[int], options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_dataset([b"a", b"b"], labels, **options)


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [((640, 480), 320, (240, 320, 3)), ((90, 60), 320, (60, 90, 3)), ((1000, 1), 100, (1, 100, 3))],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_displayed_image_keeps_its_aspect_ratio_and_is_never_enlarged(
    size: tuple[int, int], longest: int, expected: tuple[int, ...], kind: str
) -> None:
    pixels = decode_upright(encode(Image.new("RGB", size, RED), kind), longest)
    assert (pixels.shape, pixels.dtype) == (expected, np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_displayed_image_is_as_upright_as_the_classified_one(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(quadrants(448).resize((448, 224)), "PNG", exif=exif)
    shown = decode_upright(data, 224)
    assert shown.shape == ((224, 112, 3) if orientation >= 5 else (112, 224, 3))
    square = np.asarray(Image.fromarray(shown).resize((64, 64)))
    assert np.abs(corners(square) - corners(decode(data, 64))).max() < 10
