"""The page's pure modules, run where they run: in the browser, beside our own Python."""

import dataclasses
import math

import numpy as np
import pytest

from mesh.stream import barcode
from render.camera import Orbit
from render.foveate import Axis, Fovea
from render.headpose import HeadPose, head_of
from render.viewresult import ViewResult, encode_result

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

POSES = [
    {"yaw": 0.0, "pitch": 0.0, "distance": 3.0, "target": [0.0, 0.0, 0.0]},
    {"yaw": 2.5, "pitch": -0.9, "distance": 0.4, "target": [1.0, -2.0, 3.0]},
    {"yaw": -1.1, "pitch": 1.5, "distance": 40.0, "target": [-7.0, 0.5, 0.0]},
]
REACH = {"nearest": 0.1, "farthest": 100, "low": [-50, -50, -50], "high": [50, 50, 50]}


def orbit_of(pose) -> Orbit:
    return Orbit(pose["yaw"], pose["pitch"], pose["distance"], tuple(pose["target"]))


def row_of(frame_id: int) -> list[int]:
    """The pixels of a barcode's middle row as a canvas gives them, RGBA."""
    picture = np.full((60, barcode.MIN_WIDTH), 90, np.uint8)
    barcode.stamp(picture, frame_id)
    grey = np.clip((picture[8].astype(int) - 16) * 255 / 219, 0, 255)
    return np.repeat(grey, 4).astype(int).tolist()


# --- barcode --------------------------------------------------------------------------------


@pytest.mark.parametrize("frame_id", [0, 1, 0x5A5A5, 2**20 - 1, 2**20 + 7])
async def test_barcodes_are_read_as_they_were_drawn(run_js, frame_id):
    read = await run_js("barcode", "return barcode.decodeRow(given[0])", row_of(frame_id))
    assert read == frame_id % 2**20


async def test_a_barcode_with_any_one_cell_wrong_is_no_barcode(run_js):
    body = """
        const [row] = given;
        return [...Array(barcode.CELLS).keys()].map((cell) => {
          const at = (cell * barcode.CELL + barcode.CELL / 2) * 4 + 1;
          const damaged = [...row];
          damaged[at] = 255 - damaged[at];
          return barcode.decodeRow(damaged);
        });"""
    assert await run_js("barcode", body, row_of(123_456)) == [None] * 24


# --- camera ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pose", POSES)
async def test_the_pages_camera_is_the_renderers(run_js, pose):
    body = "return [camera.eyeOf(given[0]), Object.values(camera.axesOf(given[0]))]"
    eye, axes = await run_js("camera", body, pose)
    assert eye == pytest.approx(orbit_of(pose).eye())
    view_from_world = orbit_of(pose).view_from_world()
    assert np.allclose(axes, view_from_world[:3, :3])  # right, up, back: its rows


@pytest.mark.parametrize("pose", POSES)
async def test_looking_around_leaves_the_eye_where_it_is(run_js, pose):
    looked = await run_js("camera", "return camera.look(given[0], 0.3, -0.2)", pose)
    assert looked["yaw"] != pose["yaw"]
    assert orbit_of(looked).eye() == pytest.approx(orbit_of(pose).eye())


@pytest.mark.parametrize("pose", POSES)
async def test_what_is_grasped_follows_the_pointer(run_js, pose):
    """Sliding by a tenth of the picture's height moves the old target by just that."""
    slid = await run_js("camera", "return camera.pan(given[0], 0.1, -0.2, given[1])", pose, REACH)
    clip = orbit_of(slid).clip_from_world(aspect=1.0) @ [*pose["target"], 1.0]
    heights = clip[:2] / clip[3] / 2  # y points down
    assert heights == pytest.approx([0.1, -0.2])


async def test_turning_over_the_top_stops_before_the_pole_and_yaw_stays_bounded(run_js):
    body = "return [camera.orbit(given[0], 100, 9), camera.orbit(given[0], 0, -9)]"
    above, below = await run_js("camera", body, POSES[0])
    assert above["pitch"] == -below["pitch"] == pytest.approx(math.radians(89))
    assert above["yaw"] == pytest.approx(math.remainder(100, 2 * math.pi))


