import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infer.models.checks import check_model
from infer.models.network import Network
from infer.perception.voxels import Voxeliser
from infer.pillars.design import Design
from infer.pillars.detector import PillarDetector
from infer.pillars.graph import build, main
from mesh.core.errors import ContentRefused
from tests.infer.pillars.forward import forward


@pytest.fixture(scope="module")
def model(weights, design):
    return build(weights, design)


def sweep(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform((0, -8, -3, 0), (24, 8, 1, 1), (600, 4)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_the_model_computes_what_its_layers_say(model, weights, design, seed):
    batch = Voxeliser(design.space, 600).encode(sweep(seed))
    columns = design.space.cells[0]
    cells = batch.coordinates[:, 1].astype(np.int64) * columns + batch.coordinates[:, 2]
    found = Network(model).run({"pillars": batch.features, "cells": cells[:, None]})
    expected = forward(weights, design, batch.features.astype(np.float64), batch.coordinates)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name][0], values, atol=2e-5)


def test_objects_come_best_first_and_none_overlaps_another(model, design):
    objects = PillarDetector(model, 600, design=design).detect(sweep(0), least=0.3)
    assert len(objects.scores) > 3
    assert (np.diff(objects.scores) <= 0).all() and (objects.scores >= 0.3).all()
    assert set(objects.kinds) <= {0, 1}


@settings(max_examples=60)
@given(
    at=st.integers(0, 8 * 12 * 4 - 1),
    offset=st.tuples(*[st.floats(-1, 1)] * 6),
    yaw=st.floats(-np.pi, np.pi, exclude_max=True),
)
def test_a_box_that_was_written_as_residuals_is_read_back(model, design, at, offset, yaw):
    detector = PillarDetector(model, 600, design=design)
    anchor = design.anchors().reshape(-1, 7)[at]
    box = anchor.copy()
    box[:3] += offset[:3]
    box[3:6] *= np.exp(offset[3:])
    box[6] = yaw
    classes, boxes, ways = (np.zeros((384, values), np.float32) for values in (2, 7, 2))
    classes -= 10
    classes[at, 1] = 3
    boxes[at, :2] = (box[:2] - anchor[:2]) / np.hypot(*anchor[3:5])
    boxes[at, 2] = (box[2] - anchor[2]) / anchor[5]
    boxes[at, 3:6], boxes[at, 6] = np.log(box[3:6] / anchor[3:6]), yaw - anchor[6]
    ways[at, int((yaw - np.pi / 4) % (2 * np.pi) >= np.pi)] = 1
    objects = detector.decode(classes, boxes, ways, 0.5)
    assert objects.kinds.tolist() == [1]
    np.testing.assert_allclose(objects.boxes[0, :6], box[:6], rtol=1e-5, atol=1e-5)
    assert np.cos(objects.boxes[0, 6] - yaw) > 0 or abs(np.sin(yaw - np.pi / 4)) < 1e-4
    assert abs(np.sin(objects.boxes[0, 6] - yaw)) < 1e-5


def test_the_default_is_kittis(weights):
    design = Design()
    assert design.places == (248, 216)
    assert design.anchors().shape == (248, 216, 6, 7)
    with pytest.raises(ContentRefused, match="does not fit"):
        build(weights)


def test_a_file_of_arrays_becomes_a_model(weights, design, tmp_path, monkeypatch):
    np.savez(tmp_path / "weights.npz", **weights)
    monkeypatch.setattr("infer.pillars.graph.Design", lambda: design)
    assert main([str(tmp_path / "weights.npz"), str(tmp_path / "model.onnx")]) == 0
    facts = check_model((tmp_path / "model.onnx").read_bytes())
    assert set(facts.inputs) == {"pillars", "cells"}
