"""What is written is opened again by the programs it is for: Rerun's SDK, Foxglove's schemas."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory
from rerun.chunk import RrdReader

from infer.pipeline.sinks import open_sinks
from infer.pipeline.sinks.drawing import UNKNOWN, cells, yaw_quaternions
from mesh.core.errors import ConfigError, ContentRefused

SCHEMAS = {
    "/tf": "foxglove.FrameTransform",
    "/points": "foxglove.PointCloud",
    "/boxes": "foxglove.SceneUpdate",
    "/tracks": "foxglove.SceneUpdate",
    "/occupancy": "foxglove.Grid",
    "/latency": "framemesh.StageTimes",
}


@pytest.fixture(scope="module")
def written(perceived_drive, tmp_path_factory):
    """Three sweeps in all formats: the sweeps, and the folder with the files."""
    folder, sweeps = tmp_path_factory.mktemp("written"), perceived_drive[:3]
    files = {
        "arrays": folder / "arrays",
        "rerun": folder / "drive.rrd",
        "foxglove": folder / "drive.mcap",
    }
    files["foxglove"].write_bytes(b"of an earlier run")
    with open_sinks(files) as sinks:
        for perceived in sweeps:
            for sink in sinks:
                sink.write(perceived)
    return sweeps, folder


def test_rerun_opens_its_recording(written):
    sweeps, folder = written
    reader = RrdReader(folder / "drive.rrd")
    assert [entry.application_id for entry in reader.recordings()] == ["framemesh infer"]
    columns: dict[str, dict[int, list]] = {}
    for chunk in reader.stream().to_chunks():
        batch = chunk.to_record_batch()
        if chunk.is_static:
            continue
        assert set(chunk.timeline_names) == {"sensor_time", "sweep"}
        sweep = batch.column("sweep").to_pylist()
        for name in (name for name in batch.schema.names if ":" in name):
            key = f"{chunk.entity_path}:{name.rpartition(':')[2]}"
            rows = zip(sweep, batch.column(name).to_pylist(), strict=True)
            columns.setdefault(key, {}).update(rows)
    for number, perceived in enumerate(sweeps):
        boxes, tracks = perceived.boxes, perceived.tracks
        told = columns["/place/tracks:centers"][number]
        np.testing.assert_allclose(told, tracks.boxes[:, :3], rtol=1e-6)
        names = columns["/place/tracks:labels"][number]
        assert names[0] == f"{perceived.kinds[0]} {tracks.ids[0]}"
        halves = columns["/place/sensor/boxes:half_sizes"][number]
        np.testing.assert_allclose(halves, boxes.sizes / 2, rtol=1e-6)
        points = columns["/place/sensor/points:positions"][number]
        assert len(points) == perceived.scan.valid.sum()
        [move] = columns["/place/sensor:translation"][number]
        np.testing.assert_allclose(move, perceived.place_from_sensor.translation)
        [grid] = columns["/place/occupancy:data"][number]
        north_first = np.flipud(cells(perceived.occupancy.log_odds))
        assert bytes(grid) == north_first.tobytes()
        [ms] = columns["/latency/tracks:scalars"][number]
        assert ms == perceived.times_us["tracks"] / 1000


def test_foxglove_finds_its_schemas_in_the_file(written):
    sweeps, folder = written
    with (folder / "drive.mcap").open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        summary = reader.get_summary()
        assert summary is not None
        found = {
            channel.topic: summary.schemas[channel.schema_id].name
            for channel in summary.channels.values()
        }
        assert found == SCHEMAS
        topics = [topic for topic in SCHEMAS if topic != "/latency"]
        told = {topic: [] for topic in topics}
        for _, channel, message, content in reader.iter_decoded_messages(topics=topics):
            assert message.log_time == sweeps[len(told[channel.topic])].stamp_us * 1000
            told[channel.topic].append(content)
        times = [json.loads(m.data) for _, _, m in reader.iter_messages(topics=["/latency"])]
    assert times == [dict(perceived.times_us) for perceived in sweeps]
    for number, perceived in enumerate(sweeps):
        place, sensor = perceived.place_from_sensor.target, perceived.place_from_sensor.source
        moved = told["/tf"][number]
        assert (moved.parent_frame_id, moved.child_frame_id) == (place, sensor)
        assert moved.translation.x == perceived.place_from_sensor.translation[0]
        cloud = told["/points"][number]
        assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity"]
        points = np.frombuffer(cloud.data, "<f4").reshape(-1, 4)
        np.testing.assert_array_equal(points, perceived.scan.points[perceived.scan.valid])
        scene, tracks = told["/tracks"][number], perceived.tracks
        assert {entity.frame_id for entity in scene.entities} == {place}
        places = [entity.cubes[0].pose.position for entity in scene.entities]
        np.testing.assert_allclose([(p.x, p.y, p.z) for p in places], tracks.boxes[:, :3])
        assert len(scene.deletions) == 1, "those before are gone"
        assert len(told["/boxes"][number].entities) == len(perceived.boxes.yaws)
        grid = told["/occupancy"][number]
        assert grid.data == cells(perceived.occupancy.log_odds).tobytes()
        assert (grid.pose.position.x, grid.cell_size.x) == (perceived.occupancy.corner[0], 0.25)


def test_arrays_are_what_was_perceived(written):
    sweeps, folder = written
    for number, perceived in enumerate(sweeps):
        with np.load(folder / "arrays" / f"{number:06}.npz", allow_pickle=False) as file:
            kept = dict(file)
        assert kept["stamp_us"] == perceived.stamp_us
        np.testing.assert_array_equal(kept["place_tracks"], perceived.tracks.boxes)
        np.testing.assert_array_equal(kept["track_ids"], perceived.tracks.ids)
        np.testing.assert_array_equal(kept["place_occupancy"], perceived.occupancy.log_odds)
        assert tuple(kept["track_kinds"]) == perceived.kinds
        np.testing.assert_array_equal(kept["point_labels"], perceived.labels)


def test_a_stamp_that_mcap_cannot_hold_is_refused(perceived_drive, tmp_path):
    early = replace(perceived_drive[0], stamp_us=-1)
    with open_sinks({"foxglove": tmp_path / "x.mcap"}) as [sink]:  # noqa: SIM117
        with pytest.raises(ContentRefused, match="does not fit"):
            sink.write(early)


@pytest.mark.parametrize(("name", "package"), [("rerun", "rerun"), ("foxglove", "foxglove")])
def test_a_package_that_is_missing_is_named(name, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"infer.pipeline.sinks.{name}_file", raising=False)
    with pytest.raises(ConfigError, match=f"{package} is not installed") as refused:
        open_sinks({name: tmp_path / "x"}).__enter__()
    assert f"framemesh[{name}]" in refused.value.fix


def test_a_format_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no such format"):
        open_sinks({"rosbag": tmp_path / "x"}).__enter__()


def test_cells_are_per_cent_and_what_is_not_known_says_so():
    log_odds = np.array([[0.0, 4.0, -4.0, 100.0]], np.float32)
    assert cells(log_odds).tolist() == [[UNKNOWN, 98, 2, 98]]
    np.testing.assert_allclose(yaw_quaternions(np.array([np.pi])), [[0, 0, 1, 0]], atol=1e-12)
