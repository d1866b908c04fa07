"""libx264 called directly: what it makes is decoded by FFmpeg."""

import av
import numpy as np
import pytest

from mesh.stream import x264
from mesh.stream.x264 import X264, Refused, available

WIDTH, HEIGHT = 320, 192


def opened(**options) -> X264:
    told = {"threads": "1", "keyint": "infinite", "scenecut": "0", **options}
    return X264(
        WIDTH, HEIGHT, preset="ultrafast", tune="zerolatency", profile="baseline", options=told
    )


def noise(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(90, 160, (HEIGHT * 3 // 2, WIDTH), dtype=np.uint8)


def test_pyavs_x264_is_laid_out_as_expected():
    assert available()


def test_another_layout_is_noticed(monkeypatch):
    monkeypatch.setattr(x264, "_I420", 3)
    assert not available()


def test_a_missing_library_is_noticed(monkeypatch):
    monkeypatch.setattr(x264.Path, "glob", lambda *_: [])
    monkeypatch.setattr(x264.ctypes.util, "find_library", lambda _: None)
    x264._library.cache_clear()
    assert not available()
    x264._library.cache_clear()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_each_quantiser_is_taken_from_the_finest_to_the_coarsest(threads):
    encoder = opened(threads=threads)
    sizes = [len(encoder.encode(noise(1), q, True).data) for q in range(1, 52, 5)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 10 * sizes[-1]


def test_only_the_first_and_those_asked_for_are_keyframes():
    encoder = opened()
    made = [encoder.encode(noise(n), 30, n == 5).keyframe for n in range(10)]
    assert [n for n, keyframe in enumerate(made) if keyframe] == [0, 5]


def test_what_is_decoded_is_what_went_in():
    encoder = opened(threads="2")
    decoder = av.CodecContext.create("h264", "r")
    shown = []
    for n in range(4):
        shown += decoder.decode(av.Packet(encoder.encode(noise(n), 4, False).data))
    shown += decoder.decode(None)
    assert len(shown) == 4
    for n, frame in enumerate(shown):
        assert np.abs(frame.to_ndarray().astype(int) - noise(n)).mean() < 2


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((10, 10), np.uint8), np.zeros((HEIGHT * 3 // 2, 2 * WIDTH), np.uint8)[:, ::2]],
)
def test_a_picture_of_another_shape_is_refused_and_not_read(wrong):
    with pytest.raises(Refused, match="shape"):
        opened().encode(wrong, 30, False)


def test_what_x264_does_not_know_is_refused():
    with pytest.raises(Refused, match="no-such-option"):
        opened(**{"no-such-option": "1"})


def test_a_closed_encoder_may_be_closed_again():
    encoder = opened()
    encoder.close()
    encoder.close()
