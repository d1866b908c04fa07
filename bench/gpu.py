"""`make gpu`: every test that needs a GPU, and what a GPU's figures are, into one file.

Writes bench/results/DEVICE-DATE.json. Takes at most 8 minutes: what does not fit any more is left
out, and said. Without a GPU it says what is missing and exits 1; software drivers do not count
unless asked for by --software, which tries the command itself.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.report import machine
from mesh.core.errors import DeviceUnavailable

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
BUDGET_S = 460.0  # and a little to end what is not done
END_S = 15.0
# What a GPU changes, in order of interest; each is left out when time is up.
BENCHES = (
    ("render_device",),
    ("render_speed", "--quick"),
    ("tilings", "--quick"),
    ("soak_scenes", "--cycles", "100"),
    ("headset", "--quick"),
)
SOFTWARE_DRIVER = "*lvp*"  # lavapipe's manifest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--software", action="store_true", help="a software driver will do")
    options = parser.parse_args()
    device, missing = find_device(software=options.software)
    if device is None:
        print(f"no GPU for `make gpu`:\n{missing}", file=sys.stderr)
        return 1
    print(f"on {device}")
    if not options.software:
        os.environ.setdefault("VK_LOADER_DRIVERS_DISABLE", SOFTWARE_DRIVER)
    until = time.monotonic() + BUDGET_S
    result: dict[str, Any] = {"device": device, "machine": machine(), "figures": {}, "left_out": []}
    result["tests"] = run_tests(until)
    for name, *words in BENCHES:
        figures = run_bench(name, words, until)
        if figures is None:
            result["left_out"].append(name)
        else:
            result["figures"][name] = figures
    RESULTS.mkdir(exist_ok=True)
    label = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")[:60]
    path = RESULTS / f"{label}-{datetime.now(UTC):%Y-%m-%d}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(f"\n{path.relative_to(ROOT)}; left out: {', '.join(result['left_out']) or 'nothing'}")
    return int(result["tests"]["exit_status"] != 0 or bool(result["left_out"]))


def find_device(*, software: bool) -> tuple[str | None, str]:
    """The device that benches will take, as its driver names it; else None and what is missing."""
    lines = []
    cuda = any(Path("/dev").glob("nvidia[0-9]*"))
    try:
        from render.vulkan.instance import open_instance  # noqa: PLC0415  (loads libvulkan)

        with open_instance() as instance:
            for found in instance.physical_devices():
                if not found.lacks and (software or not found.software):
                    return f"{found.name} {found.driver}", ""
                why = found.lacks or "it runs on the CPU (--software takes it)"
                lines.append(f"  Vulkan: {found.name} is no GPU for this: {why}")
    except DeviceUnavailable as problem:
        lines.append(f"  Vulkan: {problem}")
    lines.append(f"  CUDA: {'/dev/nvidia* is there' if cuda else 'no /dev/nvidia* here'}")
    lines.append("Install the GPU vendor's driver with its Vulkan part, or run this elsewhere.")
    return None, "\n".join(lines)


def run_tests(until: float) -> dict[str, Any]:
    """pytest's exit status (5, nothing to run, counts as 0) and its last line."""
    words = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests"]
    print(f"\n=== {' '.join(words[1:])}", flush=True)
    done = _run(words, until, stdout=subprocess.PIPE)
    if done is None:
        return {"exit_status": 124, "summary": "not done in time"}
    summary = (done.stdout.strip().splitlines() or [""])[-1]
    print(summary)
    return {"exit_status": 0 if done.returncode == 5 else done.returncode, "summary": summary}


def run_bench(name: str, words: list[str], until: float) -> dict[str, float] | None:
    """The bench's figures; None if it failed or there was no time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "figures.json")
        print(f"\n=== bench.{name} {' '.join(words)}", flush=True)
        command = [sys.executable, "-m", f"bench.{name}", *words, "--json", str(path)]
        done = _run(command, until)
        if done is None or done.returncode or not path.exists():
            print(f"bench.{name} is left out", file=sys.stderr)
            return None
        figures: dict[str, float] = json.loads(path.read_text("utf-8"))["figures"]
        return figures


def _run(words: list[str], until: float, **given: Any) -> subprocess.CompletedProcess[str] | None:
    """None if it was not done in time: then it is ended, with all that it started."""
    with subprocess.Popen(words, cwd=ROOT, text=True, start_new_session=True, **given) as process:
        try:
            out, _ = process.communicate(timeout=max(until - time.monotonic(), 0))
        except BaseException as problem:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.communicate(timeout=END_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(problem, subprocess.TimeoutExpired):
                return None
            raise
    return subprocess.CompletedProcess(words, process.returncode, out)


if __name__ == "__main__":
    sys.exit(main())
