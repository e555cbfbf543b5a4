"""The orientation in EXIF or XMP, as read by Pillow's `ImageOps.exif_transpose`.

Nothing else is read, so damaged metadata doesn't make an image unusable.
"""

import re
import struct
from typing import Final

_TAG: Final = 0x0112
_FORMS: Final = {1: "B", 3: "H", 4: "L", 6: "b", 8: "h", 9: "l", 16: "Q", 17: "q"}
"""TIFF's integer types as `struct` formats."""

_XMP: Final = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_PREFIX: Final = b"Exif\0\0"


def read_orientation(exif: bytes | None, xmp: bytes | None) -> int:
    """Return the orientation, 1 to 8; 1 if it is missing or invalid."""
    value = _from_exif(exif) if exif else None
    if value is None:
        found = _XMP.search(xmp) if xmp else None
        value = int(found[1]) if found else 1
    return value if 1 <= value <= 8 else 1


def read_raw_profile(text: bytes) -> bytes | None:
    """Decode ImageMagick's `Raw profile type exif`: three lines, then hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n", 3)[3:]).replace(b"\n", b"").decode("latin-1"))
    except ValueError:
        return None


def _from_exif(exif: bytes) -> int | None:
    for _ in range(2):
        exif = exif.removeprefix(_PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    is_big = 43 in exif[2:4]
    number, entry = (order + "Q", order + "HHQ8s") if is_big else (order + "H", order + "HHL4s")
    try:
        (at,) = struct.unpack_from(order + ("Q" if is_big else "L"), exif, 8 if is_big else 4)
        (count,) = struct.unpack_from(number, exif, at)
        at += struct.calcsize(number)
        for _ in range(min(count, 65_535)):
            tag, form, values, data = struct.unpack_from(entry, exif, at)
            if tag == _TAG and form in _FORMS:
                return int(struct.unpack_from(order + _FORMS[form], data)[0]) if values == 1 else 1
            at += struct.calcsize(entry)
    except (struct.error, OverflowError):  # it ends before its entries do
        return None
    return None
