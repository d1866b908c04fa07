import asyncio
import json
import random
import threading
import time

import numpy as np
import pytest
from aiortc import rtp

from mesh.core.errors import ContentRefused, Misuse, NotAuthorized, SessionRefused
from mesh.core.workload import PictureFormat
from mesh.stream.inputs import MAX_OFFENCES
from mesh.stream.parts import MAX_RESULT, Joiner
from mesh.stream.session import MAX_VIEWERS, ResultCounts, SendReport, StreamOptions


def sender_ssrc(viewer) -> int:
    """The stream's RTP source, as the answer names it."""
    sdp = viewer.connection.remoteDescription.sdp
    return int(sdp.split("a=ssrc:")[1].split()[0])


def draw_noise(view, n) -> None:
    """A picture that takes all the bits it is given."""
    pixels = np.frombuffer(view, np.uint8)
    pixels[:] = np.random.default_rng(n % 8).integers(112, 144, len(pixels), dtype=np.uint8)


async def send_rtcp(viewer, packet) -> None:
    [receiver] = viewer.connection.getReceivers()
    await receiver.transport._send_rtp(bytes(packet))


async def send_until(harness, condition) -> None:
    """Feed frames until `condition(report)` holds for one."""
    while True:
        report = await harness.send_frame()
        if report is not None and condition(report):
            return
        await asyncio.sleep(1 / 30)


# --- pictures -------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_a_viewer_sees_the_frames_that_were_sent_in_order(streams, viewers, codec):
    harness = streams(options=StreamOptions(codec=codec, barcode=True))
    viewer = await harness.connect(viewers())
    async with harness.running():
        seen = [await viewer.next_picture_id() for _ in range(20)]
    assert None not in seen
    assert seen == sorted(set(seen))
    assert seen[-1] < harness.frame_id


async def test_without_a_viewer_nothing_is_encoded_but_the_canvas_becomes_the_previous(streams):
    harness = streams()
    assert not harness.stream.watched
    assert await harness.send_frame() == SendReport()
    assert len(harness.stream.previous) > 0


async def test_h264_is_preferred_and_the_viewers_own_codec_is_found(streams, viewers):
    for codec in (None, "h264", "vp8"):
        harness = streams()
        viewer = await harness.connect(viewers(codec=codec))
        answered = viewer.connection.remoteDescription.sdp
        assert ("H264/90000" in answered) == (codec != "vp8")
        assert ("VP8/90000" in answered) == (codec == "vp8")


async def test_a_second_viewer_joins_and_starts_with_a_whole_picture(streams, viewers):
    harness = streams(options=StreamOptions(barcode=True))
    first = await harness.connect(viewers())
    async with harness.running():
        before = await first.next_picture_id()
        second = await harness.connect(viewers())
        joined = await second.next_picture_id()
        assert joined > before
        after = [await first.next_picture_id() for _ in range(5)]
        assert after == sorted(set(after))


async def test_a_later_viewer_without_the_sessions_codec_is_refused(streams, viewers):
    harness = streams(options=StreamOptions(codec="h264"))
    await harness.connect(viewers())
    with pytest.raises(SessionRefused, match="h264"):
        await harness.connect(viewers(codec="vp8"))


async def test_picture_loss_brings_one_keyframe(streams, viewers):
    harness = streams()
    viewer = await harness.connect(viewers())
    await send_until(harness, lambda report: report.keyframe)
    await send_until(harness, lambda report: report.bytes and not report.keyframe)
    pli = rtp.RtcpPsfbPacket(fmt=rtp.RTCP_PSFB_PLI, ssrc=1, media_ssrc=sender_ssrc(viewer))
    await send_rtcp(viewer, pli)
    await send_rtcp(viewer, pli)
    await send_until(harness, lambda report: report.keyframe)
    after = [await harness.send_frame() for _ in range(20)]
    assert not any(report.keyframe for report in after)


