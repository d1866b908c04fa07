"""A node's models: files named by their digest, and names for people that point at them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mesh.core.errors import ContentRefused, Misuse
from mesh.core.files import write_private

QUOTA_BYTES = 4 << 30
MAX_NAMES = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Kept(NamedTuple):
    """A model that is there. digest: SHA-256, hexadecimal."""

    name: str
    digest: str
    nbytes: int


class ModelStore:
    """One folder: DIGEST.onnx, and NAME.name that holds a digest.

    Each file is written beside its place and moved there, the model before its name: a crash
    leaves at worst a model without a name, which `add` of the same bytes finds again.
    """

    def __init__(self, folder: Path, *, quota_bytes: int = QUOTA_BYTES) -> None:
        self._folder, self._quota_bytes = folder, quota_bytes

    def add(self, name: str, data: bytes) -> Kept:
        """Keep a model that was checked; a name that is there points at it from now on.

        Raises Misuse for a name that cannot be a file's, ContentRefused if there is no room.
        """
        if not _NAME.fullmatch(name):
            raise Misuse(
                what=f"{name[:80]!r} cannot name a model",
                why="names are 1 to 64 letters, digits, dots, dashes and underscores",
                fix="Give another with --name.",
            )
        digest = hashlib.sha256(data).hexdigest()
        path = self._folder / f"{digest}.onnx"
        names = list(self._folder.glob("*.name"))
        others = sum(file.stat().st_size for file in self._folder.glob("*.onnx") if file != path)
        if others + len(data) > self._quota_bytes or len(names) >= MAX_NAMES:
            raise ContentRefused(
                what="the model is not kept",
                why=f"{others} bytes and {len(names)} names are kept; the most are "
                f"{self._quota_bytes} and {MAX_NAMES}",
                fix="Remove one with `framemesh models remove NAME`.",
            )
        if not path.exists():
            write_private(path, data)
        write_private(self._folder / f"{name}.name", digest.encode("ascii"))
        return Kept(name, digest, len(data))

    def __iter__(self) -> Iterator[Kept]:
        """Those with names, by name."""
        for file in sorted(self._folder.glob("*.name")):
            kept = self._kept(file)
            if kept is not None:
                yield kept

    def read(self, name_or_digest: str) -> bytes:
        """The bytes, once more as they were added. Raises ContentRefused."""
        digest = name_or_digest
        if not _DIGEST.fullmatch(digest):
            digest = next((kept.digest for kept in self if kept.name == name_or_digest), "")
        path = self._folder / f"{digest}.onnx"
        if not digest or not path.is_file():
            raise ContentRefused(
                what=f"there is no model {name_or_digest[:80]!r}",
                why="none of that name or digest was added here",
                fix="See `framemesh models list`; add it with `framemesh models add`.",
            )
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ContentRefused(
                what=f"the model {name_or_digest} is damaged",
                why="its bytes are not those of its digest any more",
                fix="Remove it and add it again.",
            )
        return data

    def remove(self, name: str) -> None:
        """Forget a name, and its model if no other name points at it. Raises ContentRefused."""
        there = {kept.name: kept.digest for kept in self}
        if name not in there:
            raise ContentRefused(
                what=f"there is no model {name[:80]!r}",
                why="none of that name was added here",
                fix="See `framemesh models list`.",
            )
        (self._folder / f"{name}.name").unlink()
        if list(there.values()).count(there[name]) == 1:
            (self._folder / f"{there[name]}.onnx").unlink()

    def _kept(self, file: Path) -> Kept | None:
        digest = file.read_text("ascii", errors="replace")
        path = self._folder / f"{digest}.onnx"
        if not _DIGEST.fullmatch(digest) or not path.is_file():
            return None
        return Kept(file.stem, digest, path.stat().st_size)
