import av
import numpy as np
import pytest

from mesh.core.errors import DeviceUnavailable
from mesh.core.workload import PictureFormat
from mesh.stream.encoders import CLOCK_HZ, ENCODERS, open_encoder

FORMAT = PictureFormat(320, 192)
FPS = 30
DECODERS = {"h264": "h264", "vp8": "libvpx"}


def noise(seed: int) -> np.ndarray:
    """A picture that takes all the bits it is given."""
    rng = np.random.default_rng(seed)
    return rng.integers(112, 144, (FORMAT.height * 3 // 2, FORMAT.width), dtype=np.uint8)


NOISE = [noise(seed) for seed in range(8)]


def encode(encoder, frames, force=()):
    return [
        encoder.encode(NOISE[n % 8], n * CLOCK_HZ // FPS, force_keyframe=n in force) for n in frames
    ]


def keyframes(encoded, start=0):
    return [start + n for n, picture in enumerate(encoded) if picture.keyframe]


@pytest.mark.parametrize("codec", ENCODERS)
def test_every_picture_leaves_the_encoder_at_once_and_decodes_to_what_went_in(codec):
    encoder = open_encoder(codec, FORMAT, FPS, 20_000_000)
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    rows = np.linspace(40, 200, FORMAT.height, dtype=np.uint8)[:, None]
    for n in range(5):
        picture = np.full((FORMAT.height * 3 // 2, FORMAT.width), 128, np.uint8)
        picture[: FORMAT.height] = rows + n
        encoded = encoder.encode(picture, n * 3000)
        assert encoded.packet.pts == n * 3000
        shown = list(decoder.decode(encoded.packet))
        assert len(shown) == 1 or codec == "h264"  # FFmpeg's own H.264 decoder may lag by one
        for frame in shown:
            plane = frame.planes[0]
            luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            shown_luma = luma[: FORMAT.height, : FORMAT.width].astype(int)
            assert np.abs(shown_luma - picture[: FORMAT.height]).mean() < 4


@pytest.mark.parametrize("height", [268, 270])
@pytest.mark.parametrize("codec", ENCODERS)
def test_every_row_and_colour_is_encoded_whatever_the_height(codec, height):
    size = PictureFormat(480, height)
    planes = np.empty((height * 3 // 2, 480), np.uint8)
    planes[:height] = np.linspace(40, 200, height, dtype=np.uint8)[:, None]
    chroma = planes[height:].reshape(2, height // 2, 240)
    chroma[0] = np.linspace(100, 150, height // 2, dtype=np.uint8)[:, None]
    chroma[1] = 170
    packet = open_encoder(codec, size, FPS, 20_000_000).encode(planes, 0).packet
    decoder = av.CodecContext.create(DECODERS[codec], "r")
    [shown] = [*decoder.decode(packet), *decoder.decode(None)]
    assert (shown.width, shown.height) == (480, height)
    assert np.abs(shown.to_ndarray().astype(int) - planes).max() < 12


@pytest.mark.parametrize("codec", ENCODERS)
def test_keyframes_come_first_and_when_asked_for_and_never_else(codec):
    encoder = open_encoder(codec, FORMAT, FPS, 4_000_000)
    assert keyframes(encode(encoder, range(90), force={40})) == [0, 40]


def test_h264_follows_the_bitrate_both_ways_without_a_keyframe():
    encoder = open_encoder("h264", FORMAT, FPS, 6_000_000)
    sizes = {}
    for start, bps in ((0, 6_000_000), (60, 1_500_000), (120, 6_000_000)):
        encoder.set_bitrate(bps)
        encoded = encode(encoder, range(start, start + 60))
        assert keyframes(encoded, start) == ([0] if start == 0 else [])
        sizes[start] = sum(picture.nbytes for picture in encoded[20:]) * 8 * FPS / 40
    assert sizes[60] < 0.5 * sizes[0]
    assert sizes[120] > 0.7 * sizes[0]


def test_vp8_moves_its_bitrate_with_one_keyframe_and_only_for_large_moves():
    encoder = open_encoder("vp8", FORMAT, FPS, 6_000_000)
    before = encode(encoder, range(30))
    encoder.set_bitrate(5_000_000)
    assert keyframes(encode(encoder, range(30, 40))) == []
    encoder.set_bitrate(1_500_000)
    after = encode(encoder, range(40, 90))
    assert keyframes(after) == [0]
    assert sum(p.nbytes for p in after[20:]) / 30 < 0.5 * sum(p.nbytes for p in before[10:]) / 20


def test_h264_is_constrained_baseline_so_that_every_browser_takes_it():
    first = encode(open_encoder("h264", FORMAT, FPS, 1_000_000), [0])[0]
    data = bytes(first.packet)
    sps = data.index(b"\0\0\1\x67") + 4  # nal_unit_type 7 (ITU-T H.264, 7.4.1)
    profile_idc, constraints = data[sps], data[sps + 1]
    assert profile_idc == 66
    assert constraints & 0x40  # constraint_set1_flag: the constrained subset


def test_the_picture_is_wrapped_and_not_copied():
    picture = NOISE[0].copy()
    frame = av.VideoFrame.from_numpy_buffer(picture, format="yuv420p")
    assert frame.planes[0].buffer_ptr == picture.ctypes.data


@pytest.mark.parametrize("size", [(16, 16), (426, 240), (642, 362), (1920, 1080)])
@pytest.mark.parametrize("codec", ENCODERS)
def test_sizes_that_are_no_multiple_of_anything_work(codec, size):
    width, height = size
    encoder = open_encoder(codec, PictureFormat(width, height), 59.94, 2_000_000)
    picture = np.full((height * 3 // 2, width), 128, np.uint8)
    assert encoder.encode(picture, 0).keyframe


def test_a_size_the_library_refuses_is_a_clear_error():
    with pytest.raises(DeviceUnavailable, match="0x0"):
        open_encoder("h264", PictureFormat(0, 0), FPS, 1_000_000)
