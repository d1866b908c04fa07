"""A real device process running the tiny workload, and a diary of its states."""

import asyncio
import contextlib
import gc
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mesh.core.workload import DeviceInfo
from mesh.device.supervisor import DeviceLimits, Plugins, open_device

PLUGINS = Path(__file__).parent / "plugins"
INFO = DeviceInfo(unit="tiny", api="cpu", name="tiny device", driver="tiny 1", index=0)
FOREIGN = DeviceInfo(unit="tiny", api="vulkan", name="not mine", driver="other 1", index=0)


class Diary:
    """Every state a device went through, in order; awaitable."""

    def __init__(self):
        self.states = []
        self._news = asyncio.Event()

    def __call__(self, device):
        self.states.append(device.state)
        self._news.set()

    async def until(self, *states):
        """Wait until the states so far end with these."""
        while tuple(self.states[-len(states) :]) != states:
            self._news.clear()
            await self._news.wait()


@pytest.fixture
def info():
    return INFO


@pytest.fixture
def foreign_info():
    return FOREIGN


@pytest.fixture
def tiny_plugins():
    """The tiny workload under any names."""

    def make(*names):
        return Plugins(dict.fromkeys(names, "tiny_workload:create"), (PLUGINS,))

    return make


@pytest.fixture
def open_tiny(tiny_plugins):
    """A device that runs the tiny workload; `device.diary` holds its states."""

    @asynccontextmanager
    async def opened(settings=None, infos=(INFO,), found=None, ready=True, **limits):
        diary = Diary()
        async with open_device(
            "test",
            infos,
            {"tiny": settings or {}},
            limits=DeviceLimits(**({"arena_bytes": 1 << 20} | limits)),
            changed=diary,
            found=found,
            plugins=tiny_plugins("tiny"),
        ) as device:
            device.diary = diary
            if ready:
                await device.ready()
            yield device

    return opened


@pytest.fixture
def ask():
    """Run one command of the tiny workload; returns what it wrote."""

    async def run(device, command, session="s", **options):
        result = await device.run(
            session,
            "tiny",
            command.encode(),
            options.pop("output_bytes", 4096),
            kill_after_us=options.pop("kill_after_us", 20_000_000),
            **options,
        )
        written = bytes(result.lease.view)
        result.lease.release()
        return written

    return run


@pytest.fixture
def open_fds():
    """What each open descriptor of this process is."""

    def listed():
        gc.collect()
        found = {}
        for entry in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the listing's own descriptor
                found[entry.name] = str(entry.readlink())
        return found

    return listed