async def test_nobody_leaves_the_reach_of_a_scene(run_js):
    body = """
        const [home, bounds] = given;
        const reach = camera.reachOf(home, bounds);
        let pose = home;
        for (let i = 0; i < 100; i++) pose = camera.move(pose, [0, 0, -1e3], reach);
        return [reach, pose.target, camera.dolly(pose, 1e9, reach).distance,
                camera.dolly(pose, 1e-9, reach).distance];"""
    bounds = {"low": [-1, 0, -1], "high": [1, 2, 1]}
    reach, target, far, near = await run_js("camera", body, POSES[1], bounds)
    assert all(
        low <= at <= high for low, at, high in zip(reach["low"], target, reach["high"], strict=True)
    )
    assert (near, far) == (reach["nearest"], reach["farthest"])
    assert reach["low"][0] <= -1 and reach["high"][2] >= POSES[1]["target"][2]


async def test_a_scene_without_bounds_or_size_still_has_a_reach(run_js):
    body = """
        const flat = { low: [1, 1, 1], high: [1, 1, 1] };
        return [camera.reachOf(given[0]), camera.reachOf(given[0], flat)];"""
    for reach in await run_js("camera", body, POSES[0]):
        assert 0 < reach["nearest"] <= POSES[0]["distance"] <= reach["farthest"]


# --- outbox ---------------------------------------------------------------------------------


async def test_a_state_is_said_once_and_again_under_the_same_id_until_it_is_answered(run_js):
    body = """
        const box = new outbox.Outbox();
        box.put(given[0]);
        const said = [];
        for (let ms = 0; ms < 200; ms++) {
          const text = box.next(ms);
          if (text) said.push([ms, JSON.parse(text)]);
        }
        const ms = box.answered(0, 230);
        return { said, ms, pending: box.pending, more: box.next(9999) };"""
    seen = await run_js("outbox", body, POSES[1])
    assert [ms for ms, _ in seen["said"]] == [0, 40, 120]
    assert all(message == {"id": 0, "camera": POSES[1]} for _, message in seen["said"])
    assert (seen["ms"], seen["pending"], seen["more"]) == (230, False, None)


async def test_a_fast_hand_is_told_the_newest_state_at_a_bounded_rate(run_js):
    body = """
        const box = new outbox.Outbox();
        const said = [];
        for (let ms = 0; ms < 1000; ms++) {
          box.put({ yaw: ms });
          const text = box.next(ms);
          if (text) said.push(JSON.parse(text));
        }
        return said;"""
    said = await run_js("outbox", body)
    assert [message["id"] for message in said] == list(range(len(said)))
    assert 100 <= len(said) <= 240  # what a gateway accepts in a second
    assert [message["camera"]["yaw"] for message in said] == [8 * i for i in range(len(said))]


async def test_a_lost_answer_is_measured_by_a_later_one(run_js):
    body = """
        const box = new outbox.Outbox();
        for (let i = 0; i < 3; i++) { box.put({ yaw: i }); box.next(i * 10); }
        return [box.answered(1, 50), box.answered(0, 60), box.answered(2, 70), box.pending];"""
    assert await run_js("outbox", body) == [40, None, 50, False]


# --- which facts belong to a picture --------------------------------------------------------

MATCH = """
    const [periodUs, jitterUs, lose, barcoded] = given;
    const matches = [];
    const shown = (facts, picture) => matches.push([facts.frame, picture.frame]);
    const book = new framebook.FrameBook(shown);
    let seed = 1;
    const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
    for (let frame = 0; frame < 200; frame++) {
      const openedUs = 5e12 + frame * periodUs + Math.floor(random() * jitterUs);
      const ms = openedUs / 1000;
      const rtp = (4294900000 + Math.floor((openedUs - 5e12) * 0.09)) % 2 ** 32;
      const picture = { frame, rtp, id: barcoded ? frame : null, atMs: ms + 12 };
      const tell = () => book.addFacts({ frame, openedUs }, ms + 10);
      const early = random() < 0.7;
      const lost = random() < lose;
      if (early && !lost) tell();
      if (random() >= lose) book.addPicture(picture);
      if (!early && !lost) tell();
    }
    return matches;"""


@pytest.mark.parametrize("barcoded", [True, False], ids=["by barcode", "by RTP timestamp"])
@pytest.mark.parametrize("lose", [0, 0.2], ids=["all arrive", "some are lost"])
@pytest.mark.parametrize("jitter_us", [0, 3000], ids=["clockwork", "jitter"])
async def test_a_picture_is_matched_with_its_own_facts(run_js, barcoded, lose, jitter_us):
    matches = await run_js("framebook", MATCH, 33_333, jitter_us, lose, barcoded)
    settled = matches[5:]
    assert all(facts == picture for facts, picture in settled)
    assert len(settled) >= 190 * (1 - lose) ** 2 * 0.85


