"""The viewer page in a real Chromium, on a real stream of invented pictures."""

import itertools
from urllib.parse import urlsplit

import pytest

from mesh.core.errors import DeviceUnavailable, SessionRefused

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LIVE = "framemesh.look().state === 'live'"


def shown(count: int) -> str:
    return f"framemesh.look().counts.pictures >= {count}"


async def visible_text(page, name: str) -> str:
    """An element's text, "" if it is not shown."""
    return await page.evaluate(
        f"(e => e.checkVisibility() ? e.innerText : '')(document.getElementById('{name}'))"
    )


# --- showing --------------------------------------------------------------------------------


async def test_every_frame_is_shown_once_in_order_and_nothing_is_complained_of(open_page):
    page = await open_page()
    await page.until(shown(60))
    look = await page.evaluate("framemesh.look()")
    record = await page.evaluate("framemesh.take()")
    ids = [number for _, number in record["pictures"]]
    assert look["direct"]
    assert ids == sorted(set(ids))
    assert look["counts"]["unreadable"] == look["counts"]["oddities"] == 0
    assert {frame for _, frame, *_ in record["facts"]} >= set(ids[:-1])
    assert look["counts"]["matched"] >= len(ids) - 1
    assert [look["picture"]["width"], look["picture"]["height"]] == [640, 360]
    assert await visible_text(page, "title") == "Panorama"
    assert await visible_text(page, "status") == "Live"
    assert page.errors == []


async def test_pictures_without_a_barcode_are_matched_by_their_rtp_timestamps(open_page):
    page = await open_page("")
    await page.until("framemesh.look().counts.matched >= 30")
    counts = await page.evaluate("framemesh.look().counts")
    assert counts["matched"] >= 0.6 * counts["pictures"]
    assert all(
        number is None for _, number in (await page.evaluate("framemesh.take()"))["pictures"]
    )


async def test_a_browser_that_shows_video_only_by_its_element_is_served_too(open_page):
    page = await open_page(prepared="delete globalThis.MediaStreamTrackProcessor")
    await page.until(shown(30))
    look = await page.evaluate("framemesh.look()")
    ids = [number for _, number in (await page.evaluate("framemesh.take()"))["pictures"]]
    assert not look["direct"]
    assert len(set(ids) - {None}) >= 20
    assert look["counts"]["backwards"] == 0
    assert page.errors == []


async def test_the_panel_names_the_makers_and_the_stages(open_page):
    page = await open_page()
    await page.until("document.querySelectorAll('#makers li').length === 2")
    await page.until("document.querySelectorAll('#stages li').length >= 6")
    assert "anna@k3j2/vulkan0" in await visible_text(page, "makers")
    stages = (await visible_text(page, "stages")).split()
    assert [name for name in stages if name.isalpha() and name != "ms"][:5] == [
        "open", "pieces", "compose", "encode", "send",
    ]  # fmt: skip
    assert (await visible_text(page, "fps")).endswith("fps")
    await page.key("keyDown", "t", "KeyT")
    await page.key("keyUp", "t", "KeyT")
    assert await visible_text(page, "panel") == ""


RED_SHARE = """
    (() => {
      const canvas = document.getElementById("tiles");
      const { width, height } = canvas;
      const half = canvas.getContext("2d").getImageData(SIDE * width / 2, 0, width / 2, height);
      let red = 0;
      for (let at = 0; at < half.data.length; at += 4) {
        const [r, g, b, a] = half.data.slice(at, at + 4);
        if (a > 128 && r > 200 && g < 130 && b < 130) red += 1;
      }
      return red / (half.data.length / 4);
    })()"""


async def test_filled_pieces_are_marked_where_they_are(open_page, gateway):
    page = await open_page()
    await page.until(shown(5))
    gateway.makers = []
    await page.until(RED_SHARE.replace("SIDE", "0") + " > 0.05")
    gateway.makers = ["anna@k3j2/vulkan0", "bert@p9x1/vulkan0"]
    await page.until(RED_SHARE.replace("SIDE", "1") + " === 0")
    record = await page.evaluate("framemesh.take()")
    filled = [number for _, _, _, number, _ in record["facts"]]
    assert set(filled) == {0, 4}
    made = [by_maker for *_, by_maker in record["facts"]]
    assert made[0] == {"anna@k3j2/vulkan0": 2, "bert@p9x1/vulkan0": 2}


