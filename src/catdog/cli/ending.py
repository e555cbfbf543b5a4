"""Ends commands: turns errors into one sentence and an exit code."""

import atexit
import errno
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import typer

from catdog.cli.console import note, notes, print_json_line
from catdog.errors import CatdogError, StoppedError

BROKEN_PIPE: Final = 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 141
STOPPED: Final = StoppedError.exit_code
TERMINATED: Final = 128 + signal.SIGTERM


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled like Ctrl-C."""


def run(command: Callable[[], Any]) -> None:
    """Run the command line, and exit.

    Exit codes: 0, success; 1, failure; 2, wrong usage or setting; 130 and 143, stopped by Ctrl-C or SIGTERM; 141,
    broken pipe.
    """
    _prepare_streams()
    try:
        code = command() or 0
        if code == STOPPED:  # typer turns Ctrl-C into a silent exit
            raise KeyboardInterrupt
        sys.stdout.flush()
    except BaseException as error:
        code = _exit_code(error)
    _close(sys.stdout)
    if code in (STOPPED, TERMINATED):
        atexit._run_exitfuncs()  # remove temporary folders, even after a second signal
        os._exit(code)  # a normal exit would abort while threads still compute in C++
    sys.exit(code)


@contextmanager
def stoppable(sentence: str = "") -> Iterator[None]:
    """Turn Ctrl-C or SIGTERM into a `StoppedError` that says what was kept.

    Raises:
        StoppedError: on either.
    """
    with _sigterm_as_interrupt():
        try:
            yield
        except _Terminated:
            raise StoppedError(f"Stopped. {sentence}".strip(), TERMINATED) from None
        except KeyboardInterrupt:
            raise StoppedError(f"Stopped. {sentence}".strip()) from None


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    def terminate(*_: object) -> None:
        raise _Terminated

    is_free = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if is_free:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if is_free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _exit_code(error: BaseException) -> int:
    """Print why a command ended and return its exit code; unexpected errors are raised again."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        case StoppedError() | KeyboardInterrupt() | typer.Abort():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would end in a traceback
            _print_error(str(error) or "Stopped.")
            return getattr(error, "exit_code", STOPPED)
        case CatdogError():
            _print_error(str(error))
            return error.exit_code
        case BrokenPipeError():  # `catdog predict … | head`
            return BROKEN_PIPE
        case OSError():  # a full disk, a read-only home, a missing folder
            _print_error(_explain(error))
            return 1
        case typer.TyperException():  # wrong usage
            _print_error(getattr(error, "format_message", error.__str__)())
            return int(getattr(error, "exit_code", 2))
        case MemoryError():
            _print_error("Out of memory.")
            return 1
    return _database_exit_code(error)


def _database_exit_code(error: BaseException) -> int:
    from sqlalchemy.exc import DatabaseError, OperationalError  # slow to import, and rarely needed

    # Subclasses of DatabaseError include bugs; DatabaseError itself is a damaged file, or no database.
    if not isinstance(error, OperationalError) and type(error) is not DatabaseError:
        raise error
    _print_error(f"The database can't be used: {error.orig}.")
    return 1


def _explain(error: OSError) -> str:
    if isinstance(error, shutil.Error):  # several files; the first is enough
        return f"{error.args[0][0][2]}."
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF):
        return f"Can't write the output or a file: {error.strerror}."
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}."


def _print_error(message: str) -> None:
    with suppress(OSError):  # stdout may be full, stderr closed
        if "--json" in sys.argv:
            print_json_line({"error": message})
    with suppress(OSError):
        notes.print("[red]Error:[/] ", end="", soft_wrap=True)
        note(message.replace("\n", " "))


def _prepare_streams() -> None:
    """Make sure that the three standard streams exist and accept any text."""
    for number in range(3):  # otherwise the next opened file would get the number
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # open until exit
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="backslashreplace"
            )  # file names may not be text, and terminals may not support it


def _can_be_written(stream: Any) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _close(stream: Any) -> None:
    """Discard unwritable output, which would cause a traceback on exit."""
    if not _can_be_written(stream):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
