"""Lets a process of root's be held to the modes of files, as all others are: tests run as root in containers."""

import ctypes
import os
from pathlib import Path

_VERSION = 0x20080522  # of capset(2), with two words for each set
_DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER = 1, 2, 3


def obey_modes() -> None:
    """Give up what lets root pass over modes, for this process and those that it starts, for good. No-op for others."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; low words, then high ones
    if libc.capget(header, sets):
        raise OSError(ctypes.get_errno(), "capget")
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH, _FOWNER):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP: nor for what is executed
        for number in range(3):
            sets[number] &= ~(1 << capability) & 0xFFFFFFFF
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def close_folder(folder: Path) -> None:
    """Let a process that obeys modes read a folder and all in it, and write nothing."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def open_folder(folder: Path) -> None:
    """Undo `close_folder`."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
