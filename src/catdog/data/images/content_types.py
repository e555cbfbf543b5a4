"""Detection of file types by content."""

import re
from typing import Final

from catdog.text import counted

_JPEG: Final = b"\xff\xd8\xff"
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_RAW_BRANDS: Final = frozenset({b"crx "})
_BRANDS: Final = {b"qt  ": "a QuickTime video", b"jxl ": "a JPEG XL image", b"jp2 ": "a JPEG 2000 image"}
_HEIC: Final = "a HEIC image (the iPhone's default)"

_STARTS: Final = (
    (b"GIF87a", "a GIF"), (b"GIF89a", "a GIF"), (b"BM", "a BMP"), (b"8BPS", "a Photoshop file (PSD)"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"), (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"), (b"\xff\x0a", "a JPEG XL image"),
    (b"FUJIFILMCCD-RAW", "a camera's raw file"), (b"FOVb", "a camera's raw file"), (b"\0MRM", "a camera's raw file"),
    (b"IIU\0", "a camera's raw file"), (b"IIRO", "a camera's raw file"), (b"IIRS", "a camera's raw file"),
    (b"%PDF", "a PDF"), (b"%!PS", "a PostScript file"), (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"PK\x03\x04", "a zip archive"), (b"PK\x05\x06", "a zip archive"), (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"), (b"\x1f\x8b", "a gzip archive"), (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg file"), (b"\0\0\x01\0", "an icon (ICO)"), (b"icns", "an icon (ICNS)"),
    (b"gimp xcf", "a GIMP file (XCF)"), (b"\x76\x2f\x31\x01", "an OpenEXR image"), (b"#?RADIANCE", "a Radiance image"),
    (b"qoif", "a QOI image"), (b"DDS ", "a DDS texture"), (b"SIMPLE  =", "a FITS image"), (b"FLV", "a Flash video"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"\0\0\x01\xba", "an MPEG video"), (b"\0\0\x01\xb3", "an MPEG video"), (b"ID3", "an MP3 file"),
)  # fmt: skip
_DNG_LITTLE, _DNG_BIG = b"\x12\xc6\x01\0\x04\0\0\0", b"\xc6\x12\0\x01\0\0\0\x04"
"""The TIFF entry DNGVersion, four bytes."""

_RAW_MARKS: Final = (b"CR\x02\0", b"NIKON", b"SONY", b"Sony", b"PENTAX", b"OLYMP", b"Panasonic", b"RICOH", b"SAMSUNG")


def accepted_kind(data: bytes) -> str | None:
    """Return the accepted format of a file by its first bytes, as Pillow names it; None for other files."""
    if data.startswith(_JPEG):
        return "JPEG"
    if data.startswith(_PNG):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    return "AVIF" if _AVIF_BRANDS & set(_brands(data)) else None


def describe(data: bytes) -> str:
    """Return what a file of no accepted format is, and how to convert it if that is common."""
    if (found := _describe(data)) is None:
        return f"of an unknown type ({counted(len(data), 'byte')}, beginning with {data[:8]!r})"
    if found == _HEIC:
        return f"{found}; convert it to JPEG, or set the phone's camera format to Most Compatible"
    return found


def _brands(data: bytes) -> list[bytes]:
    """Return the brands of a file in ISO base media format: the major one, then the compatible ones."""
    if data[4:8] != b"ftyp":
        return []
    end = min(len(data), int.from_bytes(data[:4], "big"), 256)
    return [data[8:12], *(data[at : at + 4] for at in range(16, end, 4))]


def _describe(data: bytes) -> str | None:
    if data[4:8] == b"ftyp":
        return _describe_media(_brands(data))
    if data[4:8] in (b"moov", b"mdat", b"wide", b"free"):
        return "a QuickTime video"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _describe_tiff(data)
    if data[:4] == b"RIFF":
        return {b"AVI ": "an AVI video", b"WAVE": "a WAV file"}.get(data[8:12])
    for start, name in _STARTS:
        if data.startswith(start):
            return name
    text = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<"):
        return "an SVG drawing" if re.search(rb"<svg[\s>]", text) else "markup text"
    return None


def _describe_media(brands: list[bytes]) -> str:
    if _HEIC_BRANDS & set(brands) or brands[0] in (b"mif1", b"msf1"):
        return _HEIC
    if _RAW_BRANDS & set(brands):
        return "a camera's raw file"
    return _BRANDS.get(brands[0], "a video (MP4)")


def _describe_tiff(data: bytes) -> str:
    start = data[:4096]
    if (_DNG_LITTLE if start[:2] == b"II" else _DNG_BIG) in start:
        return "a camera's raw file (DNG)"
    return "a camera's raw file" if any(mark in start for mark in _RAW_MARKS) else "a TIFF"
