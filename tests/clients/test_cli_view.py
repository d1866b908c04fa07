"""What `framemesh view` prints of frames and their facts."""

from __future__ import annotations

from clients.cli.view import Tally

FACTS = {
    "stages": {"open": 200, "pieces": 11800},
    "makers": ["a/vulkan0", "b/vulkan0"],
    "pieces": [[0, 0, 16, 16, 0, 1, 2], [16, 0, 16, 16, 1, 1, 2], [32, 0, 16, 16, -1, 0, 0]],
    "filled": 1,
}


def test_a_line_has_the_medians_of_stages_and_of_passes_on_devices():
    tally = Tally(0)
    for raster in (7000, 9000, 8000):
        tally.heard(FACTS | {"passes": {"raster": raster, "finish": 700}})
    line = tally.line(1_000_000)
    assert "ms: open 0.2  pieces 11.8  |  devices: raster 8.0  finish 0.7  |" in line
    assert "a/vulkan0 33%  b/vulkan0 33%" in line
    assert line.endswith("filled 3 of 9")


def test_workloads_that_tell_no_passes_have_none_in_the_line():
    tally = Tally(0)
    tally.heard(FACTS)
    assert "devices" not in tally.line(1_000_000)
