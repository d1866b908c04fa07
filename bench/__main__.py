"""`python -m bench [--quick]`: every benchmark of this folder, each in a process of its own.

With --json DIR the figures of NAME go to DIR/NAME.json. The exit status is 1 if one failed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
HELPERS = {
    "childprocess",
    "cycles",
    "death",
    "kernelpeers",
    "mixed",
    "quality_scenes",
    "quality_sheet",
    "rayside",
    "report",
    "stragglers",
    "vehicle",
    "victim",
    "workernode",
}
GPU_ONLY = {"gpu", "render_device"}  # `make gpu`
NO_BENCHMARKS = {"__init__", "__main__", *HELPERS, *GPU_ONLY}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, metavar="DIR")
    options = parser.parse_args()
    if options.json is not None:
        options.json.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in sorted({path.stem for path in FOLDER.glob("*.py")} - NO_BENCHMARKS):
        words = ["--quick"] * options.quick
        if options.json is not None:
            words += ["--json", str((options.json / f"{name}.json").resolve())]
        print(f"\n=== bench.{name} {' '.join(words)}", flush=True)
        command = [sys.executable, "-m", f"bench.{name}", *words]
        if subprocess.run(command, cwd=FOLDER.parent, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
