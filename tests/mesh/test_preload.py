"""A gateway has loaded what its workloads' sessions need before it serves anyone."""

from __future__ import annotations

import sys

PLUGIN = """
import threading
from framemesh import DeviceInfo

loaded_in = []

class Slow:
    name = "slow"
    def find_devices(self): return [DeviceInfo("cpu", "cpu", "any", "any", 0, software=True)]
    def open_executor(self, device): return self
    def close(self): ...
    def preload(self): loaded_in.append(threading.current_thread() is threading.main_thread())

def create(settings): return Slow()
"""


async def test_what_is_slow_to_load_is_loaded_once_in_a_thread(open_host, install_workload):
    install_workload("slow", PLUGIN)
    async with open_host(slow={}) as host:
        assert host.node.http_port
        assert sys.modules["slow"].loaded_in == [False]
