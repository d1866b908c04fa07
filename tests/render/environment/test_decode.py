"""Environments out of files: what is read, and what is refused before memory is taken."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.core.errors import ContentRefused
from render.environment import decode_environment, pack_environment
from render.environment.limits import MAX_ENVIRONMENT_BYTES


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Shared exponents, uint8 (height, width, 4), with runs and noise."""
    rng = np.random.default_rng(seed)
    rgbe = rng.integers(1, 256, (height, width, 4), np.uint8)
    rgbe[..., 3] = rng.integers(120, 140, (height, 1), np.uint8)
    rgbe[:, : width // 2, :3] = rgbe[:, :1, :3]
    return rgbe


def header(width: int, height: int, *lines: str) -> bytes:
    text = ["#?RADIANCE", *lines, "FORMAT=32-bit_rle_rgbe", "", f"-Y {height} +X {width}", ""]
    return "\n".join(text).encode()


def run_lengths(rgbe: np.ndarray) -> bytes:
    """Each channel of each line: runs of equal bytes, and others as they are."""
    width = rgbe.shape[1]
    out = bytearray()
    for row in rgbe:
        out += bytes((2, 2, width >> 8, width & 255))
        for channel in row.T:
            at = 0
            while at < width:
                run = 1
                while run < 127 and at + run < width and channel[at + run] == channel[at]:
                    run += 1
                if run > 2:
                    out += bytes((128 + run, channel[at]))
                else:
                    run = min(2, width - at)
                    out += bytes((run,)) + channel[at : at + run].tobytes()
                at += run
    return bytes(out)


def radiance(rgbe: np.ndarray) -> np.ndarray:
    scale = np.exp2(rgbe[..., 3:].astype(float) - 136)
    return (rgbe[..., :3] + 0.5) * scale


def write_exr(path: Path, rgb: np.ndarray, **header: object) -> bytes:
    given = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage} | header
    with OpenEXR.File(given, {"RGB": rgb}) as file:
        file.write(str(path))
    return path.read_bytes()


@pytest.mark.parametrize("size", [(32, 16), (8, 3), (200, 5)])
def test_run_lengths_are_undone(size: tuple[int, int]) -> None:
    rgbe = picture(*size)
    pixels = decode_environment(header(*size) + run_lengths(rgbe))
    assert (pixels.dtype, pixels.shape) == (np.float16, (size[1], size[0], 4))
    np.testing.assert_allclose(pixels[..., :3], radiance(rgbe), rtol=1e-3)
    assert (pixels[..., 3] == 1).all()


def test_plain_lines_and_exposures_are_read() -> None:
    rgbe = picture(6, 4)
    head = header(6, 4, "EXPOSURE=2.0", "EXPOSURE=4")
    pixels = decode_environment(head + rgbe.tobytes())
    np.testing.assert_allclose(pixels[..., :3], radiance(rgbe) / 8, rtol=1e-3)


def test_black_is_black_and_what_is_too_bright_is_as_bright_as_it_can_be() -> None:
    rgbe = np.zeros((1, 2, 4), np.uint8)
    rgbe[0, 1] = (255, 255, 255, 255)
    pixels = decode_environment(header(2, 1) + rgbe.tobytes())
    np.testing.assert_array_equal(pixels[0, :, :3], [(0, 0, 0), (65504,) * 3])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_exr_pictures_are_read(tmp_path: Path, dtype: type) -> None:
    rgb = np.random.default_rng(1).random((9, 17, 3)).astype(dtype)
    rgb[0, 0] = (np.nan, 0.0, np.inf)
    pixels = decode_environment(write_exr(tmp_path / "a.exr", rgb))
    np.testing.assert_array_equal(pixels[0, 0], (0, 0, 65504, 1))
    np.testing.assert_allclose(pixels[1:, :, :3], rgb[1:], rtol=1e-3)


def test_what_compression_rings_below_zero_is_taken_from_its_surroundings(tmp_path: Path) -> None:
    """Lossy compression keeps the light of a block, not its sign: a lone sun has a dark rim."""
    rgb = np.random.default_rng(2).random((12, 20, 3)).astype(np.float32)
    rgb[3, 4], rgb[3, 5], rgb[4, 4] = 500.0, -80.0, -30.0
    rgb[10, 18] = -1000.0  # darker than its block is bright
    pixels = decode_environment(write_exr(tmp_path / "a.exr", rgb))[..., :3].astype(float)
    assert (pixels >= 0).all()
    np.testing.assert_allclose(pixels[:8, :8].sum((0, 1)), rgb[:8, :8].sum((0, 1)), rtol=1e-3)
    np.testing.assert_allclose(pixels[:8, 8:], rgb[:8, 8:], rtol=1e-3)
    assert (pixels[8:, 16:] == 0).all()


@pytest.mark.parametrize("name", ["park.exr", "studio.exr", "spiaggia_di_mondello_1k.hdr"])
def test_real_environments_are_read(data_dir: Path, name: str) -> None:
    asset = pack_environment(data_dir / "hdri" / name)
    assert asset.name == name.rpartition(".")[0]
    pixels = decode_environment(asset.data)
    assert pixels.shape[1] == 2 * pixels.shape[0]
    assert np.isfinite(pixels).all()
    assert 0.05 < pixels[..., :3].astype(float).mean() < 5


