"""What a device process gives up before it loads a workload, and proof that it is gone.

Untrusted scenes, shaders and models meet large drivers there, so the process is confined by the
kernel (x86_64 and aarch64), in this order:

* limits: no core dumps, bounded descriptors, memory (RLIMIT_DATA) and file sizes;
* no new privileges, every capability dropped (matters when the node runs as root);
* Landlock (landlock(7)): only libraries, drivers, devices and one private directory;
* a seccomp filter (seccomp(2)): no sockets beyond the inherited one, no other process, no new
  process, no program, no kernel administration, no io_uring (it would open sockets behind the
  filter). Threads stay allowed: drivers, LLVM and OpenMP need them.

`apply` then *tries* what was forbidden. The report names as in force only what was refused in
that trial, and says for each other protection why it is missing.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec

from mesh.device import landlock
from mesh.device.kernel import checked, libc, prctl
from mesh.device.landlock import confine_files
from mesh.device.seccomp import filter_system_calls


class SandboxRules(msgspec.Struct, frozen=True):
    """What a device process may use and see; paths are absolute, missing ones are skipped."""

    memory_bytes: int
    file_bytes: int
    open_files: int
    nice: int
    readable: tuple[str, ...]  # files, or folders with all below
    listable: tuple[str, ...]  # folders whose names may be read, not the contents
    writable: tuple[str, ...]  # folders
    devices: tuple[str, ...]  # files to read, write and control, or folders of them
    private: tuple[str, ...]  # must turn out to be unreadable
    programs: tuple[str, ...] = ()  # files to start, or folders of them; they inherit all this


class SandboxReport(msgspec.Struct, frozen=True):
    """`in_force`: protections seen to work. `missing`: the others, and why.

    Names: limits, privileges, files, private_files, network, processes.
    """

    in_force: tuple[str, ...] = ()
    missing: dict[str, str] = {}


_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_LINKERS = ("lib/ld-*.so*", "lib64/ld-*.so*", "lib/*/ld-*.so*", "usr/lib/*/ld-*.so*")
_CAP_LAST = 63  # the kernel refuses what it does not know


def die_with_parent(parent: int) -> None:
    """SIGKILL this process when the node ends; exit now if it already has (prctl(2), PDEATHSIG).

    The kernel ties this to the *thread* that started the process: nodes start theirs on the loop.
    """
    prctl(_PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        raise SystemExit("the node ended before its device process began")


def drop_privileges() -> None:
    """No capability is left to this process, and no program it becomes will gain any."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        for capability in range(_CAP_LAST + 1):
            if libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
                break
    header = struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0)
    checked(libc.capset(header, bytes(24)), "capset")


def _set_limits(rules: SandboxRules) -> None:
    def lower(kind: int, wanted: int) -> None:
        hard = resource.getrlimit(kind)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, rules.open_files)
    lower(resource.RLIMIT_DATA, rules.memory_bytes)
    lower(resource.RLIMIT_FSIZE, rules.file_bytes)
    if rules.nice:
        os.nice(rules.nice)


def apply(rules: SandboxRules) -> SandboxReport:
    """Confine this process (single-threaded still) and report what holds. Cannot be undone."""
    problems: dict[str, str] = {}
    steps: dict[str, Callable[[], None]] = {
        "limits": lambda: _set_limits(rules),
        "privileges": drop_privileges,
        "files": lambda: confine_files(
            (
                (rules.readable, landlock.READ),
                (rules.listable, landlock.LIST),
                (rules.writable, landlock.WRITE),
                (rules.devices, landlock.USE),
                (_startable(rules.programs), landlock.EXECUTE),
            )
        ),
        "processes": lambda: filter_system_calls(programs=bool(rules.programs)),
    }
    for name, step in steps.items():
        try:
            step()
        except OSError as problem:
            problems[name] = str(problem)
    problems.setdefault("network", problems.get("processes", ""))
    if rules.programs:
        problems.setdefault("processes", "its owner lets it start [device] programs")
    problems.setdefault("private_files", problems.get("files", ""))
    trials: dict[str, Callable[[], bool]] = {
        "limits": lambda: resource.getrlimit(resource.RLIMIT_DATA)[1] <= rules.memory_bytes,
        "privileges": lambda: prctl(_PR_GET_NO_NEW_PRIVS) == 1 and _effective_capabilities() == 0,
        "files": lambda: _refused(lambda: _open_once("/")),
        "network": lambda: _refused(lambda: socket.socket(socket.AF_INET).close()),
        "processes": lambda: (
            _refused(lambda: os.kill(os.getppid(), 0)) and _refused(_start_a_process)
        ),
    }
    if rules.private:
        trials["private_files"] = lambda: all(_unreadable(path) for path in rules.private)
    in_force = tuple(name for name, holds in trials.items() if holds())
    return SandboxReport(
        in_force,
        {
            name: problems.get(name) or "tried after the sandbox was applied, and not refused"
            for name in trials
            if name not in in_force
        },
    )


def _startable(programs: tuple[str, ...]) -> tuple[str, ...]:
    """What must be executable to start them: they, and the system's dynamic linkers."""
    if not programs:
        return ()
    linkers = (str(path) for place in _LINKERS for path in Path("/").glob(place))
    return (*programs, *linkers)


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return -1


def _refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _unreadable(path: str) -> bool:
    return not Path(path).exists() or _refused(lambda: _open_once(path))


def _start_a_process() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def _open_once(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
