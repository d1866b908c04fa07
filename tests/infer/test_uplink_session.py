"""A session whose sweeps come packed, end to end: the results are those of the same points."""

from __future__ import annotations

import pytest

import framemesh
from infer.codec import decode_result
from infer.sweep import encode_sweep
from infer.uplink.packing import pack_sweep, unpack_sweep
from mesh.core.errors import ContentRefused, SessionRefused

PATIENT = {"rate_hz": 100, "deadline_ms": 10_000}


@pytest.mark.parametrize("road", ["link", "webrtc"])
async def test_packed_sweeps_give_what_the_same_points_give_unpacked(open_host, clip, same, road):
    packed = [pack_sweep(points) for points in clip[:3]]
    plain = [encode_sweep(unpack_sweep(0, data).points) for data in packed]

    async def results(url, sweeps, **options):
        async with framemesh.connect(url, "infer", results=road, **PATIENT, **options) as session:
            found = []
            for stamp_us, data in enumerate(sweeps):
                await session.send(data, stamp_us=stamp_us)
                found.append(decode_result((await anext(session.results)).data))
            return found, session.description["compress"]

    async with open_host(infer={"api": "cpu"}) as host:
        one, said = await results(host.url(), packed, compress="delta")
        other, said_of_other = await results(host.url(), plain)
    assert (said, said_of_other) == ("delta", "none")
    for mine, theirs in zip(one, other, strict=True):
        assert len(mine.boxes.yaws) > 20
        same(mine, theirs)


async def ask(session, data, stamp_us):
    """As `session.ask`, again while it is too early: refused inputs count against the rate too."""
    while True:
        try:
            return await session.ask(data, stamp_us=stamp_us)
        except SessionRefused as early:
            assert "faster than" in early.why


async def test_what_comes_otherwise_than_was_said_is_refused_and_the_session_goes_on(
    open_host, clip
):
    points = clip[0][::10]
    async with open_host(infer={"api": "cpu"}) as host:
        async with framemesh.connect(host.url(), "infer", compress="delta", **PATIENT) as session:
            with pytest.raises(ContentRefused, match="does not begin as a packed sweep"):
                await ask(session, encode_sweep(points), 1)
            with pytest.raises(ContentRefused, match="its streams"):
                await ask(session, pack_sweep(points)[:-1], 2)
            answer = await ask(session, pack_sweep(points), 3)
            assert decode_result(answer.data).counts.points == len(points)
        async with framemesh.connect(host.url(), "infer", **PATIENT) as session:
            with pytest.raises(ContentRefused, match="does not begin as a sweep"):
                await ask(session, pack_sweep(points), 1)
        with pytest.raises(SessionRefused, match="compress"):
            async with framemesh.connect(host.url(), "infer", compress="draco"):
                raise AssertionError