async def test_a_viewers_estimate_lowers_the_bitrate_without_a_keyframe(streams, viewers):
    harness = streams(draw=draw_noise, options=StreamOptions(bitrate=6_000_000))
    viewer = await harness.connect(viewers())
    await send_until(harness, lambda report: report.keyframe)
    rich = [await harness.send_frame() for _ in range(40)]
    remb = rtp.RtcpPsfbPacket(
        fmt=rtp.RTCP_PSFB_APP,
        ssrc=1,
        media_ssrc=0,
        fci=rtp.pack_remb_fci(400_000, [sender_ssrc(viewer)]),
    )
    await send_rtcp(viewer, remb)
    await send_until(harness, lambda report: report.bytes < min(r.bytes for r in rich))
    poor = [await harness.send_frame() for _ in range(40)]
    assert not any(report.keyframe for report in poor)
    assert sum(r.bytes for r in poor[20:]) < 0.5 * sum(r.bytes for r in rich[20:])


async def test_canvases_run_out_while_the_encoder_is_busy_and_come_back(streams, viewers):
    harness = streams()
    await harness.connect(viewers())
    await send_until(harness, lambda report: report.bytes)
    release = threading.Event()
    harness.stream._thread.submit(release.wait)
    sends = []
    while (canvas := harness.stream.lease_canvas()) is not None:
        now_us = time.monotonic_ns() // 1000
        sends.append(harness.stream.send(canvas, len(sends), now_us))
        await asyncio.sleep(0)
        assert len(sends) < 10
    release.set()
    assert all(report.bytes for report in await asyncio.gather(*sends))
    assert harness.stream.lease_canvas() is not None


async def test_a_frame_is_left_out_while_the_path_of_every_viewer_is_congested(
    streams, viewers, monkeypatch
):
    harness = streams()
    for _ in range(2):
        await harness.connect(viewers())
    await send_until(harness, lambda _: all(peer.connected for peer in harness.stream._viewers))
    one, two = harness.stream._viewers
    congested = {one}
    monkeypatch.setattr(type(one), "congested", property(lambda peer: peer in congested))
    canvas = harness.stream.lease_canvas()
    assert canvas is not None
    harness.stream.release_canvas(canvas)
    congested.add(two)
    assert harness.stream.lease_canvas() is None


async def test_a_cancelled_send_still_reaches_the_viewer_and_frees_the_canvas(streams, viewers):
    harness = streams(options=StreamOptions(barcode=True))
    viewer = await harness.connect(viewers())
    await send_until(harness, lambda report: report.keyframe)
    release = threading.Event()
    harness.stream._thread.submit(release.wait)
    cut_off = harness.frame_id
    task = asyncio.create_task(harness.send_frame())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    release.set()
    harness.frame_id += 1
    async with harness.running():
        while (seen := await viewer.next_picture_id()) < cut_off:
            pass
    assert seen == cut_off


async def test_encoding_happens_off_the_event_loops_thread(streams, viewers):
    harness = streams()
    await harness.connect(viewers())
    await send_until(harness, lambda report: report.bytes)
    threads = []
    encode = harness.stream._encoder.encode

    def watched(*arguments):
        threads.append(threading.current_thread())
        return encode(*arguments)

    harness.stream._encoder.encode = watched
    await harness.send_frame()
    assert threads
    assert threading.main_thread() not in threads


# --- data channels --------------------------------------------------------------------------


async def test_frame_facts_reach_the_viewer_as_text_and_results_as_bytes(streams, viewers):
    harness = streams()
    viewer = await harness.connect(viewers())
    async with harness.running():
        facts = json.loads(await viewer.messages.get())
        assert facts["frame"] <= harness.frame_id
        assert harness.stream.publish_result(7, b"\x00result") == 1
        while isinstance(message := await viewer.messages.get(), str):
            pass
        assert Joiner().add(message) == (7, b"\x00result")


async def test_facts_over_the_bound_are_dropped_and_the_channel_lives(streams, viewers):
    harness = streams()
    viewer = await harness.connect(viewers())
    await viewer.input_open()
    harness.stream.publish("x" * 100_000)
    harness.stream.publish("small")
    assert await viewer.messages.get() == "small"


