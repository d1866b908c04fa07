"""Which picture the late warp shows, and from where, as pictures, facts and results come."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

# A view of 32 x 32 pixels, an orbit camera's. `told(frame)`: its result came. `picture(atMs)`: one
# was decoded. What is presented: which picture (by its grey, 10 times its number), and how.
BEGUN = """
    const frames = new Map();
    const canvas = document.createElement("canvas");
    const view = new warpview.WarpView(canvas, (frame) => frames.get(frame));
    const description = { width: 40, height: 40, overscan: [1.25, 1.25], result: "FMVR/1" };
    view.begin(description);
    if (!view.active) return null;
    let number = 0;
    const picture = (atMs) => {
      number += 1;
      const drawn = new OffscreenCanvas(40, 40);
      const context = drawn.getContext("2d");
      context.fillStyle = `rgb(${10 * number} 0 0)`;
      context.fillRect(0, 0, 40, 40);
      return view.take(drawn, atMs);
    };
    const told = (frame) => frames.set(frame, {
      block: 0, size: [40, 40], depth: [], matrices: [matrix.multiply(
        [0.8, 0, 0, 0, 0, 0.8, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], viewpoint.orbitView(pose, 1))],
    });
    const pose = { yaw: 0.2, pitch: 0, distance: 4, target: [0, 0, 0] };
    const shown = (atMs, yaw) => {
      const now = yaw === undefined ? null : [viewpoint.orbitView({ ...pose, yaw }, 1)];
      const presented = view.present(now, atMs);
      if (presented === null) return null;
      const pixel = new Uint8Array(4);
      view.gl.readPixels(16, 16, 1, 1, view.gl.RGBA, view.gl.UNSIGNED_BYTE, pixel);
      return [pixel[0] / 10, presented.frame, presented.warped];
    };
"""


@pytest.fixture
def seen(run_js):
    """What is presented, in the order in which the script pushes it to `all`."""

    async def run(script: str):
        body = f"{BEGUN} const all = []; {script} return all;"
        presented = await run_js("warpview viewpoint matrix", body)
        assert presented is not None, "this Chromium has no WebGL2"
        return presented

    return run


async def test_it_is_as_large_as_what_is_looked_at(seen):
    assert await seen("all.push(view.size);") == [{"width": 32, "height": 32}]


async def test_a_picture_is_warped_from_when_its_frame_and_its_views_are_known(seen):
    """Before any is known pictures are shown as they come: something rather than nothing."""
    script = """
        const first = picture(0);
        all.push(shown(1, 0.2));
        view.matched(first, 7, true, 2);
        all.push(shown(3, 0.2));
        told(7);
        view.arrived(7, 4);
        all.push(shown(5, 0.2), shown(6, 0.2), shown(7, 0.21));
        told(8);
        const second = picture(33);
        all.push(shown(34, 0.21), shown(35, 0.22));
        view.matched(second, 8, true, 36);
        all.push(shown(37, 0.22));"""
    assert await seen(script) == [
        [1, -1, False],
        None,
        [1, 7, True],
        None,  # nothing moved
        [1, 7, True],
        None,  # the second picture's frame is not known yet
        [1, 7, True],
        [2, 8, True],
    ]


async def test_where_nothing_says_any_more_what_pictures_show_they_are_shown_as_they_come(seen):
    script = """
        told(1);
        view.matched(picture(0), 1, true, 0);
        picture(33);
        all.push(shown(34, 0.2));
        for (let ms = 66; ms < 333; ms += 33) picture(ms);
        all.push(shown(332, 0.3), shown(334, 0.3));
        const again = picture(340);
        told(12);
        view.matched(again, 12, true, 341);
        all.push(shown(342, 0.3));"""
    assert await seen(script) == [[1, 1, True], [1, 1, True], [11, -1, False], [12, 12, True]]


async def test_a_stream_that_pauses_keeps_its_last_picture_warped(seen):
    script = """
        told(1);
        view.matched(picture(0), 1, true, 0);
        all.push(shown(60000, 0.2), shown(60001, 0.3));
        picture(60002);
        all.push(shown(60003, 0.4));"""
    assert await seen(script) == [[1, 1, True]] * 3


async def test_a_picture_with_pieces_missing_is_passed_over_while_a_whole_one_is_young(seen):
    script = """
        const come = (frame, whole, atMs) => {
          told(frame);
          view.matched(picture(atMs), frame, whole, atMs);
          all.push(shown(atMs + 1, 0.2 + frame / 100));
        };
        come(1, true, 0);
        come(2, false, 33);
        come(3, false, 270);
        come(4, false, 310);
        come(5, true, 343);"""
    presented = await seen(script)
    assert [frame for _, frame, _ in presented] == [1, 1, 1, 4, 5]


async def test_pictures_and_frames_that_come_late_never_bring_an_older_picture_back(seen):
    script = """
        const [first, second] = [picture(0), picture(33)];
        told(1);
        told(2);
        view.matched(second, 2, true, 40);
        view.matched(first, 1, true, 41);
        all.push(shown(42, 0.2));
        for (let ms = 66; ms < 366; ms += 33) picture(ms);
        view.matched(second + 1, 3, true, 370); // long overwritten
        told(3);
        view.arrived(3, 371);
        all.push(shown(372, 0.2) === null || "another");"""
    presented = await seen(script)
    assert presented[0] == [2, 2, True]


async def test_whoever_only_looks_on_sees_pictures_as_they_were_drawn(seen):
    script = """
        told(1);
        view.matched(picture(0), 1, true, 0);
        all.push(shown(1), shown(2));"""
    assert await seen(script) == [[1, 1, False], None]


async def test_another_connection_forgets_the_pictures_of_the_last(seen):
    script = """
        told(1);
        view.matched(picture(0), 1, true, 1);
        all.push(shown(2, 0.2));
        view.forget();
        view.begin(description);
        all.push(shown(3, 0.2));
        picture(4);
        all.push(shown(5, 0.2));"""
    assert await seen(script) == [[1, 1, True], None, [2, -1, False]]


async def test_sessions_that_say_nothing_of_their_views_are_left_alone(run_js):
    body = """
        const view = new warpview.WarpView(document.createElement("canvas"), () => undefined);
        view.begin({ width: 40, height: 40 });
        const plain = [view.active, view.canvas.hidden, view.take(null, 0), view.present(null, 0)];
        view.asked = false;
        view.begin({ width: 40, height: 40, result: "FMVR/1" });
        return [plain, view.active];"""
    assert await run_js("warpview", body) == [[False, True, -1, None], False]
