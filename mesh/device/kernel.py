"""The few kernel calls that Python has no name for, with their errors as OSError."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, call: str) -> int:
    """`result`, or the OSError that errno says."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def prctl(option: int, arg: int = 0, pointer: int = 0) -> int:
    """prctl(2) with up to two further arguments."""
    null = ctypes.c_ulong(0)
    call = libc.prctl(
        ctypes.c_int(option), ctypes.c_ulong(arg), ctypes.c_ulong(pointer), null, null
    )
    return checked(call, f"prctl({option})")
