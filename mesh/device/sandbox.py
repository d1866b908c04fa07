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
import errno
import os
import platform
import resource
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec


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


class SandboxReport(msgspec.Struct, frozen=True):
    """`in_force`: protections seen to work. `missing`: the others, and why.

    Names: limits, privileges, files, private_files, network, processes.
    """

    in_force: tuple[str, ...] = ()
    missing: dict[str, str] = {}


# --- prctl and capabilities ---------------------------------------------------------------------

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_SECCOMP_MODE_FILTER = 2
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_CAP_LAST = 63  # the kernel refuses what it does not know

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def _prctl(option: int, arg: int = 0, pointer: int = 0) -> int:
    null = ctypes.c_ulong(0)
    call = _libc.prctl(
        ctypes.c_int(option), ctypes.c_ulong(arg), ctypes.c_ulong(pointer), null, null
    )
    return _checked(call, f"prctl({option})")


def die_with_parent(parent: int) -> None:
    """SIGKILL this process when the node ends; exit now if it already has (prctl(2), PDEATHSIG).

    The kernel ties this to the *thread* that started the process: nodes start theirs on the loop.
    """
    _prctl(_PR_SET_PDEATHSIG, 9)
    if os.getppid() != parent:
        raise SystemExit("the node ended before its device process began")


def _drop_privileges() -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if os.geteuid() == 0:
        for capability in range(_CAP_LAST + 1):
            if _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0) < 0:
                break
    header = struct.pack("=Ii", _LINUX_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, bytes(24)), "capset")


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


# --- Landlock: linux/landlock.h -----------------------------------------------------------------

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # one number on every architecture
_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_FS_EXECUTE = 1 << 0
_FS_WRITE_FILE = 1 << 1
_FS_READ_FILE = 1 << 2
_FS_READ_DIR = 1 << 3
_FS_TRUNCATE = 1 << 14
_FS_IOCTL_DEV = 1 << 15
_FS_ABI1 = (1 << 13) - 1  # execute ... make_sym
_FS_MAKE = _FS_ABI1 & ~(_FS_EXECUTE | _FS_WRITE_FILE | _FS_READ_FILE | _FS_READ_DIR)
_FS_BY_ABI = {1: _FS_ABI1, 2: _FS_ABI1 | 1 << 13, 3: _FS_ABI1 | 3 << 13}
_FS_FROM_ABI5 = _FS_ABI1 | 7 << 13
_NET_TCP = 3  # bind and connect, ABI 4
_SCOPES = 3  # abstract UNIX sockets and signals, ABI 6
# What a rule on something that is not a folder may carry.
_FS_FILE_ONLY = _FS_EXECUTE | _FS_WRITE_FILE | _FS_READ_FILE | _FS_TRUNCATE | _FS_IOCTL_DEV


def landlock_abi() -> int:
    """The kernel's Landlock ABI version; 0 where it has none or it is switched off."""
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _RULESET_VERSION)))


def _confine_files(rules: SandboxRules) -> None:
    abi = landlock_abi()
    if abi == 0:
        raise OSError(errno.EOPNOTSUPP, "this kernel has no Landlock (or lsm= leaves it out)")
    handled = _FS_FROM_ABI5 if abi >= 5 else _FS_BY_ABI[min(abi, 3)]
    attributes = struct.pack(
        "=QQQ", handled, _NET_TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0
    )
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _checked(
        _libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "landlock_create"
    )
    read = _FS_READ_FILE | _FS_READ_DIR
    write = read | _FS_WRITE_FILE | _FS_MAKE | 3 << 13
    device = read | _FS_WRITE_FILE | _FS_IOCTL_DEV
    try:
        for paths, rights in (
            (rules.readable, read),
            (rules.listable, _FS_READ_DIR),
            (rules.writable, write),
            (rules.devices, device),
        ):
            for path in paths:
                _allow(ruleset, path, rights & handled)
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not Path(path).is_dir():
            rights &= _FS_FILE_ONLY
        rule = struct.pack("=Qi", rights, beneath)
        _checked(
            _libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0),
            f"landlock_add_rule({path})",
        )
    finally:
        os.close(beneath)


# --- seccomp: linux/filter.h, linux/seccomp.h, linux/audit.h -------------------------------------

_LD_WORD_ABS, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL_PROCESS, _ALLOW = 0x80000000, 0x7FFF0000
_DENY = 0x00050000 | errno.EPERM
_NOT_IMPLEMENTED = 0x00050000 | errno.ENOSYS
_NR_AT, _ARCH_AT, _ARG0_AT = 0, 4, 16  # offsets in struct seccomp_data; low words, little endian
_CLONE_THREAD = 0x00010000
_CLONE_NEW_ANY = 0x7E020000  # every namespace flag that clone(2) takes
_X32_SYSCALL_BIT = 0x40000000

