"""What a tool can reach that runs on a stranger's input: tried with an interpreter as the tool."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from mesh.core.errors import ContentRefused
from mesh.device.landlock import landlock_abi
from render.workloads.confined import CPU_S, MEMORY_BYTES, OUTPUT_BYTES, run_tool

TOOL = Path(sys.executable).resolve()
confined = pytest.mark.skipif(landlock_abi() == 0, reason="this kernel has no Landlock")


def run(code: str, folder: Path, given: bytes = b"") -> None:
    run_tool(TOOL, ["-I", "-S", "-c", code], given, folder)


def test_it_reads_its_input_and_writes_to_its_folder(tmp_path: Path) -> None:
    run("import sys; open('out', 'w').write(sys.stdin.read())", tmp_path, b"a shader")
    assert (tmp_path / "out").read_text() == "a shader"


def test_its_bounds_are_in_force(tmp_path: Path) -> None:
    limits = f"[{CPU_S}, {MEMORY_BYTES}, {OUTPUT_BYTES}, 0]"
    run(
        "import resource as r; got = [r.getrlimit(k) for k in "
        "(r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_FSIZE, r.RLIMIT_CORE)]; "
        f"assert got == [(most, most) for most in {limits}], got",
        tmp_path,
    )


@confined
@pytest.mark.parametrize("attempt", ["open('{there}').read()", "open('{there}', 'w')"])
def test_no_other_file_is_within_its_reach(tmp_path: Path, attempt: str) -> None:
    secret, folder = tmp_path / "secret", tmp_path / "folder"
    secret.write_text("a key")
    folder.mkdir()
    with pytest.raises(ContentRefused, match="Permission denied"):
        run(attempt.format(there=secret), folder)
    assert secret.read_text() == "a key"


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="no filter for it")
def test_no_network_is_within_its_reach(tmp_path: Path) -> None:
    with pytest.raises(ContentRefused, match="Operation not permitted"):
        run("import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM)", tmp_path)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("bytearray(1 << 30)", "MemoryError"),
        (
            "import signal as s; s.signal(s.SIGXFSZ, s.SIG_DFL)\nwhile True: print('x' * 65536)",
            "wrote too much",
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "took over 5 s"),
        ("import sys; sys.exit('line 3: no such thing')", "line 3: no such thing"),
        ("import os; os._exit(7)", "ended with 7"),
    ],
)
def test_what_goes_wrong_is_said(tmp_path: Path, code: str, reason: str) -> None:
    with pytest.raises(ContentRefused, match=reason):
        run(code, tmp_path)