async def test_a_long_result_arrives_whole_and_its_facts_find_room_beside_it(streams, viewers):
    harness = streams(picture=None)
    viewer = await harness.connect(viewers(video=False))
    await viewer.input_open()
    long = random.Random(1).randbytes(150_000)
    assert harness.stream.publish_result(1, long) == 10
    harness.stream.publish("facts of 1")
    assert harness.stream.publish_result(2, b"one too many") == 1
    harness.stream.publish("facts of 2")
    joiner, whole, facts = Joiner(), None, []
    while len(facts) < 2:
        message = await viewer.messages.get()
        if isinstance(message, str):
            facts.append(message)
        else:
            whole = joiner.add(message) or whole
    assert whole == (1, long)
    assert facts == ["facts of 1", "facts of 2"]
    assert harness.stream.results == ResultCounts(sent=1, dropped=1)


async def test_a_result_that_no_channel_carries_is_counted_and_the_channel_lives(streams, viewers):
    harness = streams(picture=None)
    assert harness.stream.publish_result(1, bytes(MAX_RESULT + 1)) == 0
    assert harness.stream.results == ResultCounts()  # nobody looks on
    viewer = await harness.connect(viewers(video=False))
    await viewer.input_open()
    assert harness.stream.publish_result(1, bytes(MAX_RESULT + 1)) == 0
    assert harness.stream.publish_result(2, b"fits") == 1
    assert Joiner().add(await viewer.messages.get()) == (2, b"fits")
    assert harness.stream.results == ResultCounts(sent=1, too_long=1)


async def test_a_session_without_pictures_is_data_only(streams, viewers):
    harness = streams(picture=None)
    viewer = await harness.connect(viewers(video=False))
    await viewer.input_open()
    harness.stream.publish("{}")
    assert await viewer.messages.get() == "{}"
    with pytest.raises(Misuse):
        harness.stream.lease_canvas()


async def test_inputs_arrive_decoded_and_only_when_they_are_news(streams, viewers):
    harness = streams()
    viewer = await harness.connect(viewers())
    await viewer.input_open()
    viewer.input.send('{"id": 1, "camera": {"yaw": 0.25}}')
    assert await harness.inputs.get() == {"id": 1, "camera": {"yaw": 0.25}}
    viewer.input.send('{"id": 1, "late": true}')
    viewer.input.send('{"id": 2}')
    assert await harness.inputs.get() == {"id": 2}