# --- messages, addresses, retries -----------------------------------------------------------

FACTS = {
    "frame": 7, "input": -1, "opened_us": 12, "stages": {"open": 3}, "makers": ["a/b"],
    "pieces": [[0, 0, 16, 16, 0, 1, 2], [16, 0, 16, 16, -1, 0, 0]], "filled": 1, "rung": 2,
}  # fmt: skip


async def test_frame_facts_are_decoded(run_js):
    body = "return protocol.parseMessage(JSON.stringify(given[0])).facts"
    facts = await run_js("protocol", body, FACTS)
    assert [piece["maker"] for piece in facts["pieces"]] == ["a/b", None]
    assert facts["stages"] == [["open", 3]]
    assert [piece["region"] for piece in facts["pieces"]] == [[0, 0, 16, 16], [16, 0, 16, 16]]
    assert (facts["frame"], facts["openedUs"], facts["filled"], facts["rung"]) == (7, 12, 1, 2)
    assert (facts["resultBytes"], facts["resultParts"]) == (0, 0)


async def test_the_facts_of_a_sweep_are_decoded(run_js):
    body = "return protocol.parseMessage(JSON.stringify(given[0])).facts"
    pieces = [[-180, 12, 0, 40, 900], [12, 180, -1, 0, 0]]
    sweep = FACTS | {"pieces": pieces, "result_bytes": 30_000, "result_parts": 2}
    facts = await run_js("protocol", body, sweep)
    assert [(p["region"], p["maker"]) for p in facts["pieces"]] == [
        ([-180, 12], "a/b"),
        ([12, 180], None),
    ]
    assert (facts["resultBytes"], facts["resultParts"]) == (30_000, 2)


@pytest.mark.parametrize(
    "broken",
    [
        None, 3, "text", [], {},
        FACTS | {"frame": 1.5},
        FACTS | {"stages": None},
        FACTS | {"pieces": {}},
        FACTS | {"pieces": [[0, 0, 16, 16, 0, 1]]},
        FACTS | {"pieces": [[0, 0, 16, 16, 5, 1, 2]]},
        FACTS | {"pieces": [[0, 0, 16, "16", 0, 1, 2]]},
        FACTS | {"pieces": [[0, 0, 1, 1, -1, 0, 0]] * 4097},
        FACTS | {"pieces": [[-1, 0]]},
        FACTS | {"pieces": [[0] * 9 + [-1, 0, 0]]},
    ],
)  # fmt: skip
async def test_a_malformed_message_is_a_problem_and_nothing_else(run_js, broken):
    body = """
        try { return protocol.parseMessage(JSON.stringify(given[0])); }
        catch (error) { return error.problem.code; }"""
    assert await run_js("protocol", body, broken) == "protocol"


async def test_the_address_holds_the_pages_options_the_gateways_and_the_token(run_js):
    body = """
        const asked = whep.readAddress(given[0]);
        return { ...asked, options: asked.options.toString() };"""
    address = {"search": "?workload=x&scene=a&overlay=0&barcode=1", "hash": "#token=t.t"}
    assert await run_js("whep", body, address) == {
        "workload": "x",
        "session": "",
        "token": "t.t",
        "options": "scene=a&barcode=1",
        "barcode": True,
        "overlay": False,
        "warp": True,
        "relayed": False,
        "gateway": "",
    }
    plain = await run_js("whep", body, {"search": "", "hash": ""})
    assert (plain["workload"], plain["token"], plain["overlay"]) == ("render", "", True)
    joins = await run_js("whep", body, {"search": "?session=a-b", "hash": ""})
    assert (joins["session"], joins["options"]) == ("a-b", "")


async def test_ice_servers_are_taken_from_a_gateways_links(run_js):
    header = (
        '<stun:[2001:db8::1]:3478>; rel="ice-server", '
        '<turn:a.b:3478?transport=udp>; rel="ice-server"; username="9:viewer"; '
        'credential="a+/="; credential-type="password", '
        '<https://elsewhere>; rel="ice-server", <turn:c>; rel="next", <turn:d'
    )
    taken = [
        {"urls": "stun:[2001:db8::1]:3478"},
        {"urls": "turn:a.b:3478?transport=udp", "username": "9:viewer", "credential": "a+/="},
    ]
    assert await run_js("links", "return links.iceServers(given[0]);", header) == taken
    assert await run_js("links", "return links.iceServers(given[0]);", None) == []


