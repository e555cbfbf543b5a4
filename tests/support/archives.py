"""Archives as people and attackers make them, byte by byte where no library would."""

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path


def write_plain_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write a zip whose names stay as they are, backslashes and folders included."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, compression
            archive.writestr(info, data)
    return path


def add_zip64_records(data: bytes) -> bytes:
    """Give a small zip the end of a large one, as OneDrive and others write it."""
    at = data.rfind(b"PK\5\6")
    entries, size, offset = struct.unpack("<H2L", data[at + 10 : at + 20])
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, offset)
    return data[:at] + record + struct.pack("<4sLQL", b"PK\6\7", 0, at, 1) + data[at:]


def overlapping_zip(content: bytes, copies: int) -> bytes:
    """Make a zip whose entries all name the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("cats/0.png", content)
    data = buffer.getvalue()
    start, end = data.find(b"PK\1\2"), data.rfind(b"PK\5\6")
    directory = data[start:end] * copies
    return data[:start] + directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, copies, copies, len(directory), start, 0)


def with_method(data: bytes, method: int) -> bytes:
    """Say of a zip's stored members that they are packed by another method."""
    mark = struct.pack("<H", method)
    for signature, offset in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        at = data.find(signature)
        while at >= 0:
            data = data[: at + offset] + mark + data[at + offset + 2 :]
            at = data.find(signature, at + 1)
    return data


def write_plain_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    """Write a tar of files."""
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def header(name: str, size: int, kind: bytes) -> bytes:
    """Make a header of a tar whose member has any size and kind."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.type = size, kind
    return entry.tobuf(tarfile.GNU_FORMAT)


def greedy_xz(data: bytes) -> bytes:
    """Compress so that whoever decompresses it needs 1.5 GiB of memory: one byte of the header says so."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**24}]
    packed = bytearray(lzma.compress(data, filters=filters))
    length = (packed[12] + 1) * 4
    at = packed.index(b"\x21\x01", 13) + 2
    packed[at] = 39  # 3 GiB
    packed[12 + length - 4 : 12 + length] = struct.pack("<L", zlib.crc32(packed[12 : 12 + length - 4]))
    return bytes(packed)
