"""What the page saves of its last seconds is a trace that Perfetto reads, on one clock."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

FACTS = {
    "frame": 7,
    "input": 3,
    "openedUs": 1_000_000,
    "stages": [["open", 200], ["pieces", 9000], ["compose", 100], ["encode", 2700]],
    "pieces": [
        {"region": [0, 0, 64, 64], "maker": "anna/vulkan0", "queueUs": 500, "runUs": 4000},
        {"region": [64, 0, 64, 64], "maker": "anna/vulkan1", "queueUs": 0, "runUs": 6000},
        {"region": [0, 64, 64, 64], "maker": None, "queueUs": 0, "runUs": 0},
    ],
    "filled": 1,
    "rung": 0,
}


def spans(text: str) -> dict[str, tuple[float, float]]:
    """By name: from, until, microseconds. Each begins once, and ends after it began."""
    ends = defaultdict(list)
    for event in json.loads(text)["traceEvents"]:
        if event["ph"] in "be":
            ends[event["name"], event["id"]].append((event["ph"], event["ts"]))
    assert all([ph for ph, _ in pair] == ["b", "e"] for pair in ends.values())
    return {name: (pair[0][1], pair[1][1]) for (name, _), pair in ends.items()}


async def test_a_frame_is_drawn_with_its_stages_pieces_and_way(run_js):
    body = """
        const kept = new trace.Trace();
        kept.came(given[0], 50);
        kept.shown(7, 62.5);
        return kept.json(2);"""
    text = await run_js("trace", body, FACTS)
    drawn = spans(text)
    assert drawn["frame 7"] == (1_000_000, 1_012_000)
    assert drawn["pieces"] == (1_000_200, 1_009_200)
    assert drawn["encode"] == (1_009_300, 1_012_000)
    assert drawn["run 7"] in {(1_000_700, 1_004_700), (1_000_200, 1_006_200)}
    assert drawn["facts 7"] == (1_012_000, 1_014_000)  # the fastest took as long as the network
    assert drawn["picture 7"] == (1_012_000, 1_026_500)
    names = [e["args"]["name"] for e in json.loads(text)["traceEvents"] if e["ph"] == "M"]
    assert names == ["gateway", "page", "anna", "vulkan0", "vulkan1"]


async def test_ten_seconds_are_kept(run_js):
    body = """
        const kept = new trace.Trace();
        for (let n = 0; n < 30; n++) kept.came({ ...given[0], frame: n }, n * 1000);
        const frames = kept.frames.map(({ facts }) => facts.frame);
        kept.forget();
        return [frames, JSON.parse(kept.json(0)).traceEvents.length];"""
    assert await run_js("trace", body, FACTS) == [list(range(19, 30)), 2]


async def test_a_session_is_saved_with_every_frame_in_order(open_page):
    page = await open_page()
    await page.until("framemesh.look().counts.matched > 60")
    drawn = spans(await page.evaluate("framemesh.trace()"))
    frames = sorted(name for name in drawn if name.startswith("picture "))
    assert len(frames) > 30
    for name in frames:
        number = name.removeprefix("picture ")
        opened_us, sent_us = drawn[f"frame {number}"]
        left_us, shown_us = drawn[name]
        assert opened_us < sent_us == left_us < shown_us
    assert page.errors == []


async def test_the_button_saves_it(open_page, tmp_path):
    page = await open_page()
    await page.until("framemesh.look().counts.matched > 30")
    await page.evaluate("""(() => {
      globalThis.saved = null;
      HTMLAnchorElement.prototype.click = function () { saved = [this.download, this.href]; };
      document.querySelector("#trace").click();
    })()""")
    name, address = await page.evaluate("saved")
    assert name == "framemesh-trace.json"
    assert address.startswith("blob:")
