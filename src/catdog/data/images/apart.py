"""Decoding in a process of its own, so that what the heaviest images take never comes on top of what a server has.

A web process has up to 240 MB once it has explained and kept images, and is to stay under 350 MB. The process ends with
its image, and all of its memory goes back.
"""

import struct
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import astuple
from typing import IO, Final, cast

from PIL import Image

from catdog import errors
from catdog.data.images.encoded import Limits, broken
from catdog.errors import PictureError

TIMEOUT_SECONDS: Final = 60
"""The heaviest image takes 3 seconds on an idle core."""

_REQUEST: Final = struct.Struct("<QQQQQd")
_ANSWER: Final = struct.Struct("<II")
_COMMAND: Final = "from catdog.data.images.decoding import serve_one; serve_one()"
_STRIP_PIXELS: Final = 1 << 18


def decode_apart(data: bytes, limits: Limits, size: tuple[int, int], gap: float) -> Image.Image:
    """Do in another process what `decoding.decode_to` does; raises the same."""
    command = [sys.executable, "-P", "-c", _COMMAND]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
        timer.start()
        try:
            with suppress(BrokenPipeError), cast(IO[bytes], process.stdin) as pipe:
                pipe.write(_REQUEST.pack(*astuple(limits), *size, gap))
                pipe.write(data)
            return _read_answer(cast(IO[bytes], process.stdout))
        finally:
            process.kill()  # it has ended, unless something is wrong
            timer.cancel()


def _read_answer(pipe: IO[bytes]) -> Image.Image:
    head = pipe.read(_ANSWER.size)
    if len(head) < _ANSWER.size:
        raise broken("large", "its decoder ended before it was decoded")
    width, height = _ANSWER.unpack(head)
    if not width:
        raise _make_error(pipe.read().decode())
    image = Image.new("RGB", (width, height))
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):  # not in one piece, which would take the memory twice
        count = min(rows, height - top)
        strip = pipe.read(3 * width * count)
        if len(strip) < 3 * width * count:
            raise broken("large", "its decoder ended before it was decoded")
        image.paste(Image.frombytes("RGB", (width, count), strip), (0, top))
    return image


def _make_error(answer: str) -> PictureError:
    name, _, sentence = answer.partition(":")
    kind = getattr(errors, name, None)
    return kind(sentence) if isinstance(kind, type) and issubclass(kind, PictureError) else PictureError(sentence)


def read_request() -> tuple[bytes, Limits, tuple[int, int], float]:
    """Read what `decode_apart` asks for from standard input."""
    source = sys.stdin.buffer
    pixels, side, memory, width, height, gap = _REQUEST.unpack(source.read(_REQUEST.size))
    return source.read(), Limits(pixels, side, memory), (width, height), gap


def write_image(image: Image.Image) -> None:
    """Answer with an image."""
    sys.stdout.buffer.write(_ANSWER.pack(*image.size))
    sys.stdout.buffer.write(image.tobytes())


def write_error(error: PictureError) -> None:
    """Answer with an error."""
    sys.stdout.buffer.write(_ANSWER.pack(0, 0) + f"{type(error).__name__}:{error}".encode())
