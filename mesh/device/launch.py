"""How a device process is started: what it may see, which environment, which descriptors.

It is spawned, never forked from the node (CUDA, Vulkan and OpenMP do not survive a fork), with
an environment of our own making and exactly one descriptor besides the standard three.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import mesh
from mesh.core.errors import ConfigError
from mesh.core.plugins import WORKLOADS, installed
from mesh.core.workload import DeviceInfo, Settings
from mesh.device.messages import Confine, Plugin
from mesh.device.sandbox import SandboxRules


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """What one device process may use and see, and how long it may take."""

    memory_bytes: int = 8 << 30  # private memory (RLIMIT_DATA); the arena comes on top
    arena_bytes: int = 256 << 20  # inputs and results under way, all leases together
    asset_bytes: int = 2 << 30  # assets of all its sessions together
    file_bytes: int = 1 << 30  # largest file in its cache
    open_files: int = 4096
    nice: int = 0
    start_us: int = 30_000_000  # the first use of a driver compiles a lot
    prepare_us: int = 60_000_000
    # Kept between runs for compiled shaders and kernels; None: a temporary one.
    cache_dir: Path | None = None
    readable: tuple[Path, ...] = ()  # beyond libraries, drivers and the workloads' packages
    programs: tuple[Path, ...] = ()  # that it may start; files, or folders with all below
    private: tuple[Path, ...] = ()  # the node's secrets: verified to be out of reach


@dataclass(frozen=True, slots=True)
class Plugins:
    """Workloads as a child can load them: "module:factory" by name, and where to import from."""

    factories: Mapping[str, str]
    import_paths: tuple[Path, ...] = ()

    @classmethod
    def from_entry_points(cls, names: Iterable[str]) -> Plugins:
        """The installed workloads of these names. Raises ConfigError if one is not installed."""
        names = list(names)
        entries = installed(WORKLOADS)
        missing = [name for name in names if name not in entries]
        if missing:
            raise ConfigError(
                what=f"workload {missing[0]!r} is not installed",
                why=f"installed are: {', '.join(sorted(entries)) or 'none'}",
                fix="Correct the name under [workloads], or install the package that brings it.",
            )
        # A plug-in may be installed beside the environment (pip --target, PYTHONPATH).
        homes = {Path(str(d.locate_file(""))) for n in names if (d := entries[n].dist) is not None}
        homes.discard(Path(mesh.__file__).parent.parent)
        return cls({name: entries[name].value for name in names}, tuple(sorted(homes)))

    def plugin(self, name: str, settings: Settings, infos: Sequence[DeviceInfo] = ()) -> Plugin:
        """One of them as it is told to a child."""
        return Plugin(name, self.factories[name], dict(settings), tuple(infos))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Read by drivers and compilers, and nobody's secret. Anything else stays out.
_ENV_KEPT = _words(
    "PATH LANG LC_ALL TZ LD_LIBRARY_PATH XDG_RUNTIME_DIR XDG_DATA_DIRS GALLIUM_DRIVER "
    "DRI_PRIME OCL_ICD_VENDORS LIBVA_DRIVER_NAME"
)
_ENV_KEPT_PREFIXES = ("VK_", "LP_", "MESA_", "NUMBA_", "CUDA_", "NVIDIA_", "OMP_", "OPENBLAS_")
_ENV_PATHS = ("VK_", "LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH")  # may name folders to read

_READABLE = _words(
    "/usr /lib /lib32 /lib64 /opt /nix/store /run/opengl-driver /sys "
    "/etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/ld.so.preload /etc/alternatives "
    "/etc/vulkan /etc/glvnd /etc/drirc /etc/OpenCL /etc/nvidia /etc/localtime /etc/os-release "
    "/etc/passwd /etc/nsswitch.conf "
    "/proc/cpuinfo /proc/meminfo /proc/stat /proc/version /proc/filesystems /proc/modules "
    "/proc/devices /proc/driver /proc/sys"
)
# Read, written, controlled. CUDA names its threads through /proc/self/task/*/comm.
_DEVICES = _words(
    "/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/dri /dev/kfd /dev/udmabuf "
    "/dev/dma_heap /dev/nvidiactl /dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidia-modeset "
    "/dev/nvidia-caps /proc/self"
)


def sandbox_rules(limits: DeviceLimits, plugins: Plugins, cache: Path) -> SandboxRules:
    """The rules for a process that loads `plugins` and writes only to `cache`."""
    package = Path(mesh.__file__).parent
    readable = {*_READABLE, sys.prefix, sys.base_prefix, str(package)}
    readable.update(_package_places("framemesh"))  # the names that plug-ins import
    readable.update(str(path) for path in (*plugins.import_paths, *limits.readable))
    for factory in plugins.factories.values():
        readable.update(_package_places(factory.partition(":")[0].partition(".")[0]))
    for name, value in os.environ.items():
        if name.startswith(_ENV_PATHS):
            readable.update(part for part in value.split(":") if Path(part).is_absolute())
    gpus = (str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    return SandboxRules(
        memory_bytes=limits.memory_bytes,
        file_bytes=limits.file_bytes,
        open_files=limits.open_files,
        nice=limits.nice,
        readable=tuple(sorted(readable)),
        # Import machinery lists the folder a package lies in.
        listable=(str(package.parent),),
        writable=(str(cache),),
        devices=tuple(sorted({*_DEVICES, *gpus})),
        private=tuple(str(path) for path in limits.private),
        programs=tuple(str(path) for path in limits.programs),
    )


def _package_places(name: str) -> list[str]:
    """Where a top-level package or module lies; nothing if only the child can import it."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [str(Path(place).resolve()) for place in spec.submodule_search_locations]
    return [spec.origin] if spec.origin else []


