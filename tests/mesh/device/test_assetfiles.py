"""Assets on a device: one sealed file per digest, as long as somebody holds it."""

import asyncio
import os

import pytest

from mesh.core.errors import ContentRefused
from mesh.core.workload import Asset
from mesh.device.assetfiles import AssetFiles

SCENE, MODEL = Asset("scene", b"s" * 5000), Asset("model", b"m" * 3000)


async def test_sessions_share_a_file_and_the_last_closes_it(open_fds):
    before = open_fds()
    files = AssetFiles(quota_bytes=10_000)
    await files.hold({SCENE.digest: SCENE.data})
    first = files.fds([SCENE.digest])
    await files.hold({MODEL.digest: MODEL.data, SCENE.digest: SCENE.data})
    assert files.fds([SCENE.digest]) == first and files.held_bytes == 8000
    assert os.pread(files.fds([MODEL.digest])[0], 5, 0) == b"mmmmm"
    files.release([SCENE.digest])
    assert os.pread(first[0], 3, 0) == b"sss"
    files.release([MODEL.digest, SCENE.digest])
    assert files.held_bytes == 0
    assert set(open_fds().values()) <= set(before.values()) | {"anon_inode:[eventfd]"}


async def test_over_the_quota_nothing_of_the_session_is_kept():
    files = AssetFiles(quota_bytes=6000)
    with pytest.raises(ContentRefused, match="3000 bytes asked, 1000 of 6000 are left"):
        await files.hold({SCENE.digest: SCENE.data, MODEL.digest: MODEL.data})
    assert files.held_bytes == 0
    await files.hold({MODEL.digest: MODEL.data})
    files.release([MODEL.digest])


async def test_too_many_assets_are_refused_before_any_is_written():
    files = AssetFiles(quota_bytes=6000)
    with pytest.raises(ContentRefused, match="65, and 64 are allowed"):
        await files.hold({f"{n:064x}": b"x" for n in range(65)})
    assert files.held_bytes == 0


async def test_giving_up_while_writing_leaves_nothing_open(open_fds):
    files = AssetFiles(quota_bytes=1 << 30)
    holding = asyncio.create_task(files.hold({SCENE.digest: bytes(64 << 20)}))
    await asyncio.sleep(0)
    assert files._writing.locked()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert files.held_bytes == 0
    await asyncio.get_running_loop().shutdown_default_executor()
    await asyncio.sleep(0)
    assert not [target for target in open_fds().values() if "framemesh-" in target]
