"""System calls a device process may not make, as a seccomp filter (seccomp(2), linux/filter.h).

A list of what is denied, not of what is allowed: GPU drivers call what they like, and differ.
Denied calls fail with EPERM; a foreign instruction set (int 0x80) ends the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from mesh.device.kernel import prctl

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
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
_STARTING = {"fork", "vfork", "execve"}
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


def seccomp_program(machine: str, pid: int, *, programs: bool = False) -> bytes:
    """The filter as an array of struct sock_filter, for `machine` as uname(2) says it.

    programs: processes may be forked and become others, under this same filter.
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
    for name, numbers in _DENIED.items():
        if programs and name in _STARTING:
            continue
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
        (_JSET, 1, int(programs), _CLONE_THREAD),
        (_RET, 0, 0, _DENY),
        (_RET, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def filter_system_calls(*, programs: bool = False) -> None:
    """Put the filter on this thread and all it starts. Raises OSError."""
    program = seccomp_program(platform.machine(), os.getpid(), programs=programs)
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: unsigned short len; struct sock_filter *filter (aligned)
    fprog = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    holder = ctypes.create_string_buffer(fprog, len(fprog))
    prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(holder))
