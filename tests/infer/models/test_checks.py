import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from infer.models.checks import MAX_BYTES, MAX_DEPTH, MAX_NODES, check_model
from mesh.core.errors import ContentRefused


def test_a_model_says_what_it_takes_and_gives(build):
    facts = check_model(build().SerializeToString())
    assert (facts.nodes, facts.opset) == (1, 17)
    assert (facts.inputs, facts.outputs) == ({"x": (-1, 3)}, {"y": (-1, 3)})


def test_weights_in_another_file_are_refused(build):
    model = build()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(ContentRefused, match="another file"):
        check_model(model.SerializeToString())


def test_weights_in_another_file_are_found_in_a_nodes_body_too(build):
    model = build()
    inner = build().graph
    inner.initializer[0].data_location = TensorProto.EXTERNAL
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner))
    with pytest.raises(ContentRefused, match="another file"):
        check_model(model.SerializeToString())


def test_operators_of_nobody_knows_whom_are_refused(build):
    with pytest.raises(ContentRefused, match=r"com\.example"):
        check_model(build(domain="com.example", opset=1).SerializeToString())


def test_bodies_within_bodies_are_bounded(build):
    graph = build().graph
    for _ in range(MAX_DEPTH + 1):
        node = helper.make_node("If", ["x"], ["z"], then_branch=graph)
        graph = helper.make_graph([node], "outer", [], [])
    model = build()
    model.graph.CopyFrom(graph)
    with pytest.raises(ContentRefused, match="deep"):
        check_model(model.SerializeToString())


def test_more_nodes_than_may_be_are_refused(build):
    model = build()
    model.graph.node.extend([model.graph.node[0]] * MAX_NODES)
    with pytest.raises(ContentRefused, match="nodes"):
        check_model(model.SerializeToString())


@pytest.mark.parametrize("sides", [[-1, 4], [MAX_BYTES, 2]])
def test_impossible_dimensions_are_refused(build, sides):
    model = build()
    model.graph.initializer[0].dims[:] = sides
    with pytest.raises(ContentRefused, match="impossible"):
        check_model(model.SerializeToString())


def test_huge_inputs_are_refused(build):
    model = build()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 30
    with pytest.raises(ContentRefused, match="values"):
        check_model(model.SerializeToString())


@settings(max_examples=50)
@given(at=st.integers(0, 200), byte=st.integers(0, 255), cut=st.integers(0, 200))
def test_damaged_files_are_refused_or_read_and_nothing_else(at, byte, cut):
    data = bytearray(DOUBLE)
    data[at % len(data)] = byte
    with contextlib.suppress(ContentRefused):
        check_model(bytes(data[: len(data) - cut]))


DOUBLE = helper.make_model(
    helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
    )
).SerializeToString()
