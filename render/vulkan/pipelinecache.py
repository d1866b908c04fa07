"""What a driver made of our shaders, kept between processes in a file per device and driver.

Drivers trust what they are given back, so nothing damaged may reach them: the file carries a
digest, is replaced in one step, and is used only if its header names this very driver
(VkPipelineCacheHeaderVersionOne). Otherwise it counts as missing: pipelines are made anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
import tempfile
from pathlib import Path

_log = logging.getLogger(__name__)

MAX_BYTES = 64 * 1024 * 1024  # of a cache; what grows beyond is not kept
_MAGIC = b"fmpc\x00\x00\x00\x01"
_DIGEST = hashlib.sha256().digest_size
_HEADER = struct.Struct("<IIII16s")  # size, version, vendor, device, the driver's UUID
_VERSION_ONE = 1


class PipelineCacheFile:
    """The file of one device and driver in `folder`, which only this node writes.

    vendor, device: the device's identifiers. uuid: VkPhysicalDeviceProperties.pipelineCacheUUID,
    16 bytes, other for every driver whose caches do not fit.
    """

    def __init__(self, folder: Path, vendor: int, device: int, uuid: bytes) -> None:
        self._header = _HEADER.pack(_HEADER.size, _VERSION_ONE, vendor, device, uuid)
        self.path = folder / f"pipelines-{vendor:04x}-{device:04x}-{uuid.hex()}.bin"
        self._digest = b""  # of what the file holds

    def load(self) -> bytes:
        """What was saved last, or b"" if there is nothing that this driver can be given."""
        try:
            if self.path.stat().st_size > len(_MAGIC) + _DIGEST + MAX_BYTES:
                return b""
            data = self.path.read_bytes()
        except OSError:
            return b""
        head = len(_MAGIC) + _DIGEST
        digest, blob = data[len(_MAGIC) : head], data[head:]
        sound = data.startswith(_MAGIC) and hashlib.sha256(blob).digest() == digest
        if not sound or not blob.startswith(self._header):
            _log.warning("%s is not used: it is damaged, or another driver's", self.path.name)
            return b""
        self._digest = digest
        return blob

    def save(self, blob: bytes) -> bool:
        """Replace the file unless it holds just that; whether it was written.

        A process killed meanwhile leaves the old file, whole. A disk that is full is no error.
        """
        digest = hashlib.sha256(blob).digest()
        if digest == self._digest or not blob.startswith(self._header) or len(blob) > MAX_BYTES:
            return False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.path.parent, delete=False) as scratch:
                try:
                    scratch.write(_MAGIC + digest + blob)
                    scratch.flush()
                    os.fsync(scratch.fileno())
                    Path(scratch.name).replace(self.path)
                except OSError:
                    Path(scratch.name).unlink()
                    raise
        except OSError as problem:
            _log.warning("pipelines are not kept: %s", problem)
            return False
        self._digest = digest
        return True