async def test_pauses_grow_to_a_bound_and_never_undercut_what_the_gateway_asked(run_js):
    body = """
        const long = [1, 2, 3, 4, 5, 6, 7, 60].map((n) => session.pauseMs(n, 0, 1));
        return [long, session.pauseMs(3, 0, 0), session.pauseMs(1, 2000, 0.5)];"""
    longest, shortest, asked = await run_js("session", body)
    assert longest == [500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]
    assert (shortest, asked) == (1000, 2000)


async def test_only_what_may_pass_is_tried_again(run_js):
    body = """
        const may = (status, wasLive) => session.mayPass(
          new protocol.ProblemError({ code: "", what: "", why: "", fix: "" }, { status }), wasLive);
        const all = [0, 400, 401, 403, 404, 500, 503];
        return [all.map((s) => may(s, false)), all.map((s) => may(s, true))];"""
    first, later = await run_js("session protocol", body)
    assert first == [True, False, False, False, False, True, True]
    assert later == [True, True, False, False, True, True, True]


async def test_a_session_of_another_that_has_ended_is_not_asked_for_again(run_js):
    body = """
        const may = (code, status) => session.mayPass(
          new protocol.ProblemError({ code, what: "", why: "", fix: "" }, { status }), true, true);
        return [may("session_ended", 0), may("unknown_session", 404), may("link_lost", 0)];"""
    assert await run_js("session protocol", body) == [False, False, True]


# --- what the page keeps --------------------------------------------------------------------


async def test_repeated_and_backward_ids_are_counted_across_the_wrap(run_js):
    body = """
        const kept = new recorder.Recorder();
        given[0].forEach((id, ms) => kept.picture(id, ms, true));
        return [kept.counts, kept.take().pictures.length, kept.take().pictures.length];"""
    ids = [2**20 - 2, 2**20 - 1, 0, 1, 1, None, 3, 2, 4]
    counts, first, second = await run_js("recorder", body, ids)
    assert (counts["repeated"], counts["backwards"], counts["unreadable"]) == (1, 1, 1)
    assert (first, second) == (9, 0)


async def test_figures_speak_of_the_last_two_seconds(run_js):
    body = """
        const rolling = new figures.RollingFigures();
        const facts = (maker) => ({
          stages: [["open", 1000], ["pieces", 3000]],
          pieces: [{ maker, runUs: 4000 }, { maker: null, runUs: 0 }],
          rung: maker === "gone" ? 3 : 1,
        });
        for (let ms = 0; ms < 6000; ms += 20) {
          rolling.picture(ms);
          rolling.frame(facts(ms < 3000 ? "gone" : "here"), ms);
        }
        return rolling.read(6000);"""
    read = await run_js("figures", body)
    assert read["fps"] == pytest.approx(50)
    assert read["stages"] == [["open", pytest.approx(1)], ["pieces", pytest.approx(3)]]
    assert read["makers"] == [
        {"name": "gone", "share": 0, "runMs": 0},
        {"name": "here", "share": 0.5, "runMs": pytest.approx(4)},
    ]
    assert (read["filledShare"], read["rung"], read["roundTripMs"]) == (0.5, 1, None)


# --- headsets -------------------------------------------------------------------------------


@pytest.mark.parametrize("pose", POSES)
async def test_the_pages_head_is_the_renderers(run_js, pose):
    head = await run_js("stereo", "return stereo.headOf(given[0])", pose)
    wanted = head_of(orbit_of(pose))
    assert head["position"] == pytest.approx(wanted.position)
    assert head["orientation"] == pytest.approx(wanted.orientation)


FOVEA = Fovea(Axis.squeeze(480, 0.4, 2.5, 0.4), Axis.squeeze(360, 0.5, 2, 0.55))


