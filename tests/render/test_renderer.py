"""What a device is asked for while frames are drawn, and what is left when scenes are gone."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mesh.core.workload import DeviceInfo
from render.camera import frame_bounds
from render.executor import RenderExecutor
from render.package import pack
from render.pieces import SessionSpec, encode
from render.renderer import open_renderer
from render.scene import Scene
from render.tiles import cut
from render.vulkan import api
from render.vulkan.instance import open_instance

SIZE = (320, 180)
LASTING = ("vkCreate", "vkDestroy", "vkAllocate", "vkFree", "vkMap", "vkUnmap", "vkUpdate")


class CallCounter:
    """Stands for `lib` and notes which of its functions were looked up, to be called."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> object:
        self.called.append(name)
        return getattr(api.lib, name)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> CallCounter:
    counter = CallCounter()
    for name, module in list(sys.modules.items()):
        ours = name.startswith("render.") and module is not api
        if ours and getattr(module, "lib", None) is api.lib:
            monkeypatch.setattr(module, "lib", counter)
    return counter


def test_frames_allocate_nothing_on_the_device(calls: CallCounter, fox: Scene, view_of: Callable):
    """Not even where the camera, the pose and the tiling change."""
    first = frame_bounds(tuple(fox.bounds_min), tuple(fox.bounds_max), SIZE[0] / SIZE[1])
    with open_instance() as instance, open_renderer(instance, instance.choose()) as renderer:
        scene, canvas = renderer.upload(fox), renderer.create_canvas(*SIZE)
        output = memoryview(bytearray(SIZE[0] * SIZE[1] * 3 // 2))

        def draw(number: int) -> None:
            pose = replace(first, yaw=first.yaw + 0.2 * number)
            view = view_of(pose, SIZE, animation=0, time=0.05 * number)
            for rect in cut(*SIZE, 1 + number):
                tile = msgspec.structs.replace(view, rect=tuple(rect))
                renderer.render(canvas, scene, tile, output[: rect.i420_bytes])

        draw(0)
        calls.called.clear()
        held = renderer.memory_bytes
        for number in range(1, 5):
            draw(number)
        assert "vkCmdDrawIndexedIndirect" in calls.called
        assert [name for name in calls.called if name.startswith(LASTING)] == []
        assert renderer.memory_bytes == held
        canvas.close()
        scene.close()


@pytest.mark.parametrize("samples", [0, 2])
def test_a_tile_says_which_passes_ran_and_for_how_long(
    studio, fox: Scene, view_of: Callable, samples: int
):
    """Only those that had to: the second tile of a frame finds vertices bent and its map drawn."""
    pose = frame_bounds(tuple(fox.bounds_min), tuple(fox.bounds_max), SIZE[0] / SIZE[1])
    view = view_of(pose, SIZE, animation=0, time=0.1, shadows=1024, samples=samples)
    renderer = studio.renderer
    with closing(renderer.upload(fox)) as scene, ExitStack() as scope:
        canvas = scope.enter_context(closing(renderer.create_canvas(*SIZE)))
        if samples:
            traced = scope.enter_context(closing(renderer.upload_traced(scene, fox)))
        passes = []
        for rect in cut(*SIZE, 2):
            tile = msgspec.structs.replace(view, rect=tuple(rect))
            output = memoryview(bytearray(rect.i420_bytes))
            began_ns = time.perf_counter_ns()
            if samples:
                times = renderer.trace(canvas, traced, tile, output)
            else:
                times = renderer.render(canvas, scene, tile, output)
            took_us = (time.perf_counter_ns() - began_ns) // 1000
            assert times.passes_us["trace" if samples else "raster"] > 0
            assert sum(times.passes_us.values()) <= took_us
            passes.append(list(times.passes_us))
    first = ["bend", "trace", "finish"] if samples else ["bend", "shadow", "raster", "finish"]
    assert passes == [first, first[-2:]]


def test_what_a_session_took_it_leaves(
    device_info: DeviceInfo, data_dir: Path, executor: RenderExecutor
):
    scenes = [pack(data_dir / "gltf" / "Fox.glb"), pack("procedural:courtyard")]
    specs = [encode(SessionSpec(*SIZE)), encode(SessionSpec(160, 96))]

    def cycle(number: int) -> Iterator[int]:
        asset, spec = scenes[number % 2], specs[number % 3 % 2]
        executor.prepare("s", spec, {asset.digest: memoryview(asset.data)})
        yield executor.memory_bytes
        executor.forget("s")
        yield executor.memory_bytes

    seen = [list(cycle(number)) for number in range(6)]
    assert all(held > left for held, left in seen)
    assert {left for _, left in seen} == {seen[0][1]}
