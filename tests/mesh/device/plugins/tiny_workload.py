"""A workload small enough to see through: the child under test loads it, nothing is replaced.

A piece's spec is a command; see `TinyExecutor.run`. It can also misbehave in every way that the
node must survive.
"""

import json
import mmap
import os
import signal
import socket
import sys
import time
from pathlib import Path

from mesh.core.errors import ContentRefused, DeviceLost, DeviceUnavailable
from mesh.core.workload import DeviceInfo
from mesh.device.messages import Finished, encode

INFO = DeviceInfo(unit="tiny", api="cpu", name="tiny device", driver="tiny 1", index=0)
FOREIGN = DeviceInfo(unit="tiny", api="vulkan", name="not mine", driver="other 1", index=0)


class TinyExecutor:
    def __init__(self):
        self.sessions = {}
        self.keys = {}
        self.batches = []
        self.passes = {}

    def prepare(self, session, spec, assets):
        if spec == b"refuse":
            raise ContentRefused(what="the asset is bad", why="the test says so", fix="None.")
        if spec == b"raise":
            raise ValueError("prepare went wrong")
        if spec == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        if spec == b"hang":
            time.sleep(3600)
        if spec == b"die when repeated":
            marker = Path.home() / "prepared"
            if marker.exists():
                os.kill(os.getpid(), signal.SIGKILL)
            marker.touch()
        self.sessions[session] = sum(sum(bytes(data)) for data in assets.values())
        self.keys[session] = spec.decode().partition("batch ")[2]

    def heed(self, check):
        self.check = check

    def batch_key(self, session):
        """What follows "batch " in the session's spec."""
        return self.keys[session]

    def run_batch(self, batch):
        """Each piece's own command, but for those that spoil the batch."""
        first = batch[0].spec
        if first == b"raise for all":
            raise ValueError("the batch went wrong")
        if first == b"answer for one":
            return [0]
        self.batches.append(len(batch))
        return [self.outcome(*call) for call in batch]

    def outcome(self, *call):
        try:
            return self.run(*call)
        except ContentRefused as problem:
            return problem

    def run(self, session, spec, inputs, output):
        name, _, argument = spec.decode().partition(" ")
        return getattr(self, "do_" + name)(session, argument, inputs, output)

    def passes_us(self):
        return self.passes

    def forget(self, session):
        self.sessions.pop(session, None)

    def close(self):
        pass

    # --- commands ---

    def do_noop(self, session, argument, inputs, output):
        return 0

    def do_time(self, session, argument, inputs, output):
        """Say from now on that pieces took so long."""
        self.passes = json.loads(argument)
        return 0

    def do_sum(self, session, argument, inputs, output):
        """The sum of the inputs and of the session's assets, as text."""
        return write(output, str(sum(bytes(inputs)) + self.sessions[session]))

    def do_copy(self, session, argument, inputs, output):
        output[: len(inputs)] = inputs
        return len(inputs)

    def do_batches(self, session, argument, inputs, output):
        """The sizes of the batches run so far."""
        return write(output, json.dumps(self.batches))

    def do_sessions(self, session, argument, inputs, output):
        return write(output, json.dumps(sorted(self.sessions)))

    def do_raise(self, session, argument, inputs, output):
        raise ValueError(argument)

    def do_refuse(self, session, argument, inputs, output):
        raise ContentRefused(what="the input is bad", why=argument, fix="Send another.")

    def do_lose(self, session, argument, inputs, output):
        raise DeviceLost(what="the GPU is gone", why="the test says so", fix="None.")

    def do_exit(self, session, argument, inputs, output):
        os._exit(int(argument))

    def do_abort(self, session, argument, inputs, output):
        os.abort()

    def do_die(self, session, argument, inputs, output):
        os.kill(os.getpid(), signal.SIGKILL)

    def do_stop(self, session, argument, inputs, output):
        os.kill(os.getpid(), signal.SIGSTOP)
        return 0

    def do_hang(self, session, argument, inputs, output):
        while True:
            time.sleep(1)

    def do_heed(self, session, argument, inputs, output):
        """Run for ever, unless nobody wants it."""
        output[:1] = b"!"  # it has begun
        while True:
            self.check()
            time.sleep(0.001)

    def do_scheduler(self, session, argument, inputs, output):
        return write(output, str(os.sched_getscheduler(0)))

    def do_stop_words(self, session, argument, inputs, output):
        """What becomes of an attempt to write to it."""
        [stop] = [fd for fd in open_fds() if "framemesh-stop" in link(fd)]
        tries = [
            lambda: os.pwrite(stop, bytes(8), 0),
            lambda: os.ftruncate(stop, 0),
            lambda: mmap.mmap(stop, 8, mmap.MAP_SHARED, mmap.PROT_WRITE),
        ]
        return write(output, json.dumps([attempt(trial) for trial in tries]))

    def do_claim(self, session, argument, inputs, output):
        """Claim to have written more than fits."""
        return len(output) + 1

    def do_overrun(self, session, argument, inputs, output):
        output[: len(output) + 1] = bytes(len(output) + 1)
        return len(output)

    def do_forge(self, session, argument, inputs, output):
        """Answer past the process's own code, as a hijacked executor would."""
        changes = json.loads(argument)
        wire = node_socket()
        if changes.pop("garbage", False):
            wire.send(b"\xc1 garbage")
        else:
            fields = {"request": 0, "generation": 0, "nbytes": 0, "run_us": 0}
            wire.send(encode(Finished(**(fields | changes))))
        time.sleep(3600)
        return 0

    def do_chat(self, session, argument, inputs, output):
        """Say the argument as often as makes a megabyte."""
        line = argument + "\n"
        for _ in range(1_000_000 // len(line)):
            sys.stderr.write(line)
        return 0

    def do_stamp(self, session, argument, inputs, output):
        """Write the offset of the output in the arena: reveals whether slots are shared."""
        output[:] = bytes([int(argument)]) * len(output)
        return len(output)

    def do_wait_for(self, session, argument, inputs, output):
        """Run until the first byte of the inputs is written to, from the node."""
        output[:1] = b"!"  # it has begun
        while inputs[0] == 0:
            time.sleep(0.001)
        return write(output, "done")

    def do_read(self, session, argument, inputs, output):
        return write(output, attempt(lambda: Path(argument).read_text()))

    def do_list(self, session, argument, inputs, output):
        return write(output, attempt(lambda: " ".join(p.name for p in Path(argument).iterdir())))

    def do_write(self, session, argument, inputs, output):
        return write(output, attempt(lambda: str(Path(argument).write_text("x"))))

    def do_connect(self, session, argument, inputs, output):
        family = getattr(socket, argument)
        return write(output, attempt(lambda: socket.socket(family).close()))

    def do_fork(self, session, argument, inputs, output):
        return write(output, attempt(fork_once))

    def do_signal(self, session, argument, inputs, output):
        return write(output, attempt(lambda: os.kill(int(argument), 0)))

    def do_allocate(self, session, argument, inputs, output):
        return write(output, attempt(lambda: str(len(bytearray(int(argument))))))

    def do_environ(self, session, argument, inputs, output):
        return write(output, json.dumps(dict(os.environ)))

    def do_fds(self, session, argument, inputs, output):
        links = [link(fd) for fd in open_fds()]
        return write(output, json.dumps(links))


def write(output, text):
    data = text.encode()
    output[: len(data)] = data
    return len(data)


def attempt(action):
    try:
        return f"ok {action()}"
    except (OSError, MemoryError) as problem:
        return type(problem).__name__


def fork_once():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


def open_fds():
    found = []
    for fd in range(64):
        try:
            os.fstat(fd)
        except OSError:
            continue
        found.append(fd)
    return found


def link(fd):
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def node_socket():
    for fd in open_fds():
        if link(fd).startswith("socket:"):
            return socket.socket(fileno=os.dup(fd))
    raise LookupError("no socket")


class Tiny:
    name = "tiny"

    def __init__(self, settings):
        self.settings = settings

    def find_devices(self):
        match self.settings.get("probe"):
            case "none":
                raise DeviceUnavailable(
                    what="no tiny device", why="the test says so", fix="Install one."
                )
            case "crash":
                os.abort()
            case "hang":
                time.sleep(3600)
            case "raise":
                raise RuntimeError("probe went wrong")
        return [INFO]

    def open_executor(self, device):
        if device.api != "cpu" or self.settings.get("open") == "refuse":
            raise DeviceUnavailable(
                what="tiny cannot use it", why=f"it speaks {device.api}", fix="None."
            )
        if self.settings.get("open") == "hang":
            time.sleep(3600)
        if self.settings.get("open") == "die":
            os.abort()
        return TinyExecutor()

    def open_session(self, request):
        raise NotImplementedError("these tests have no gateway")


def create(settings):
    return Tiny(settings)
