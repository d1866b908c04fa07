"""A session opened, watched and ended over HTTP by a stock viewer."""

import re

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mesh.http import FRAGMENT, create_app

OFFER = {"Content-Type": "application/sdp"}


@pytest.fixture
async def http(gateway):
    headers = {"Authorization": f"Bearer {gateway.TOKEN}"}
    async with TestClient(TestServer(create_app(gateway, None)), headers=headers) as client:
        yield client


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_one_post_opens_a_session_and_delete_ends_it(gateway, http, viewers, codec):
    viewer = viewers()
    url = f"/whep/synthetic?barcode=1&codec={codec}"
    answer = await http.post(url, data=await viewer.offer(), headers=OFFER)
    assert answer.status == 201
    assert answer.content_type == "application/sdp"
    await viewer.accept(await answer.text())
    seen = [await viewer.next_picture_id() for _ in range(5)]
    assert seen == sorted(set(seen))
    location = answer.headers["Location"]
    assert (await (await http.get(location)).json())["frame"] >= seen[-1]
    await viewer.input_open()
    assert (await http.delete(location)).status == 200
    assert not gateway.sessions


@pytest.mark.parametrize(
    "offer", ["", "nonsense", "v=0\r\n", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 0"]
)
async def test_a_malformed_offer_is_a_problem_and_the_gateway_goes_on(http, viewers, offer):
    refused = await http.post("/whep/synthetic", data=offer, headers=OFFER)
    assert refused.status == 400
    problem = await refused.json()
    assert problem["code"] == "session_refused"
    assert problem["what"] == "the SDP offer cannot be used"
    answer = await http.post("/whep/synthetic", data=await viewers().offer(), headers=OFFER)
    assert answer.status == 201


async def test_a_codec_that_the_viewer_lacks_is_a_problem(http, viewers):
    offer = await viewers(codec="vp8").offer()
    refused = await http.post("/whep/synthetic?codec=h264", data=offer, headers=OFFER)
    assert refused.status == 406
    assert "h264" in (await refused.json())["why"]


async def test_a_viewers_later_candidates_are_checked_too(gateway, http, viewers):
    viewer = viewers()
    offer = await viewer.offer()
    [ufrag] = set(re.findall(r"a=ice-ufrag:(.*)\r\n", offer))
    held_back = re.findall(r"a=(candidate:.* udp .*)\r\n", offer)
    bare = re.sub(r"a=(candidate:.*|end-of-candidates)\r\n", "", offer)
    answer = await http.post("/whep/synthetic", data=bare, headers=OFFER)
    assert answer.status == 201
    fragment = f"a=ice-ufrag:{ufrag}\r\nm=video 9 X 0\r\na=mid:0\r\n"
    fragment += "".join(f"a={line}\r\n" for line in held_back) + "a=end-of-candidates\r\n"
    headers = {"Content-Type": FRAGMENT, "If-Match": answer.headers["ETag"]}
    where = answer.headers["Location"]
    assert (await http.patch(where, data=fragment, headers=headers)).status == 204
    [stream] = [harness.stream for harness in gateway.sessions.values()]
    [peer] = stream._viewers
    [ice] = peer._connection._RTCPeerConnection__iceTransports
    assert {c.port for c in ice.getRemoteCandidates()} >= {int(c.split()[5]) for c in held_back}
    stale = headers | {"If-Match": '"another"'}
    assert (await http.patch(where, data=fragment, headers=stale)).status == 412
    restart = fragment.replace(ufrag, "Other")
    assert (await http.patch(where, data=restart, headers=headers)).status == 422
