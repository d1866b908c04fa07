"""CPU time of a mesh's processes, by their part: what is left to measure where devices sleep."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

_PROC = Path("/proc")


def spent_us() -> Counter[str]:
    """CPU time so far, in microseconds, of this process and all it started that still run.

    By part: "client" (this process), "gateway", "workers", "devices" (their processes). Kernel time
    counts for whoever it was spent for. Linux only.
    """
    parts: Counter[str] = Counter()
    for pid in _family():
        try:
            tasks = list((_PROC / str(pid) / "task").iterdir())
            parts[_part(pid)] += sum(_task_us(task) for task in tasks)
        except OSError:  # it has just ended
            continue
    return parts


def _family() -> list[int]:
    """This process and its descendants."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                after_name = (entry / "stat").read_text().rpartition(")")[2]
            except OSError:
                continue
            children.setdefault(int(after_name.split()[1]), []).append(int(entry.name))
    found = [os.getpid()]
    for pid in found:  # grows meanwhile
        found += children.get(pid, [])
    return found


def _part(pid: int) -> str:
    if pid == os.getpid():
        return "client"
    words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    if b"mesh.device.process" in words:
        return "devices"
    return "gateway" if any(b"gateway" in word for word in words) else "workers"


def _task_us(task: Path) -> int:
    """schedstat: nanoseconds on a CPU, nanoseconds waiting for one, slices."""
    return int((task / "schedstat").read_text().split()[0]) // 1000
