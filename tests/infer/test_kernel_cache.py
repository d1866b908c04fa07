"""Compiled loops are kept on disk, and never used for sources that have changed since."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

COUNT = """
import numpy as np
from infer.kernels import cpu
far = np.array([[500, 0, 0, 0]], np.float32)
far.flags.writeable = False
print(cpu.kernels.count_unusable(far), len(cpu.kernels.count_unusable.stats.cache_hits))
"""


def test_a_change_in_a_file_that_a_loop_only_uses_is_noticed(repository, tmp_path):
    """`count_unusable` is in one file, and what it counts is said in another."""
    shutil.copytree(repository / "infer", tmp_path / "infer")
    environment = os.environ | {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{repository}",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
    }

    def count():
        command = [sys.executable, "-c", COUNT]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.split()

    assert count() == ["0", "0"]
    assert count() == ["0", "1"]
    used = tmp_path / "infer" / "kernels" / "bodies" / "points.py"
    used.write_text(used.read_text().replace("np.float32(1000)", "np.float32(100)"))
    assert count() == ["1", "0"]