def child_environment(cache: Path, import_paths: Sequence[Path]) -> dict[str, str]:
    """The whole environment of a device process."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _ENV_KEPT or name.startswith(_ENV_KEPT_PREFIXES)
    }
    root = Path(mesh.__file__).parent.parent
    installed_in = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    roots = [] if str(root) in installed_in else [root]
    return kept | {
        "HOME": str(cache),
        "TMPDIR": str(cache),
        "XDG_CACHE_HOME": str(cache),
        "MESA_SHADER_CACHE_DIR": str(cache),
        "NUMBA_CACHE_DIR": str(cache / "numba"),
        "CUDA_CACHE_PATH": str(cache / "cuda"),
        "PYTHONPATH": os.pathsep.join(str(path) for path in (*roots, *import_paths)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything needed to start the same process again and again."""

    environment: Mapping[str, str]
    rules: SandboxRules

    def confine(self, request: int) -> Confine:
        """The first request to such a process."""
        return Confine(request, os.getpid(), self.rules)


@asynccontextmanager
async def planned_launch(
    name: str, limits: DeviceLimits, plugins: Plugins
) -> AsyncIterator[Launch]:
    """The launch of `name`'s processes; a temporary cache folder goes when this ends."""
    if limits.cache_dir is None:
        cache = Path(tempfile.mkdtemp(prefix="framemesh-device-"))
    else:
        cache = limits.cache_dir.absolute() / name
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield Launch(
            child_environment(cache, plugins.import_paths), sandbox_rules(limits, plugins, cache)
        )
    finally:
        if limits.cache_dir is None:
            await asyncio.to_thread(shutil.rmtree, cache, ignore_errors=True)


def spawn(
    environment: Mapping[str, str], sock: socket.socket, stderr: int
) -> subprocess.Popen[bytes]:
    """Start a device process that serves `sock` and writes its log to `stderr`; takes half a ms.

    It leads a process group of its own, so that Ctrl-C reaches it only through the node.
    Raises OSError.
    """
    return subprocess.Popen(  # noqa: S603  our own interpreter and module
        [sys.executable, "-P", "-s", "-m", "mesh.device.process", str(sock.fileno())],
        env=dict(environment),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=stderr,
        stderr=stderr,
        pass_fds=(sock.fileno(),),
        start_new_session=True,
    )
