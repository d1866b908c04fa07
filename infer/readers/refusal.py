"""The error of all readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mesh.core.errors import ContentRefused, MeshError


def unreadable(
    path: Path, why: str, fix: str = "Check the recording: is it whole, and of this format?"
) -> ContentRefused:
    """A file or folder that cannot be read."""
    return ContentRefused(what=f"{path} cannot be read", why=why, fix=fix)


@contextmanager
def read_from(path: Path) -> Iterator[None]:
    """What is refused in here, for whatever reason, is the file's fault: poses that are none."""
    try:
        yield
    except MeshError as problem:
        raise unreadable(path, f"{problem.what}: {problem.why}") from problem
