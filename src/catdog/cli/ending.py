"""How a command ends: errors become one sentence and an exit code, here and nowhere else."""

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
    """SIGTERM, which ends a command as Ctrl-C does."""


def run(command: Callable[[], Any]) -> None:
    """Run the command line, and end the process.

    Exit codes: 0; 1, something could not be done; 2, wrong usage or setting; 130 and 143, stopped by Ctrl-C or
    SIGTERM; 141, whoever read the output went away.
    """
    _prepare_streams()
    try:
        code = command() or 0
        if code == STOPPED:  # typer takes Ctrl-C for an exit that it tells nobody of
            raise KeyboardInterrupt
        sys.stdout.flush()
    except BaseException as error:
        code = _meet(error)
    _close(sys.stdout)
    if code in (STOPPED, TERMINATED):
        atexit._run_exitfuncs()  # which remove temporary folders that a second signal kept from being removed
        os._exit(code)  # in Python's own ending, threads that still compute in C++ would abort the process
    sys.exit(code)


@contextmanager
def stoppable(sentence: str = "") -> Iterator[None]:
    """Say what is left when Ctrl-C or SIGTERM ends what runs inside.

    Raises:
        StoppedError: one of them did.
    """
    with _met_as_interrupt():
        try:
            yield
        except _Terminated:
            raise StoppedError(f"Stopped. {sentence}".strip(), TERMINATED) from None
        except KeyboardInterrupt:
            raise StoppedError(f"Stopped. {sentence}".strip()) from None


@contextmanager
def _met_as_interrupt() -> Iterator[None]:
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


def _meet(error: BaseException) -> int:
    """Tell what ended a command; gives the exit code. What is no error on purpose is raised again."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        case StoppedError() | KeyboardInterrupt() | typer.Abort():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would end in a traceback
            _tell(str(error) or "Stopped.")
            return getattr(error, "exit_code", STOPPED)
        case CatdogError():
            _tell(str(error))
            return error.exit_code
        case BrokenPipeError():  # `catdog predict … | head`
            return BROKEN_PIPE
        case OSError():  # a full disk, a read-only home, a folder that is not there
            _tell(_explain(error))
            return 1
        case typer.TyperException():  # wrong usage
            _tell(getattr(error, "format_message", error.__str__)())
            return int(getattr(error, "exit_code", 2))
        case MemoryError():
            _tell("There is not enough memory.")
            return 1
    return _meet_database(error)


def _meet_database(error: BaseException) -> int:
    from sqlalchemy.exc import DatabaseError, OperationalError  # which most commands need not wait for

    # Of the first are also mistakes of catdog's own; itself it is a file that is no database, or a damaged one.
    if not isinstance(error, OperationalError) and type(error) is not DatabaseError:
        raise error
    _tell(f"The database cannot be used: {error.orig}.")
    return 1


def _explain(error: OSError) -> str:
    if isinstance(error, shutil.Error):  # of several files; the first says enough
        return f"{error.args[0][0][2]}."
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EIO, errno.EBADF):
        return f"The output, or a file, cannot be written: {error.strerror}."
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}."


def _tell(message: str) -> None:
    with suppress(OSError):  # stdout may be what is full, and stderr may be closed
        if "--json" in sys.argv:
            print_json_line({"error": message})
    with suppress(OSError):
        notes.print("[red]Error:[/] ", end="", soft_wrap=True)
        note(message.replace("\n", " "))


def _prepare_streams() -> None:
    """See to it that there are three streams, and that each takes any text."""
    for number in range(3):  # where one is closed, the next file that is opened would stand in its place
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # for as long as it runs
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # names of files need not be text, nor the terminal take it


def _can_be_written(stream: Any) -> bool:
    try:
        stream.flush()
    except OSError:
        return False
    return True


def _close(stream: Any) -> None:
    """Let go of what cannot be written, which Python would tell of at its end, in a traceback."""
    if not _can_be_written(stream):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
