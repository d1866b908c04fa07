import pytest

from mesh.stream.session import StreamOptions


@pytest.mark.parametrize("codec", ["h264", "vp8"])
async def test_a_viewer_sees_the_frames_that_were_sent_in_order(streams, viewers, codec):
    harness = streams(options=StreamOptions(codec=codec, barcode=True))
    viewer = await harness.connect(viewers())
    async with harness.running():
        seen = [await viewer.next_picture_id() for _ in range(20)]
    assert None not in seen
    assert seen == sorted(set(seen))
    assert seen[-1] < harness.frame_id
