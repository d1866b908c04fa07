"""Assets as sealed memfds: written once per digest, shared by sessions and across restarts."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mesh.core.errors import ContentRefused
from mesh.core.workload import AssetId, Buffer
from mesh.device.buffers import sealed_asset
from mesh.device.messages import MAX_ASSETS


@dataclass(slots=True)
class _File:
    fd: int
    nbytes: int
    holders: int = 0


class AssetFiles:
    """Sealed files by digest, counted by holder, bounded in bytes."""

    def __init__(self, quota_bytes: int) -> None:
        self.quota_bytes = quota_bytes
        self.held_bytes = 0
        self._files: dict[AssetId, _File] = {}
        self._writing = asyncio.Lock()

    async def hold(self, assets: Mapping[AssetId, Buffer]) -> None:
        """Have a file for each asset until as many `release` calls; all of them or none.

        The bytes are copied in a thread and must not change meanwhile.
        Raises ContentRefused over the quota.
        """
        if len(assets) > MAX_ASSETS:
            raise ContentRefused(
                what="a session has too many assets",
                why=f"{len(assets)}, and {MAX_ASSETS} are allowed",
                fix="Pack the scene or model into fewer files.",
            )
        held: list[AssetId] = []
        async with self._writing:
            try:
                for digest, data in assets.items():
                    if digest not in self._files:
                        await self._write(digest, data)
                    self._files[digest].holders += 1
                    held.append(digest)
            except BaseException:
                self.release(held)
                raise

    def fds(self, digests: Sequence[AssetId]) -> list[int]:
        """The descriptors of held assets, in order. They stay this object's."""
        return [self._files[digest].fd for digest in digests]

    def release(self, digests: Sequence[AssetId]) -> None:
        """Undo one `hold`; a file nobody holds is closed."""
        for digest in digests:
            file = self._files[digest]
            file.holders -= 1
            if file.holders == 0:
                del self._files[digest]
                self.held_bytes -= file.nbytes
                os.close(file.fd)

    async def _write(self, digest: AssetId, data: Buffer) -> None:
        nbytes = memoryview(data).nbytes
        if self.held_bytes + nbytes > self.quota_bytes:
            raise ContentRefused(
                what="an asset does not fit on the device",
                why=f"{nbytes} bytes asked, {self.quota_bytes - self.held_bytes} of "
                f"{self.quota_bytes} are left",
                fix="Close a session, or use a smaller scene or model.",
            )
        writing = asyncio.get_running_loop().run_in_executor(
            None, sealed_asset, f"framemesh-{digest[:12]}", data
        )
        try:
            fd = await asyncio.shield(writing)
        except asyncio.CancelledError:
            writing.add_done_callback(_close_unwanted)
            raise
        self._files[digest] = _File(fd, nbytes)
        self.held_bytes += nbytes


def _close_unwanted(writing: asyncio.Future[int]) -> None:
    if not writing.cancelled() and writing.exception() is None:
        os.close(writing.result())
