"""Packages from the npm registry: one pinned version each, checked against its published digest."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

TIMEOUT_S = 120.0


class Unavailable(Exception):
    """npm or the package is not there; the message says what to install."""


def fetch(name: str, version: str, integrity: str, cache: Path) -> Path:
    """The folder of the unpacked package, below `cache`; brought by npm when missing.

    integrity: SHA-512, base64, as `npm view NAME@VERSION dist.integrity` prints it after sha512-.
    Raises Unavailable, or RuntimeError if something else than was pinned came.
    """
    plain = name.removeprefix("@").replace("/", "-")
    folder = cache / f"{plain}-{version}"
    if folder.exists():
        return folder / "package"
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed: apt-get install npm")
    print(f"fetching {name}@{version} from the npm registry into {folder}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        packed = subprocess.run(
            [npm, "pack", "--silent", f"{name}@{version}"],
            cwd=scratch,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        archive = Path(scratch) / f"{plain}-{version}.tgz"
        if packed.returncode or not archive.exists():
            raise Unavailable(f"npm cannot fetch {name}: {packed.stderr.strip()[-300:]}")
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != integrity:
            raise RuntimeError(f"{name}@{version} has the digest {digest}, not the pinned one")
        with tarfile.open(archive) as members:
            members.extractall(Path(scratch) / "unpacked", filter="data")
        (Path(scratch) / "unpacked").rename(folder)
    return folder / "package"