async def test_nothing_inline_may_run_on_the_page(open_page):
    page = await open_page()
    await page.until("framemesh.look().counts.matched > 5")
    assert page.errors == []
    await page.evaluate("""(() => {
      const script = document.createElement("script");
      script.textContent = "globalThis.ran = true";
      document.body.append(script);
    })()""")
    assert await page.evaluate("globalThis.ran === undefined")
    assert any("Content Security Policy" in error for error in page.errors)


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_either_codec_is_shown_in_order_and_named(open_page, codec):
    page = await open_page(f"barcode=1&codec={codec}")
    await page.until("framemesh.look().counts.matched >= 30")
    ids = [number for _, number in (await page.evaluate("framemesh.take()"))["pictures"]]
    assert None not in ids
    assert ids == sorted(set(ids))
    await page.until(f"document.getElementById('codec').innerText.toLowerCase() === '{codec}'")
    assert page.errors == []


# --- input ----------------------------------------------------------------------------------


async def inputs_after(gateway, act) -> list[dict]:
    """Act, and see what it said: at least one input."""
    [session] = gateway.sessions
    before = len(session.inputs)
    await act
    await session.inputs_until(lambda inputs: len(inputs) > before)
    return session.inputs[before:]


async def test_dragging_orbits_and_the_picture_answers(open_page, gateway):
    page = await open_page()
    await page.until(shown(5))
    path = [(300 + 10 * step, 300 + 3 * step) for step in range(12)]
    inputs = await inputs_after(gateway, page.drag(path))
    await page.until("framemesh.look().pose.pitch !== framemesh.look().description.camera.pitch")
    cameras = [given["camera"] for given in inputs]
    assert all(b["yaw"] < a["yaw"] for a, b in itertools.pairwise(cameras))
    assert cameras[-1]["pitch"] > 0.25
    assert cameras[-1]["target"] == [0.0, 1.0, 0.0]
    await page.until("framemesh.take().roundTrips.length > 0")


LATE_CHANNEL = """
    const open = RTCPeerConnection.prototype.createDataChannel;
    RTCPeerConnection.prototype.createDataChannel = function (label, options) {
      const channel = open.call(this, label, options);
      if (label === "input") {
        const get = () => globalThis.late ?? "connecting";
        Object.defineProperty(channel, "readyState", { get });
      }
      return channel;
    };"""


async def test_what_is_done_before_the_input_channel_opens_is_said_when_it_does(open_page, gateway):
    page = await open_page(prepared=LATE_CHANNEL)
    await page.until(shown(5))
    await page.wheel((400, 300), -200)
    await page.until("framemesh.look().pose.distance < 6")
    await page.until(shown(60))  # longer than anything is said again
    [session] = gateway.sessions
    assert session.inputs == []
    await inputs_after(gateway, page.evaluate("globalThis.late = 'open'"))
    pose = await page.evaluate("framemesh.look().pose")
    assert session.inputs[-1] == {"id": 0, "camera": pose}


async def test_the_wheel_goes_nearer_and_farther(open_page, gateway):
    page = await open_page()
    await page.until(shown(5))
    nearer = await inputs_after(gateway, page.wheel((400, 300), -200))
    assert nearer[-1]["camera"]["distance"] < 6
    farther = await inputs_after(gateway, page.wheel((400, 300), 900))
    assert farther[-1]["camera"]["distance"] > 6


async def test_held_keys_fly_until_they_are_let_go_and_r_returns(open_page, gateway):
    page = await open_page()
    await page.until(shown(5))
    await page.key("keyDown", "w", "KeyW")
    await page.until("framemesh.look().pose.target[2] < -0.5")  # yaw 0.4: forwards is mostly -z
    await page.key("keyUp", "w", "KeyW")
    there = await page.evaluate("framemesh.look().pose")
    await page.evaluate("new Promise((d) => requestAnimationFrame(() => requestAnimationFrame(d)))")
    assert await page.evaluate("framemesh.look().pose") == there
    await page.key("keyDown", "r", "KeyR")
    await page.until("framemesh.look().pose.target[2] === 0")
    [session] = gateway.sessions
    await session.inputs_until(lambda said: said[-1]["camera"]["target"] == [0.0, 1.0, 0.0])