# Numbers for (x86_64, aarch64), from asm/unistd_64.h and asm-generic/unistd.h; None: not there.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # the network; socketpair stays, it reaches nobody
    "socket": (41, 198),
    "connect": (42, 203),
    "accept": (43, 202),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept4": (288, 242),
    # new processes, new programs
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    # ways round this filter, and large kernel surface that no driver needs
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    # administration
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "iopl": (172, None),
    "ioperm": (173, None),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "vhangup": (153, 58),
}
# Allowed on oneself: the first argument is this process's id.
_SELF_ONLY = {
    "kill": (62, 129),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_PRLIMIT64 = (302, 261)  # 0 also means oneself
_CLONE = (56, 220)
_CLONE3 = 435  # its flags are behind a pointer: glibc falls back to clone on ENOSYS
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column, AUDIT_ARCH_*


def seccomp_program(machine: str, pid: int) -> bytes:
    """The filter as an array of struct sock_filter, for `machine` as uname(2) says it.

    Raises OSError for a machine whose system call numbers are not known here.
    """
    if machine not in _MACHINES:
        raise OSError(errno.EOPNOTSUPP, f"no system call numbers for {machine}")
    column, audit_arch = _MACHINES[machine]
    program: list[tuple[int, int, int, int]] = [
        (_LD_WORD_ABS, 0, 0, _ARCH_AT),
        (_JEQ, 1, 0, audit_arch),
        (_RET, 0, 0, _KILL_PROCESS),
        (_LD_WORD_ABS, 0, 0, _NR_AT),
    ]
    if machine == "x86_64":
        program += [(_JGE, 0, 1, _X32_SYSCALL_BIT), (_RET, 0, 0, _DENY)]
    for numbers in _DENIED.values():
        if (number := numbers[column]) is not None:
            program += [(_JEQ, 0, 1, number), (_RET, 0, 0, _DENY)]
    program += [(_JEQ, 0, 1, _CLONE3), (_RET, 0, 0, _NOT_IMPLEMENTED)]
    for numbers in _SELF_ONLY.values():
        program += [
            (_JEQ, 0, 4, numbers[column]),
            (_LD_WORD_ABS, 0, 0, _ARG0_AT),
            (_JEQ, 0, 1, pid),
            (_RET, 0, 0, _ALLOW),
            (_RET, 0, 0, _DENY),
        ]
    program += [
        (_JEQ, 0, 5, _PRLIMIT64[column]),
        (_LD_WORD_ABS, 0, 0, _ARG0_AT),
        (_JEQ, 1, 0, 0),
        (_JEQ, 0, 1, pid),
        (_RET, 0, 0, _ALLOW),
        (_RET, 0, 0, _DENY),
        (_JEQ, 0, 4, _CLONE[column]),
        (_LD_WORD_ABS, 0, 0, _ARG0_AT),
        (_JSET, 1, 0, _CLONE_NEW_ANY),
        (_JSET, 1, 0, _CLONE_THREAD),
        (_RET, 0, 0, _DENY),
        (_RET, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _filter_system_calls() -> None:
    program = seccomp_program(platform.machine(), os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: unsigned short len; struct sock_filter *filter (aligned)
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    holder = ctypes.create_string_buffer(fprog, len(fprog))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(holder))


# --- all of it, and the proof -------------------------------------------------------------------


def apply(rules: SandboxRules) -> SandboxReport:
    """Confine this process (single-threaded still) and report what holds. Cannot be undone."""
    problems: dict[str, str] = {}
    steps: dict[str, Callable[[], None]] = {
        "limits": lambda: _set_limits(rules),
        "privileges": _drop_privileges,
        "files": lambda: _confine_files(rules),
        "processes": _filter_system_calls,
    }
    for name, step in steps.items():
        try:
            step()
        except OSError as problem:
            problems[name] = str(problem)
    problems.setdefault("network", problems.get("processes", ""))
    problems.setdefault("private_files", problems.get("files", ""))
    trials: dict[str, Callable[[], bool]] = {
        "limits": lambda: resource.getrlimit(resource.RLIMIT_DATA)[1] <= rules.memory_bytes,
        "privileges": lambda: _prctl(_PR_GET_NO_NEW_PRIVS) == 1 and _effective_capabilities() == 0,
        "files": lambda: _refused(lambda: _open_once("/")),
        "network": lambda: _refused(lambda: socket.socket(socket.AF_INET).close()),
        "processes": lambda: _refused(lambda: os.kill(os.getppid(), 0)),
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


def _open_once(path: str) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