async def test_a_little_nonsense_is_forgiven_and_a_lot_ends_the_session(streams, viewers):
    harness = streams()
    viewer = await harness.connect(viewers())
    await viewer.input_open()
    for _ in range(MAX_OFFENCES // 2):
        viewer.input.send("nonsense")
    viewer.input.send('{"id": 1}')
    assert await harness.inputs.get() == {"id": 1}
    assert not harness.closed.done()
    for _ in range(MAX_OFFENCES):
        viewer.input.send("nonsense")
    assert "JSON" in await harness.closed
    assert "JSON" in json.loads(await viewer.messages.get())["closed"]


async def test_what_the_workload_refuses_counts_as_nonsense(streams, viewers):
    def refuse(state):
        raise ContentRefused(what="input", why="the camera is inside out", fix="Turn it.")

    harness = streams()
    harness.stream._on_input = refuse
    viewer = await harness.connect(viewers())
    await viewer.input_open()
    for n in range(MAX_OFFENCES + 1):
        viewer.input.send(json.dumps({"id": n}))
    assert "inside out" in await harness.closed


async def test_opening_channels_of_its_own_ends_the_session(streams, viewers):
    harness = streams()
    viewer = await harness.connect(viewers())
    await viewer.input_open()
    for n in range(MAX_OFFENCES + 1):
        viewer.connection.createDataChannel(f"mine-{n}")
    assert "data channel" in await harness.closed


# --- coming and going -----------------------------------------------------------------------


async def test_a_viewer_that_leaves_ends_the_session(streams, viewers):
    harness = streams()
    viewer = await harness.connect(viewers())
    await viewer.input_open()
    await viewer.close()
    assert "left" in await harness.closed
    assert not harness.stream.watched


async def test_a_viewer_that_vanishes_is_noticed_by_its_silence(streams, viewers):
    harness = streams(silence_us=2_500_000)
    viewer = await harness.connect(viewers())
    async with harness.running():
        await viewer.next_picture_id()
        [receiver] = viewer.connection.getReceivers()
        for protocol in receiver.transport.transport._connection._protocols:
            protocol.transport.abort()
        assert "silent" in await harness.closed


async def test_a_viewer_that_never_connects_is_given_up(streams, viewers):
    harness = streams(connect_us=300_000)
    await harness.stream.answer(await viewers().offer())
    assert "never connected" in await harness.closed


async def test_one_viewer_leaving_does_not_disturb_the_other(streams, viewers):
    harness = streams(options=StreamOptions(barcode=True))
    first, second = [await harness.connect(viewers()) for _ in range(2)]
    async with harness.running():
        await second.next_picture_id()
        await first.close()
        seen = [await second.next_picture_id() for _ in range(10)]
    assert seen == sorted(set(seen))
    assert not harness.closed.done()


# --- looking on -----------------------------------------------------------------------------


async def join(harness, viewer):
    """Let a viewer look on; returns its id."""
    joined = await harness.stream.join(await viewer.offer())
    await viewer.accept(joined.answer_sdp)
    return joined.viewer_id


async def test_whoever_looks_on_sees_the_frames_and_leaves_the_others_alone(streams, viewers):
    harness = streams(options=StreamOptions(barcode=True))
    first, guest = await harness.connect(viewers()), viewers()
    async with harness.running():
        await first.next_picture_id()
        await join(harness, guest)
        assert await guest.next_picture_id() is not None
        await guest.close()
        seen = [await first.next_picture_id() for _ in range(10)]
        while harness.stream.viewers > 1:  # its leaving is noticed
            await first.next_picture_id()
    assert seen == sorted(set(seen))
    assert not harness.closed.done()


async def test_the_session_ends_with_who_holds_it_whoever_looks_on(streams, viewers):
    harness = streams()
    first, guest = await harness.connect(viewers()), viewers()
    await join(harness, guest)
    await guest.input_open()
    await first.close()
    assert "left" in await harness.closed
    assert "left" in json.loads(await guest.messages.get())["closed"]


async def test_a_session_that_no_viewer_holds_outlives_those_who_look_on(streams, viewers):
    harness = streams(picture=None)
    for _ in range(2):
        guest = viewers(video=False)
        await join(harness, guest)
        await guest.input_open()
        harness.stream.publish("{}")
        assert await guest.messages.get() == "{}"
        await guest.close()
    assert not harness.closed.done()


async def test_an_offer_with_video_is_answered_by_a_session_without_pictures(streams, viewers):
    harness = streams(picture=None)
    guest = viewers()
    await join(harness, guest)
    await guest.input_open()
    assert "a=inactive" in guest.connection.remoteDescription.sdp
    harness.stream.publish("{}")
    assert await guest.messages.get() == "{}"


async def test_whoever_looks_on_steers_nothing_and_is_sent_away_for_trying_on(streams, viewers):
    harness = streams()
    await harness.connect(viewers())
    guest = viewers()
    await join(harness, guest)
    await guest.input_open()
    for n in range(MAX_OFFENCES + 1):
        guest.input.send(json.dumps({"id": n}))
    assert "only looks on" in json.loads(await guest.messages.get())["closed"]
    assert harness.stream.viewers == 1
    assert harness.inputs.empty()
    assert not harness.closed.done()


async def test_a_viewer_is_sent_away_by_the_id_that_only_it_was_told(streams, viewers):
    harness = streams()
    await harness.connect(viewers())
    viewer_id = await join(harness, viewers())
    assert not harness.stream.leave("another")
    assert harness.stream.leave(viewer_id)
    assert not harness.stream.leave(viewer_id)
    assert harness.stream.viewers == 1


async def test_one_viewer_more_than_fit_is_refused(streams, viewers):
    harness = streams(picture=None)
    for _ in range(MAX_VIEWERS):
        await harness.stream.join(await viewers(video=False).offer())
    with pytest.raises(SessionRefused, match="8 viewers already"):
        await harness.stream.join(await viewers(video=False).offer())


async def test_a_viewer_is_replaced_by_who_has_its_token_and_only_once(streams, viewers):
    harness = streams(options=StreamOptions(resume=True))
    first, second, third = viewers(), viewers(), viewers()
    held = await harness.stream.hold(await first.offer())
    await first.accept(held.answer_sdp)
    with pytest.raises(NotAuthorized):
        await harness.stream.take_over(await second.offer(), "guessed")
    taken = await harness.stream.take_over(await second.offer(), held.resume)
    await second.accept(taken.answer_sdp)
    with pytest.raises(NotAuthorized):
        await harness.stream.take_over(await third.offer(), held.resume)
    assert taken.resume not in ("", held.resume)
    assert harness.stream.viewers == 1


async def test_an_offer_that_cannot_be_used_costs_no_token(streams, viewers):
    harness = streams(options=StreamOptions(resume=True))
    first, second = viewers(), viewers()
    held = await harness.stream.hold(await first.offer())
    with pytest.raises(SessionRefused):
        await harness.stream.take_over("nonsense", held.resume)
    await harness.stream.take_over(await second.offer(), held.resume)


async def test_a_stream_that_cannot_be_resumed_gives_no_token(streams, viewers):
    harness = streams()
    first, second = viewers(), viewers()
    held = await harness.stream.hold(await first.offer())
    assert held.resume == ""
    with pytest.raises(NotAuthorized):
        await harness.stream.take_over(await second.offer(), "")


async def test_after_close_nobody_is_admitted_and_the_viewer_knows(streams, viewers):
    harness = streams()
    viewer = await harness.connect(viewers())
    await viewer.input_open()
    gone = asyncio.Event()
    viewer.connection.on("connectionstatechange", gone.set)
    await harness.stream.close()
    await harness.stream.close()
    await gone.wait()
    assert viewer.connection.connectionState == "closed"
    assert not harness.closed.done()
    with pytest.raises(SessionRefused, match="ended"):
        await harness.stream.answer(await viewers().offer())
    assert await harness.send_frame() == SendReport()


# --- refusals -------------------------------------------------------------------------------


async def test_an_offer_without_video_is_refused_by_a_session_with_pictures(streams, viewers):
    with pytest.raises(SessionRefused, match="no video"):
        await streams().stream.answer(await viewers(video=False).offer())


@pytest.mark.parametrize("offer", ["", "nonsense", "v=0\r\nm=video 9 X 1\r\n"])
async def test_a_malformed_offer_is_refused_and_leaves_nothing_behind(streams, offer):
    harness = streams()
    with pytest.raises(SessionRefused):
        await harness.stream.answer(offer)
    assert not harness.stream._viewers


def test_the_streams_options_are_taken_and_the_rest_left():
    options, rest = StreamOptions.take(
        {"codec": "vp8", "barcode": 1, "bitrate": 500_000, "private": 1, "width": 640}
    )
    assert options == StreamOptions("vp8", True, 500_000, private=True)
    assert rest == {"width": 640}
    assert StreamOptions.take({}) == (StreamOptions(), {})


@pytest.mark.parametrize(
    "options",
    [{"codec": "av1"}, {"codec": 1}, {"barcode": 2}, {"barcode": "yes"}, {"bitrate": 1},
     {"bitrate": "fast"}, {"bitrate": 10**12}, {"private": 2}, {"private": "x"}, {"steady": 2}],
)  # fmt: skip
def test_stream_options_that_cannot_be_followed_are_refused(options):
    with pytest.raises(SessionRefused, match=next(iter(options))):
        StreamOptions.take(options)


async def test_a_picture_that_cannot_be_streamed_is_refused_at_once(streams):
    with pytest.raises(Misuse, match="even"):
        streams(picture=PictureFormat(641, 360))
    with pytest.raises(SessionRefused, match="384"):
        streams(picture=PictureFormat(320, 180), options=StreamOptions(barcode=True))