async def test_squeezed_parts_go_where_the_renderer_took_them_from(run_js):
    views = [dataclasses.asdict(FOVEA)] * 2
    parts = await run_js("fovea", "return fovea.partsOf(given[0])", views)
    wanted = [
        [view * FOVEA.sent[0] + part.rect.x, *part.rect[1:]]
        for view in range(2)
        for part in FOVEA.parts()
    ]
    assert [part["from"] for part in parts] == wanted
    covered = np.zeros((360, 960), int)
    for x, y, width, height in (part["to"] for part in parts):
        covered[y : y + height, x : x + width] += 1
    assert (covered == 1).all()
    assert await run_js("fovea", "return fovea.fullSize(given[0])", views) == [960, 360]
    places = [0.0, 10.0, 64.0, 100.0, 300.0, float(FOVEA.sent[0])]
    body = "return given[1].map((at) => fovea.expand(given[0].x, at))"
    expanded = await run_js("fovea", body, views[0], places)
    assert expanded == pytest.approx(FOVEA.x.expand(np.array(places)))
    region = [FOVEA.sent[0] + 16, 0, 32, 16]
    x, y, width, height = await run_js("fovea", "return fovea.expanded(...given)", views, region)
    assert [x - 480, x + width - 480] == pytest.approx(FOVEA.x.expand(np.array([16.0, 48.0])))
    assert [y, y + height] == pytest.approx(FOVEA.y.expand(np.array([0.0, 16.0])))


VIEWS = ViewResult(
    HeadPose(2**32 - 1, (0.1, 1.7, -3.0), (0.0, 0.6, 0.0, 0.8), display_us=-(2**40)),
    True,
    (34, 20),
    [np.arange(16.0).reshape(4, 4), np.eye(4) / 3],
    8,
    [np.linspace(0, 1, 15).astype(np.float16).reshape(3, 5)] * 2,
)


async def test_a_frames_views_are_decoded(run_js):
    body = """
        const views = fmvr.decodeViews(new Uint8Array(given[0]));
        return {
          ...views, matrices: views.matrices.map((m) => [...m]),
          depth: views.depth.map((d) => [...d]),
        };"""
    read = await run_js("fmvr", body, list(encode_result(VIEWS)))
    assert read["pose"] == {
        "id": VIEWS.pose.id,
        "position": list(VIEWS.pose.position),
        "orientation": list(VIEWS.pose.orientation),
        "displayUs": VIEWS.pose.display_us,
    }
    assert (read["posed"], read["size"], read["block"]) == (True, [34, 20], 8)
    assert read["matrices"] == [view.ravel().tolist() for view in VIEWS.views]
    assert read["depth"] == [depth.view(np.uint16).ravel().tolist() for depth in VIEWS.depth]


async def test_what_are_no_views_is_a_problem_and_nothing_else(run_js):
    good = list(encode_result(VIEWS))
    broken = [
        [],
        good[:79],
        good[:-1],
        [*good, 0],
        [0, *good[1:]],
        [*good[:4], 2, *good[5:]],
        [*good[:5], 3, *good[6:]],
        [*good[:6], 5, *good[7:]],
    ]
    body = """return given[0].map((bytes) => {
      try { fmvr.decodeViews(new Uint8Array(bytes)); return ""; }
      catch (error) { return error.problem.code; }
    })"""
    assert await run_js("fmvr", body, broken) == ["protocol"] * len(broken)


async def test_a_pose_is_answered_by_the_first_picture_that_was_drawn_from_it(run_js):
    body = """
        const view = new stereo.StereoView(document.createElement("canvas"));
        view.begin({ eyes: [], result: "FMVR/1" });
        const [pose, early, late] = given;
        const said = [3, 4].map((id) => view.word(stereo.headOf(pose), id).pose);
        const sentMs = view.sent.get(4).sentMs;
        view.result({ frame: 10, bytes: new Uint8Array(early) }); // of a pose that was not sent
        view.shown(10, sentMs + 5);
        const before = view.echo;
        view.result({ frame: 11, bytes: new Uint8Array(late) });
        view.result({ frame: 12, bytes: new Uint8Array(late) });
        view.shown(11, sentMs + 70);
        view.shown(12, sentMs + 900);
        view.shown(13, sentMs + 950); // its result was lost
        const { frame, ms, asked, answered } = view.echo;
        return { said, before, frame, ms, asked, id: answered.id };"""
    results = [
        encode_result(ViewResult(HeadPose(n, (0, 0, 0), (0, 0, 0, 1)), True, (2, 2), [np.eye(4)]))
        for n in (77, 4)
    ]
    seen = await run_js("stereo", body, POSES[1], *map(list, results))
    assert [pose["id"] for pose in seen["said"]] == [3, 4]
    assert seen["before"] is None
    assert (seen["frame"], seen["ms"], seen["id"]) == (11, pytest.approx(70), 4)
    assert seen["asked"]["position"] == seen["said"][1]["position"]
