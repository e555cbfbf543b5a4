"""Buffers of requests and responses: in memory up to a limit, then on disk. One budget per process."""

import io
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from catdog.errors import CatdogError

MEMORY_BYTES: Final = 16 * 2**20
"""Maximum memory for all requests and responses of a process while clients send or read them."""

BODIES_ON_DISK: Final = 2
"""How many bodies of the maximum size may be on disk at once."""


class BufferFullError(CatdogError):
    """The budget for requests and responses is used up."""


class Budget:
    """Memory and disk space shared by the requests and responses of a process. Any number of threads may use it."""

    def __init__(self, memory: int, disk: int, folder: Path | None = None) -> None:
        """Set the limits.

        Args:
            memory: maximum bytes in memory.
            disk: maximum bytes in files.
            folder: folder of the files; the system's temporary folder if None or not writable.
        """
        self._lock = threading.Lock()
        self._memory, self._disk, self._folder = memory, disk, folder

    def take_memory(self, size: int) -> bool:
        """Reserve memory; False if there is not enough left."""
        with self._lock:
            if size > self._memory:
                return False
            self._memory -= size
            return True

    def take_disk(self, size: int) -> None:
        """Reserve disk space.

        Raises:
            BufferFullError: there is not enough left.
        """
        with self._lock:
            if size > self._disk:
                raise BufferFullError("The server is handling too many large requests. Try again later.")
            self._disk -= size

    def give_back(self, memory: int, disk: int) -> None:
        """Release what was reserved."""
        with self._lock:
            self._memory += memory
            self._disk += disk

    def open_file(self) -> IO[bytes]:
        """Open an unnamed file.

        Raises:
            OSError: the disk is full or no file can be opened.
        """
        if self._folder is not None:
            with suppress(PermissionError, FileNotFoundError, NotADirectoryError):
                self._folder.mkdir(parents=True, exist_ok=True)
                return _unbuffered(self._folder)
        return _unbuffered(None)


class Body:
    """The body of a request: in memory while the budget lasts, then in a file."""

    def __init__(self, budget: Budget) -> None:
        self.size = 0
        self._budget = budget
        self._pieces: list[bytes] = []
        self._file: IO[bytes] | None = None
        self._memory = self._disk = 0

    def write(self, data: bytes) -> None:
        """Append data.

        Raises:
            BufferFullError: neither memory nor disk space is left.
            OSError: the disk is full.
        """
        if self._file is None and self._budget.take_memory(len(data)):
            self._memory += len(data)
            self._pieces.append(data)
        else:
            self._write_to_file(data)
        self.size += len(data)

    def open(self) -> IO[bytes]:
        """Return the whole body as a file, positioned at its start; `close` closes it."""
        if self._file is not None:
            self._file.seek(0)
            return io.BufferedReader(self._file)  # type: ignore[type-var]
        whole = io.BytesIO(b"".join(self._pieces))
        self._pieces.clear()
        return whole

    def close(self) -> None:
        """Release the memory and the file."""
        if self._file is not None:
            self._file.close()
        self._pieces.clear()
        self._budget.give_back(self._memory, self._disk)
        self._memory = self._disk = 0

    def _write_to_file(self, data: bytes) -> None:
        whole = b"".join((*self._pieces, data))
        self._budget.take_disk(len(whole))
        self._disk += len(whole)
        if self._file is None:
            self._file = self._budget.open_file()
        write_whole(self._file.fileno(), whole)
        self._pieces.clear()
        self._budget.give_back(self._memory, 0)
        self._memory = 0


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all of `data` at the end of a file.

    Raises:
        OSError: the disk is full.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _unbuffered(folder: Path | None) -> IO[bytes]:
    return tempfile.TemporaryFile(buffering=0, dir=folder)