def test_without_its_library_an_exr_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_exr(tmp_path / "a.exr", np.zeros((2, 2, 3), np.float32))
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(ContentRefused) as refusal:
        decode_environment(data)
    assert "framemesh[scenes]" in refusal.value.fix


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "neither"),
        (b"\x89PNG", "neither"),
        (b"#?RADIANCE\n\n-Y 2 +X 2\n" + bytes(16), "FORMAT"),
        (header(2, 2).replace(b"-Y", b"+Y") + bytes(16), "-Y height"),
        (header(2, 2, "EXPOSURE=0") + bytes(16), "exposure is 0"),
        (header(2, 2, "EXPOSURE=much") + bytes(16), "exposure is b'much'"),
        (header(2, 2) + bytes(15), "cut off"),
        (header(0, 2), "its size is 0x2"),
        (header(9000, 1) + bytes(36000), "the limits are 8192 a side"),
        (header(8192, 8192), "the limits are"),
        (header(16, 1) + b"\2\2\0\17", "of another length"),
        (header(16, 1) + b"\2\2\0\20" + b"\x91\0" * 4, "do not add up"),
        (header(16, 1) + b"\2\2\0\20" + b"\0" * 9, "do not add up"),
        (header(16, 2) + b"\2\2\0\20" + b"\x90\0" * 4, "cut off"),
        (b"\x76\x2f\x31\x01", "cut off"),
        (b"\x76\x2f\x31\x01\2\x10\0\0" + bytes(20), "several parts"),
        (b"\x76\x2f\x31\x01\2\0\0\0" + bytes(20), "no dataWindow"),
        (b"\x76\x2f\x31\x01\2\0\0\0" + b"a" * 300, "does not end"),
    ],
)  # fmt: skip
def test_a_refusal_says_why(data: bytes, why: str) -> None:
    with pytest.raises(ContentRefused) as refusal:
        decode_environment(data)
    assert why in refusal.value.why


def test_a_vast_exr_is_refused_before_the_library_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(write_exr(tmp_path / "a.exr", np.zeros((2, 2, 3), np.float32)))
    monkeypatch.setattr(OpenEXR, "File", lambda *_, **__: pytest.fail("the library was asked"))
    at = data.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
    data[at : at + 16] = np.array([0, 0, 8191, 4095], "<i4").tobytes()
    with pytest.raises(ContentRefused, match="8192x4096 pixels"):
        decode_environment(data)


def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
    return b"\0".join((name, kind, len(value).to_bytes(4, "little") + value))


def channel(name: bytes) -> bytes:
    """An entry of a channel list: 32-bit floats, one a pixel."""
    return name + b"\0" + np.array([2, 0, 1, 1], "<i4").tobytes()


BOX = np.array([0, 0, 4095, 4095], "<i4").tobytes()
WINDOW = attribute(b"dataWindow", b"box2i", BOX)


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        # 9 KB of file would have the library take 64 MiB for each of them.
        (
            WINDOW
            + attribute(b"channels", b"chlist", b"".join(channel(b"%d" % i) for i in range(9))),
            "over 8 channels",
        ),
        (WINDOW * 2, "two attributes dataWindow"),  # the library would take the second
        (
            WINDOW + attribute(b"tiles", b"tiledesc", np.array([4, 2**31], "<u4").tobytes() + b"0"),
            "tiles are over",
        ),
        (attribute(b"comment", b"string", bytes(4))[:-2], "does not end"),
    ],
    ids=["channels", "windows", "tiles", "cut off"],
)
def test_an_exr_that_would_decode_to_far_more_than_its_window_is_refused_before(
    attributes: bytes, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenEXR, "File", lambda *_, **__: pytest.fail("the library was asked"))
    with pytest.raises(ContentRefused, match=why):
        decode_environment(b"\x76\x2f\x31\x01\2\0\0\0" + attributes + b"\0")


def test_a_picture_without_colour_or_another_size_than_it_says_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "grey.exr"
    head = {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(head, {"Y": np.zeros((2, 2), np.float32)}) as file:
        file.write(str(path))
    with pytest.raises(ContentRefused, match="no channel R"):
        decode_environment(path.read_bytes())


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentRefused, match="cannot be read"):
        pack_environment(tmp_path / "none.hdr")
    large = tmp_path / "large.hdr"
    with large.open("wb") as file:
        file.write(b"#?RADIANCE\n")
        file.truncate(MAX_ENVIRONMENT_BYTES + 1)
    with pytest.raises(ContentRefused, match="the limit is"):
        pack_environment(large)


HDR = header(24, 6) + run_lengths(picture(24, 6))


@pytest.fixture(scope="session")
def small_exr(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    rgb = np.random.default_rng(2).random((6, 12, 3)).astype(np.float16)
    return write_exr(tmp_path_factory.mktemp("exr") / "a.exr", rgb)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    st.floats(0, 1),
)
def test_spoilt_files_give_pixels_or_a_refusal(
    small_exr: bytes, exr: bool, changes: list[tuple[float, int]], kept: float
) -> None:
    spoilt = bytearray(small_exr if exr else HDR)
    for share, byte in changes:
        spoilt[int(share * len(spoilt))] = byte
    if not changes:
        spoilt = spoilt[: int(kept * len(spoilt))]
    try:
        pixels = decode_environment(bytes(spoilt))
    except ContentRefused:
        return
    assert np.isfinite(pixels).all()
    assert (pixels >= 0).all()
