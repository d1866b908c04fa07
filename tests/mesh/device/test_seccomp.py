"""The system call filter, run on an interpreter of classic BPF: both machines are tested."""

import errno
import struct

import pytest

from mesh.device.seccomp import seccomp_program

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 4242
THREAD_FLAGS = 0x3D0F00  # what glibc passes to clone for a thread
CLONE_NEWUSER, CLONE_VM, CLONE_VFORK, SIGCHLD = 0x10000000, 0x100, 0x4000, 17


def decide(machine, number, *arguments, arch=None, programs=False):
    """What the kernel would answer: linux/filter.h on struct seccomp_data."""
    data = struct.pack(
        "<IIQ6Q", number, arch or AUDIT_ARCH[machine], 0, *(list(arguments) + [0] * 6)[:6]
    )
    program = list(struct.iter_unpack("=HBBI", seccomp_program(machine, PID, programs=programs)))
    at = accumulator = 0
    while True:
        code, true, false, k = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x15:
                at += true if accumulator == k else false
            case 0x35:
                at += true if accumulator >= k else false
            case 0x45:
                at += true if accumulator & k else false
            case 0x06:
                return k


NUMBERS = {
    "x86_64": {
        "read": 0, "mmap": 9, "ioctl": 16, "futex": 202, "socketpair": 53, "sendmsg": 46,
        "recvmsg": 47, "socket": 41, "connect": 42, "ptrace": 101, "execve": 59, "bpf": 321,
        "process_vm_readv": 310, "keyctl": 250, "mount": 165, "unshare": 272,
        "io_uring_setup": 425, "clone": 56, "clone3": 435, "kill": 62, "tgkill": 234,
        "prlimit64": 302, "memfd_create": 319, "exit_group": 231,
    },
    "aarch64": {
        "read": 63, "mmap": 222, "ioctl": 29, "futex": 98, "socketpair": 199, "sendmsg": 211,
        "recvmsg": 212, "socket": 198, "connect": 203, "ptrace": 117, "execve": 221, "bpf": 280,
        "process_vm_readv": 270, "keyctl": 219, "mount": 40, "unshare": 97,
        "io_uring_setup": 425, "clone": 220, "clone3": 435, "kill": 129, "tgkill": 131,
        "prlimit64": 261, "memfd_create": 279, "exit_group": 94,
    },
}  # fmt: skip


@pytest.fixture(params=sorted(NUMBERS))
def machine(request):
    return request.param


@pytest.mark.parametrize(
    "call",
    ["read", "mmap", "ioctl", "futex", "socketpair", "sendmsg", "recvmsg", "memfd_create",
     "exit_group"],
)  # fmt: skip
def test_what_drivers_need_is_allowed(machine, call):
    assert decide(machine, NUMBERS[machine][call]) == ALLOW


@pytest.mark.parametrize(
    "call",
    ["socket", "connect", "ptrace", "execve", "bpf", "process_vm_readv", "keyctl", "mount",
     "unshare", "io_uring_setup"],
)  # fmt: skip
def test_what_reaches_out_is_denied(machine, call):
    assert decide(machine, NUMBERS[machine][call], 1, 1) == EPERM


def test_threads_may_start_and_processes_may_not(machine):
    clone = NUMBERS[machine]["clone"]
    assert decide(machine, clone, THREAD_FLAGS) == ALLOW
    assert decide(machine, clone, SIGCHLD) == EPERM
    assert decide(machine, clone, CLONE_VM | CLONE_VFORK | SIGCHLD) == EPERM
    assert decide(machine, clone, THREAD_FLAGS | CLONE_NEWUSER) == EPERM
    assert decide(machine, NUMBERS[machine]["clone3"]) == ENOSYS


def test_where_programs_may_be_started_everything_else_stays_denied(machine):
    numbers = NUMBERS[machine]
    clone = numbers["clone"]
    assert decide(machine, numbers["execve"], programs=True) == ALLOW
    assert decide(machine, clone, SIGCHLD, programs=True) == ALLOW
    assert decide(machine, clone, THREAD_FLAGS, programs=True) == ALLOW
    assert decide(machine, clone, SIGCHLD | CLONE_NEWUSER, programs=True) == EPERM
    for call in ("socket", "connect", "ptrace", "bpf", "process_vm_readv", "mount", "unshare"):
        assert decide(machine, numbers[call], 1, 1, programs=True) == EPERM
    assert decide(machine, numbers["kill"], 1, programs=True) == EPERM


@pytest.mark.parametrize("call", ["kill", "tgkill"])
def test_signals_go_only_to_oneself(machine, call):
    number = NUMBERS[machine][call]
    assert decide(machine, number, PID) == ALLOW
    for other in (1, PID + 1, 0, 2**64 - 1):
        assert decide(machine, number, other) == EPERM


def test_limits_are_changed_only_on_oneself(machine):
    number = NUMBERS[machine]["prlimit64"]
    assert decide(machine, number, 0) == decide(machine, number, PID) == ALLOW
    assert decide(machine, number, 1) == EPERM


def test_a_foreign_instruction_set_ends_the_process(machine):
    assert decide(machine, NUMBERS[machine]["read"], arch=0x40000003) == KILL  # i386


def test_the_x32_numbers_are_denied():
    assert decide("x86_64", 0x40000000 | NUMBERS["x86_64"]["socket"]) == EPERM


def test_a_machine_whose_numbers_are_unknown_is_said_to_be():
    with pytest.raises(OSError, match="no system call numbers for riscv64"):
        seccomp_program("riscv64", PID)