async def test_two_fingers_pinch(open_page, gateway):
    page = await open_page()
    await page.until(shown(5))

    async def touch(kind: str, *points: tuple[int, int]) -> None:
        given = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        await page.call("Input.dispatchTouchEvent", type=kind, touchPoints=given)

    await page.call("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    await touch("touchStart", (400, 300))
    await touch("touchStart", (400, 300), (500, 300))
    await touch("touchMove", (300, 300), (600, 300))
    await touch("touchEnd")
    await page.until("framemesh.look().pose.distance < 3")


async def test_a_drag_on_a_turning_view_goes_on_from_what_is_shown(open_page, gateway):
    gateway.turntable = 0.5  # radians per second
    page = await open_page()
    await page.until("framemesh.look().pose.yaw > framemesh.look().description?.camera.yaw + 0.2")
    turned = (await page.evaluate("framemesh.look()"))["pose"]
    await page.drag([(400, 300), (400, 330)])
    taken = (await page.evaluate("framemesh.look()"))["pose"]
    assert taken["yaw"] > turned["yaw"] - 1e-6  # what is said of it is rounded
    assert taken["pitch"] > turned["pitch"]
    shown = (await page.evaluate("framemesh.look()"))["counts"]["pictures"]
    await page.until(f"framemesh.look().counts.pictures > {shown + 5}")
    assert (await page.evaluate("framemesh.look()"))["pose"] == taken


async def test_the_last_state_is_said_again_while_nothing_answers_it(open_page, gateway):
    page = await open_page(
        prepared="""
          globalThis.said = [];
          const { send } = RTCDataChannel.prototype;
          RTCDataChannel.prototype.send = function (text) {
            said.push(text);
            return send.call(this, text);
          };"""
    )
    await page.until("framemesh.look().counts.matched > 5")
    gateway.silent = True
    await page.drag([(400, 300), (300, 300)])
    await page.until("said.filter((text) => text === said.at(-1)).length === 5")
    [last] = [await page.evaluate("JSON.parse(said.at(-1))")]
    assert last["camera"]["yaw"] == (await page.evaluate("framemesh.look()"))["pose"]["yaw"]
    gateway.silent = False
    await page.until(f"framemesh.take().facts.some(([, , input]) => input === {last['id']})")
    assert gateway.sessions[0].inputs[-1] == last


# --- looking on -----------------------------------------------------------------------------


async def test_a_running_session_is_joined_by_its_id_and_left_as_it_was(open_page, gateway):
    owner = await open_page()
    await owner.until(shown(5))
    guest = await open_page("session=s0&barcode=1")
    await guest.until(shown(30))
    look = await guest.evaluate("framemesh.look()")
    ids = [number for _, number in (await guest.evaluate("framemesh.take()"))["pictures"]]
    assert ids == sorted(set(ids))
    assert (look["view"], look["counts"]["matched"] > 5) == ("picture", True)
    assert await visible_text(guest, "title") == "Panorama"
    assert await visible_text(guest, "help") == await visible_text(guest, "reset") == ""
    await guest.drag([(300, 300), (500, 330)])
    await guest.key("keyDown", "w", "KeyW")
    await guest.key("keyUp", "w", "KeyW")
    assert (await guest.evaluate("framemesh.look()"))["pose"] == look["pose"]
    await guest.goto("about:blank")
    await gateway.left.get()
    before = (await owner.evaluate("framemesh.look()"))["counts"]["pictures"]
    await owner.until(shown(before + 10))
    [session] = gateway.sessions
    assert session.inputs == []
    assert session.stream.viewers == 1
    assert guest.errors == owner.errors == []


async def test_a_joined_session_that_ends_is_not_waited_for(open_page, gateway):
    owner = await open_page()
    await owner.until(shown(5))
    guest = await open_page("session=s0&barcode=1")
    await guest.until(shown(5))
    await owner.goto("about:blank")
    await guest.until("framemesh.look().state === 'refused'")
    told = await visible_text(guest, "problem")
    assert "the session has ended" in told.lower()
    assert "Join another one." in told
    assert await guest.evaluate("framemesh.look().counts.connections") == 1


async def test_a_session_that_never_was_is_said_to_be_none(open_page, gateway):
    page = await open_page("session=nowhere")
    await page.until("framemesh.look().state === 'refused'")
    assert "no such session" in (await visible_text(page, "problem")).lower()


# --- when things go wrong -------------------------------------------------------------------


async def test_a_refused_token_is_explained_and_not_tried_again(open_page, gateway):
    page = await open_page(token="somebody-else's")
    await page.until("framemesh.look().state === 'refused'")
    told = await visible_text(page, "problem")
    assert "token is refused" in told.lower()
    assert "signed by another realm" in told
    assert "from the gateway's owner" in told
    assert await page.evaluate("framemesh.look().counts.connections") == 1


async def test_a_page_without_a_token_says_so_and_opens_once_the_address_has_one(
    open_page, gateway
):
    page = await open_page(token="")
    await page.until("framemesh.look().state === 'refused'")
    assert "no token" in await visible_text(page, "problem")
    await page.evaluate("location.hash = '#token=let-me-in'")
    await page.until(LIVE)
    assert await visible_text(page, "problem") == ""
    assert page.errors == []


async def test_options_that_nobody_can_follow_are_explained(open_page, gateway):
    page = await open_page("barcode=7")
    await page.until("framemesh.look().state === 'refused'")
    assert "barcode=7" in await visible_text(page, "problem")


async def test_a_busy_gateway_is_asked_again_until_it_has_room(open_page, gateway):
    gateway.refusal = DeviceUnavailable(what="no worker", why="none is linked", fix="Start one.")
    page = await open_page()
    await page.until("framemesh.look().problem?.code === 'device_unavailable'")
    assert "no worker" in (await visible_text(page, "problem")).lower()
    gateway.refusal = None
    await page.evaluate("document.getElementById('again').click()")
    await page.until(LIVE)


async def test_a_session_that_the_gateway_ends_is_opened_again_at_the_same_view(open_page, gateway):
    page = await open_page()
    await page.until(shown(5))
    await inputs_after(gateway, page.wheel((400, 300), -200))
    [first] = gateway.sessions
    pose = await page.evaluate("framemesh.look().pose")
    await first.close()
    await page.until("framemesh.look().counts.connections === 2 && " + LIVE)
    _, second = gateway.sessions
    await second.inputs_until(bool)
    assert second.inputs[0]["camera"] == pose
    assert second.inputs[0]["id"] == 0


async def test_a_live_session_is_asked_for_again_even_where_a_first_would_be_refused(
    open_page, gateway
):
    """A gateway that restarts has no workers for a moment."""
    page = await open_page()
    await page.until(shown(5))
    gateway.refusal = SessionRefused(what="not opened", why="no worker is linked", fix="Wait.")
    await gateway.sessions[0].close()
    await page.until("framemesh.look().problem?.what === 'not opened'")
    assert await page.evaluate("framemesh.look().state") == "reconnecting"
    gateway.refusal = None
    await page.until(LIVE)


async def test_a_stream_that_falls_silent_is_said_to_be(open_page, gateway):
    page = await open_page()
    await page.until(shown(5))
    gateway.silent = True
    await page.until("document.getElementById('status').innerText.includes('No picture for')")
    gateway.silent = False
    await page.until("document.getElementById('status').innerText === 'Live'")
    assert await page.evaluate("framemesh.look().counts.connections") == 1


async def test_whoever_leaves_the_page_ends_the_session(open_page, gateway):
    page = await open_page()
    await page.until(shown(5))
    await page.goto("about:blank")
    assert await gateway.deleted.get() == 0
    await gateway.sessions[0].closed


async def test_a_gateway_that_is_gone_is_named_and_found_again_where_it_was(
    chromium, gateway, served_at
):
    async with served_at(gateway) as address:
        page = await chromium.open_page(f"{address}/?barcode=1#token=let-me-in")
        await page.until("globalThis.framemesh?.look().counts.matched > 5")
        await page.drag([(400, 300), (500, 300)])
        left_at = (await page.evaluate("framemesh.look()"))["pose"]
    problem = "framemesh.look().problem"
    await page.until(f"{problem}?.code === 'unreachable'")
    for part in ("what", "why", "fix"):
        shown = await page.evaluate(f"document.getElementById('problem-{part}').innerText")
        assert shown.lower() == (await page.evaluate(problem))[part].lower()
    async with served_at(gateway, urlsplit(address).port):
        await page.evaluate("document.getElementById('again').click()")
        await page.until("framemesh.look().state === 'live'")
        await page.until("framemesh.take().facts.some(([, , input]) => input >= 0)")
        assert gateway.sessions[-1].inputs[-1]["camera"]["yaw"] == left_at["yaw"]
        counts = await page.evaluate("framemesh.look().counts")
        assert counts["repeated"] == counts["backwards"] == 0
        await page.close()
