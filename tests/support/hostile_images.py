"""Hostile and heavy images, made from a few lines each: what a stranger may send, and the largest of each kind that is
accepted."""

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
from PIL import Image

Size = tuple[int, int]

ADAM7: Final = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column and row, and steps."""


def segment(marker: int, body: bytes) -> bytes:
    """Make a segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    """Make a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def riff(kind: bytes, body: bytes) -> bytes:
    """Make a chunk of a WebP."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def webp_of(*chunks: bytes) -> bytes:
    """Make a WebP of chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def encode(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    """Encode an image."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def draw(size: Size, mode: str = "RGB") -> Image.Image:
    """Draw coarse colours with some detail, quickly and always the same."""
    rng = np.random.default_rng(7)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = Image.fromarray(rng.integers(0, 24, (256, 256, 3), np.uint8))
    for top in range(0, size[1], 512):
        for left in range(0, size[0], 512):
            coarse.paste(grain, (left, top))
    if mode in ("RGBA", "LA"):
        coarse.putalpha(Image.linear_gradient("L").resize(size))
    return coarse.convert(mode)


def _bits(text: str) -> bytes:
    padded = text + "1" * (-len(text) % 8)
    return (int(padded, 2).to_bytes(len(padded) // 8, "big") if padded else b"").replace(b"\xff", b"\xff\0")


def scan_bomb(size: Size, scans: int, *, refining: bool = False) -> bytes:
    """Make a progressive JPEG of empty scans, a few bytes each; refining ones go through all coefficients."""
    width, height = size
    blocks = -(-width // 8) * -(-height // 8)
    runs, left = "", blocks
    while left > 0:
        run = max(min(left, 32767), 16384)
        runs += "0" + format(run - 16384, "014b")
        left -= run
    frame = segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")
    tables = segment(0xDB, b"\0" + b"\x10" * 64) + b"".join(
        segment(0xC4, kind + bytes([1] + [0] * 15) + value) for kind, value in ((b"\x00", b"\x00"), (b"\x10", b"\xe0"))
    )
    first = segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + _bits("0" * blocks)
    scan = segment(0xDA, b"\x01\x01\x00\x01\x3f" + (b"\x10" if refining else b"\x00")) + _bits(runs)
    return b"\xff\xd8" + frame + tables + first + scan * scans + b"\xff\xd9"


def behind_start(jpeg: bytes, extra: bytes) -> bytes:
    """Put bytes behind the first marker of a JPEG."""
    return jpeg[:2] + extra + jpeg[2:]


def png_of(size: Size, depth: int, colour: int, *chunks: bytes, interlaced: bool = False) -> bytes:
    """Make a PNG of a header and chunks."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def png_of_zeros(size: Size, depth: int, colour: int, *chunks: bytes, interlaced: bool = False) -> bytes:
    """Make a PNG whose pixels are all zero: a thousandth of its pixels in bytes."""
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    packer, packed = zlib.compressobj(6), b""
    for width, height in _passes(size) if interlaced else [size]:
        row = bytes(1 + -(-width * bits // 8))
        packed += b"".join(packer.compress(row * min(256, height - top)) for top in range(0, height, 256))
    return png_of(size, depth, colour, *chunks, chunk(b"IDAT", packed + packer.flush()), interlaced=interlaced)


def _passes(size: Size) -> Iterable[Size]:
    for left, top, across, down in ADAM7:
        width, height = -(-(size[0] - left) // across), -(-(size[1] - top) // down)
        if width > 0 and height > 0:
            yield width, height


def png_with(png: bytes, extra: bytes) -> bytes:
    """Put bytes behind the header of a PNG."""
    return png[:33] + extra + png[33:]


def lossless_stream(side: int, groups: int) -> bytes:
    """Make a lossless stream of WebP whose blocks of 4 x 4 pixels name groups of codes in turn."""
    one = "1000"  # a code of the one symbol 0
    wide = "0" + format(8, "04b")[::-1] + "000000100" + "0" * 24 + "100" + "0"  # lengths of 0 or 8, a bit each
    green, red = (wide + "1" * 256 + "0" * others for others in (24, 0))
    blocks = -(-side // 4)
    names = (number % groups for number in range(blocks * blocks))
    named = "".join(format(name & 255, "08b") + format(name >> 8, "08b") for name in names)
    text = "00" + "1000" + "0" + green + red + one * 3 + named + one * 5 * groups + "0" * 64
    return int(text[::-1], 2).to_bytes(-(-len(text) // 8), "little")


def webp_of_groups(side: int, groups: int, place: str = "VP8L") -> bytes:
    """Make a WebP of many groups of codes: in its pixels, in its transparency (ALPH), or in a frame (ANMF)."""
    stream = lossless_stream(side, groups)
    last = struct.pack("<I", side - 1)[:3] * 2
    head = (side - 1 | side - 1 << 14).to_bytes(4, "little")
    pixels = riff(b"VP8L", b"\x2f" + head + stream)
    if place == "VP8L":
        return webp_of(pixels)
    if place == "ALPH":
        colours = encode(Image.new("RGB", (side, side)), "WEBP", method=0)[12:]
        return webp_of(riff(b"VP8X", b"\x10\0\0\0" + last), riff(b"ALPH", b"\x01" + stream), colours)
    frame = riff(b"ANMF", bytes(6) + last + bytes(4) + pixels)
    return webp_of(riff(b"VP8X", b"\x02\0\0\0" + last), riff(b"ANIM", bytes(6)), frame)


def avif_of_units(items: int, units: int) -> bytes:
    """Make an AVIF of items that are nothing but empty units."""

    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + kind + body

    numbers = range(1, items + 1)
    infos = b"".join(box(b"infe", b"\2\0\0\0" + struct.pack(">HH", number, 0) + b"av01\0") for number in numbers)
    start = box(b"ftyp", b"avif\0\0\0\0avifmif1miaf") + box(b"mdat", b"\x7a\0" * units * items)
    begin = len(start) - 2 * units * items
    places = b"".join(struct.pack(">HHHII", n, 0, 1, begin + (n - 1) * 2 * units, 2 * units) for n in numbers)
    meta = (
        box(b"hdlr", bytes(8) + b"pict" + bytes(13))
        + box(b"iinf", bytes(4) + struct.pack(">H", items) + infos)
        + box(b"iloc", b"\0\0\0\0\x44\0" + struct.pack(">H", items) + places)
        + box(b"iprp", box(b"ipco", box(b"ispe", bytes(4) + struct.pack(">II", 300, 300))))
    )
    return start + box(b"meta", bytes(4) + meta)


def floods() -> dict[str, Callable[[], bytes]]:
    """Return small images that take long, or much memory, to read where nobody counts: what each is, and its maker."""
    small = draw((640, 480))
    jpeg, png, webp = encode(small), encode(small, "PNG"), encode(small, "WEBP")
    canvas = riff(b"VP8X", bytes([0x02, 0, 0, 0]) + struct.pack("<I", 639)[:3] + struct.pack("<I", 479)[:3])
    frame = riff(b"ANMF", bytes(6) + struct.pack("<I", 639)[:3] + struct.pack("<I", 479)[:3] + bytes(4) + webp[12:])
    zeros = zlib.compress(bytes(100_000_000), 9)
    pixels = jpeg.index(b"\xff\xda") + 14
    progressive = encode(small, progressive=True)
    scanned = progressive.index(b"\xff\xda") + 600
    profile, lines = b"Raw profile type exif", zlib.compress(b"\n" * (1 << 20), 9)
    still = riff(b"VP8X", bytes(4) + canvas[12:])
    return {
        "JPEG, 3,000 scans": lambda: scan_bomb((4896, 4896), 3000),
        "JPEG, 90 refining scans": lambda: scan_bomb((4896, 4896), 90, refining=True),
        "JPEG, 8 MB of padding": lambda: behind_start(jpeg, b"\xff" * 8_000_000),
        "JPEG, 8 MB of junk": lambda: behind_start(jpeg, segment(0xFE, b"") + b"\0" * 8_000_000),
        "JPEG, 2 million comments": lambda: behind_start(jpeg, segment(0xFE, b"") * 2_000_000),
        "JPEG, 100,000 APP segments": lambda: behind_start(jpeg, segment(0xE5, b"abc") * 100_000),
        "JPEG, 8 MB of EXIF": lambda: behind_start(jpeg, segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 120),
        "JPEG, Photoshop resources": lambda: behind_start(
            jpeg, segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\0\0\0\0\0\0\0" * 5400) * 120
        ),
        "JPEG, quantisation tables": lambda: behind_start(jpeg, segment(0xDB, (b"\0" + b"\1" * 64) * 1000) * 120),
        "JPEG, Huffman tables": lambda: behind_start(
            jpeg, segment(0xC4, (b"\x00" + bytes([1] + [0] * 15) + b"\0") * 3000) * 120
        ),
        "JPEG, restart intervals": lambda: behind_start(jpeg, segment(0xDD, b"\0\0") * 1_000_000),
        "JPEG, restart marks in its pixels": lambda: jpeg[:pixels] + b"\xff\xd0" * 4_000_000 + jpeg[pixels:],
        "JPEG, comments between scans": lambda: encode(small, progressive=True)[:-2]
        + segment(0xFE, b"") * 2_000_000 + b"\xff\xd9",
        "JPEG, 4 million marks before its segments": lambda: behind_start(jpeg, b"\xff\x01" * 4_000_000),
        "JPEG, 4 million restarts before its segments": lambda: behind_start(jpeg, b"\xff\xd3" * 4_000_000),
        "JPEG, 4 million stuffed bytes before its segments": lambda: behind_start(jpeg, b"\xff\0" * 4_000_000),
        "JPEG, 4 million marks behind its pixels": lambda: jpeg[:-2] + b"\xff\x01" * 4_000_000,
        "JPEG, 4 million starts behind its scans": lambda: encode(small, progressive=True)[:-2]
        + b"\xff\xd8" * 4_000_000 + b"\xff\xd9",
        "JPEG, 8 MB of padding in its pixels": lambda: jpeg[:pixels + 600] + b"\xff" * 8_000_000 + jpeg[pixels + 600 :],
        "JPEG, 8 MB of padding in a scan": lambda: progressive[:scanned] + b"\xff" * 8_000_000 + b"\0"
        + progressive[scanned:],
        "AVIF, 2 million units": lambda: avif_of_units(500, 4000),
        "PNG, 4,000 texts of 1 MB packed": lambda: png_with(png, chunk(b"zTXt", profile + b"\0\0" + lines) * 4000),
        "PNG, 4,000 packets of 1 MB packed": lambda: png_with(
            png, chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + lines) * 4000
        ),
        "PNG, 300,000 texts": lambda: png_with(png, chunk(b"tEXt", b"k\0v") * 300_000),
        "PNG, 300,000 texts behind": lambda: png[:-12] + chunk(b"tEXt", b"k\0v") * 300_000 + png[-12:],
        "PNG, 500,000 empty chunks of pixels": lambda: png_with(png, chunk(b"IDAT", b"") * 500_000),
        "PNG, 300,000 frames": lambda: png[:-12] + chunk(b"fdAT", b"\0\0\0\1x") * 300_000 + png[-12:],
        "PNG, 600,000 chunks without a name": lambda: png_with(png, chunk(b"abCd", b"") * 600_000),
        "WebP, 300,000 frames": lambda: webp_of(canvas, riff(b"ANIM", bytes(6)), frame, frame[:8] * 300_000),
        "WebP, 500,000 chunks": lambda: webp_of(still, webp[12:], riff(b"abcd", b"") * 500_000),
        "PNG, 100 MB of text packed": lambda: png_with(png, chunk(b"zTXt", b"k\0\0" + zeros)),
        "PNG, 100 MB of profile packed": lambda: png_with(png, chunk(b"iCCP", b"k\0\0" + zeros)),
    }  # fmt: skip


def heaviest() -> dict[str, Callable[[], bytes]]:
    """Return the largest image of each kind that the defaults accept, or one close to it, and its maker."""
    return {
        "JPEG 64 MP": lambda: encode(draw((9248, 6920)), quality=80),
        "JPEG 64 MP, 4:4:4": lambda: encode(draw((9248, 6920)), quality=60, subsampling=0),
        "JPEG 64 MP, CMYK": lambda: encode(draw((9248, 6920), "CMYK"), quality=40),
        "JPEG 16,384 x 440": lambda: encode(draw((16_384, 440)), quality=90),
        "JPEG progressive 48 MP": lambda: encode(draw((8064, 6048)), quality=80, progressive=True),
        "JPEG progressive 25 MP, 4:4:4": lambda: encode(
            draw((5824, 4368)), quality=80, progressive=True, subsampling=0
        ),
        "JPEG progressive, 100 scans": lambda: scan_bomb((8000, 6000), 98),
        "JPEG progressive, 18 refining scans": lambda: scan_bomb((7000, 6000), 18, refining=True),
        "PNG 34 MP": lambda: png_of_zeros((6760, 5080), 8, 2),
        "PNG 34 MP, transparent": lambda: png_of_zeros((6760, 5080), 8, 6),
        "PNG 34 MP, a transparent colour": lambda: png_of_zeros((6760, 5080), 8, 2, chunk(b"tRNS", bytes(6))),
        "PNG 34 MP, transparent, 16 bits, interlaced": lambda: png_of_zeros((6760, 5080), 16, 6, interlaced=True),
        "PNG 34 MP, grey with transparency": lambda: png_of_zeros((6760, 5080), 8, 4),
        "PNG 64 MP, palette with transparency": lambda: png_of_zeros(
            (9230, 6930), 8, 3, chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(range(256)))
        ),
        "PNG 64 MP, grey": lambda: png_of_zeros((9230, 6930), 8, 0),
        "PNG 61 MP, 16-bit grey": lambda: png_of_zeros((9000, 6800), 16, 0),
        "PNG 64 MP, 1 bit, interlaced": lambda: png_of_zeros((9230, 6930), 1, 0, interlaced=True),
        "PNG 12 MP with detail": lambda: encode(draw((4032, 3024)), "PNG", compress_level=1),
        "WebP 12 MP": lambda: encode(draw((4032, 3024)), "WEBP", quality=80, method=0),
        "WebP 10 MP, transparent": lambda: encode(draw((3648, 2736), "RGBA"), "WEBP", quality=50, method=0),
        "WebP 12 MP, lossless": lambda: encode(
            draw((4032, 3024)).quantize(64).convert("RGB"), "WEBP", lossless=True, quality=0, method=0
        ),
        "WebP 12 MP, one colour": lambda: encode(
            Image.new("RGBA", (4032, 3024), (9, 9, 9, 9)), "WEBP", lossless=True, quality=0, method=0
        ),
        "AVIF 11 MP, 4:4:4": lambda: encode(draw((3900, 2900)), "AVIF", quality=60, speed=10, subsampling="4:4:4"),
        "AVIF 15 MP": lambda: encode(draw((4472, 3352)), "AVIF", quality=60, speed=10),
        "AVIF 11 MP, transparent": lambda: encode(draw((3900, 2900), "RGBA"), "AVIF", quality=60, speed=10),
    }  # fmt: skip
