"""One worker of a demo mesh, to be hurt and healed, and what the gateway's log says of it."""

from __future__ import annotations

import datetime as dt
import re
import signal
import socket
from collections.abc import Iterable

from clients.cli.demo import DemoMesh


class Victim:
    """A worker of a running mesh, by name."""

    def __init__(self, mesh: DemoMesh, name: str = "worker-1") -> None:
        self._mesh = mesh
        self._name = name

    def kill(self) -> None:
        """End it by SIGKILL, and return when it is gone."""
        self._mesh.processes[self._name].kill()
        self._mesh.processes[self._name].wait()

    def start(self) -> None:
        """Start it again."""
        self._mesh.start(self._name)

    def stop(self) -> None:
        """Freeze it by SIGSTOP."""
        self._mesh.processes[self._name].send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._mesh.processes[self._name].send_signal(signal.SIGCONT)

    def made_any(self, makers: Iterable[str]) -> bool:
        """Whether it is among the makers that a frame's facts name."""
        return any(maker.startswith(f"{self._name}@") for maker in makers)

    def hellos_s(self) -> list[float]:
        """When the gateway accepted each of its hellos, unix seconds."""
        return self._logged_s(f"linked with {self._name} ")

    def partings_s(self) -> list[float]:
        """When the gateway noticed each end of the link to it, unix seconds."""
        return self._logged_s(f"link with {self._name} ended")

    def _logged_s(self, words: str) -> list[float]:
        log = (self._mesh.folder / "gateway.log").read_text("utf-8", "replace")
        return [
            dt.datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f").astimezone().timestamp()
            for at in re.findall(rf"^(\S+ \S+) .*{re.escape(words)}", log, re.MULTILINE)
        ]


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port: int = held.getsockname()[1]
    return port
