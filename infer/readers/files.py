"""Whole files of a bounded size."""

from __future__ import annotations

from pathlib import Path

from infer.readers.refusal import unreadable


def read_bytes(path: Path, most: int) -> bytes:
    """A file of at most so many bytes. Raises ContentRefused."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as problem:
        raise unreadable(path, str(problem)) from problem
    if len(data) > most:
        raise unreadable(path, f"it has more than {most} bytes")
    return data
