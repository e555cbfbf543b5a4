"""Decoding of the largest images in a separate process, whose memory is released with it.

A web process takes up to 240 MB after explaining and storing images, and must stay under 350 MB.
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
    """Run `decoding.decode_to` in another process; raises the same errors."""
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
            process.kill()  # normally it has ended
            timer.cancel()


def _read_answer(pipe: IO[bytes]) -> Image.Image:
    head = pipe.read(_ANSWER.size)
    if len(head) < _ANSWER.size:
        raise broken("large", "its decoder stopped early")
    width, height = _ANSWER.unpack(head)
    if not width:
        raise _make_error(pipe.read().decode())
    image = Image.new("RGB", (width, height))
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):  # in one piece, it would take twice the memory
        count = min(rows, height - top)
        strip = pipe.read(3 * width * count)
        if len(strip) < 3 * width * count:
            raise broken("large", "its decoder stopped early")
        image.paste(Image.frombytes("RGB", (width, count), strip), (0, top))
    return image


def _make_error(answer: str) -> PictureError:
    name, _, sentence = answer.partition(":")
    kind = getattr(errors, name, None)
    return kind(sentence) if isinstance(kind, type) and issubclass(kind, PictureError) else PictureError(sentence)


def read_request() -> tuple[bytes, Limits, tuple[int, int], float]:
    """Read a request of `decode_apart` from standard input."""
    source = sys.stdin.buffer
    pixels, side, memory, width, height, gap = _REQUEST.unpack(source.read(_REQUEST.size))
    return source.read(), Limits(pixels, side, memory), (width, height), gap


def write_image(image: Image.Image) -> None:
    """Write an image to standard output."""
    sys.stdout.buffer.write(_ANSWER.pack(*image.size))
    sys.stdout.buffer.write(image.tobytes())


def write_error(error: PictureError) -> None:
    """Write an error to standard output."""
    sys.stdout.buffer.write(_ANSWER.pack(0, 0) + f"{type(error).__name__}:{error}".encode())
