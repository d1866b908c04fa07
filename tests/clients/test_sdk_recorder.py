"""Recording: what is in the file is what came, from the first whole picture on."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from clients.sdk.recorder import SUFFIXES, NotRecorded, Recorder
from mesh.core.errors import ConfigError
from mesh.core.workload import PictureFormat
from mesh.stream.encoders import open_encoder

PICTURE = PictureFormat(448, 256)
FIRST_RTP = 2**32 - 9000  # wraps in the fourth picture


def pictures(count: int, keyframe: int) -> list[bytes]:
    """Encoded pictures, brighter and brighter; decoding can begin with 0 and with `keyframe`."""
    encoder = open_encoder("h264", PICTURE, 30.0, 2_000_000)
    shades = [np.full((384, 448), 40 + 8 * n, np.uint8) for n in range(count)]
    return [
        bytes(encoder.encode(shade, n * 3000, n == keyframe).packet)
        for n, shade in enumerate(shades)
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_holds_what_came_from_the_first_whole_picture_on(tmp_path, suffix):
    recorder = Recorder(tmp_path / f"film{suffix}")
    for n, data in enumerate(pictures(count=12, keyframe=4)[1:]):
        recorder.add(data, (FIRST_RTP + n * 3000) % 2**32)
    recorder.close()
    assert recorder.pictures == 8
    with av.open(str(tmp_path / f"film{suffix}")) as film:
        decoded = list(film.decode(video=0))
    shades = [picture.to_ndarray(format="yuv420p")[:256].mean() for picture in decoded]
    np.testing.assert_allclose(shades, [40 + 8 * n for n in range(4, 12)], atol=2)
    np.testing.assert_allclose([p.time for p in decoded], np.arange(8) / 30, atol=1e-3)


def test_no_file_is_left_when_no_picture_came(tmp_path):
    recorder = Recorder(tmp_path / "film.mp4")
    recorder.add(pictures(count=2, keyframe=0)[1], 0)
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"\.mp4"):
        Recorder(tmp_path / "film.txt")
    with pytest.raises(NotRecorded, match="No such file"):
        Recorder(tmp_path / "nowhere" / "film.mp4")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told_at_the_end(tmp_path):
    (tmp_path / "film.mkv").symlink_to("/dev/full")
    recorder = Recorder(tmp_path / "film.mkv")
    for n, data in enumerate(pictures(count=12, keyframe=0)):
        recorder.add(data, n * 3000)
    with pytest.raises(NotRecorded, match="No space left"):
        recorder.close()
