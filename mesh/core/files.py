"""Small private files that survive a crash: either the old content or the new, never a mixture.

A file is written beside its place, synced, moved there, and the move itself is synced by syncing
the directory: the order `rename(2)` and `fsync(2)` ask for.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PRIVATE_MODE = 0o600
PRIVATE_DIR_MODE = 0o700


def write_private(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, readable by its owner only; missing parents are made private.

    Raises OSError; the old content is then still in place.
    """
    with _Draft(path, data) as draft:
        draft.replace(path)
        _sync_directory(path.parent)


def create_private(path: Path, data: bytes) -> bool:
    """Create `path` with `data` unless it exists; of several callers at once exactly one wins.

    Returns whether this call created it. Raises OSError.
    """
    with _Draft(path, data) as draft:
        try:
            os.link(draft, path)
        except FileExistsError:
            return False
        _sync_directory(path.parent)
        return True


class _Draft:
    """A complete, synced file under a temporary name beside `path`; gone at exit."""

    def __init__(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(mode=PRIVATE_DIR_MODE, parents=True, exist_ok=True)
        self._path = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        self._data = data

    def __enter__(self) -> Path:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, PRIVATE_MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(self._data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self._path.unlink(missing_ok=True)
            raise
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
