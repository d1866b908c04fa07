"""File access by Landlock (landlock(7), linux/landlock.h): what is not granted is refused."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from mesh.device.kernel import checked, libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # one number on every architecture
_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_FS_EXECUTE = 1 << 0
_FS_WRITE_FILE = 1 << 1
_FS_READ_FILE = 1 << 2
_FS_READ_DIR = 1 << 3
_FS_TRUNCATE = 1 << 14
_FS_IOCTL_DEV = 1 << 15
_FS_ABI1 = (1 << 13) - 1  # execute ... make_sym
_FS_MAKE = _FS_ABI1 & ~(_FS_EXECUTE | _FS_WRITE_FILE | _FS_READ_FILE | _FS_READ_DIR)
_FS_BY_ABI = {1: _FS_ABI1, 2: _FS_ABI1 | 1 << 13, 3: _FS_ABI1 | 3 << 13}
_FS_FROM_ABI5 = _FS_ABI1 | 7 << 13
_NET_TCP = 3  # bind and connect, ABI 4
_SCOPES = 3  # abstract UNIX sockets and signals, ABI 6
READ = _FS_READ_FILE | _FS_READ_DIR
LIST = _FS_READ_DIR
EXECUTE = READ | _FS_EXECUTE
WRITE = READ | _FS_WRITE_FILE | _FS_MAKE | 3 << 13
USE = READ | _FS_WRITE_FILE | _FS_IOCTL_DEV
# What a rule on something that is not a folder may carry.
_FS_FILE_ONLY = _FS_EXECUTE | _FS_WRITE_FILE | _FS_READ_FILE | _FS_TRUNCATE | _FS_IOCTL_DEV


def landlock_abi() -> int:
    """The kernel's Landlock ABI version; 0 where it has none or it is switched off."""
    return max(0, int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _RULESET_VERSION)))


def confine_files(grants: Iterable[tuple[Iterable[str], int]]) -> None:
    """Take every file right away from this thread and its children, except `grants`.

    grants: paths, and the rights on each and on all below; paths that do not exist are skipped.
    With ABI 4 TCP goes too, with ABI 6 abstract UNIX sockets of and signals to other processes;
    always, tracing them. Raises OSError where the kernel has no Landlock.
    """
    abi = landlock_abi()
    if abi == 0:
        raise OSError(errno.EOPNOTSUPP, "this kernel has no Landlock (or lsm= leaves it out)")
    handled = _FS_FROM_ABI5 if abi >= 5 else _FS_BY_ABI[min(abi, 3)]
    attributes = struct.pack(
        "=QQQ", handled, _NET_TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = checked(
        libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "landlock_create"
    )
    try:
        for paths, rights in grants:
            for path in paths:
                _allow(ruleset, path, rights & handled)
        checked(libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not Path(path).is_dir():
            rights &= _FS_FILE_ONLY
        rule = struct.pack("=Qi", rights, beneath)
        checked(
            libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0),
            f"landlock_add_rule({path})",
        )
    finally:
        os.close(beneath)
