"""What a model may be, found out before anything of it runs.

ONNX Runtime plans and allocates as the file says, and follows a tensor's `location` to other files.
So a file is read with ONNX's own parser first: everything in it must lie in it, its operators must
be of the standard's domains, and its sizes within bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from mesh.core.errors import ContentRefused, DeviceUnavailable

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

MAX_BYTES = 256 << 20
MAX_NODES = 20_000
MAX_DEPTH = 8  # of graphs in the bodies of If, Loop and Scan
MAX_INPUT_VALUES = 1 << 26  # of one input, where its dimensions are stated
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What a model says of itself. inputs, outputs: names with dimensions, -1 where it is free."""

    nbytes: int
    nodes: int
    opset: int
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]


def check_model(data: bytes) -> Facts:
    """Raises ContentRefused for anything that is no model, reaches outside, or is too large.

    Raises DeviceUnavailable where ONNX is not installed.
    """
    if len(data) > MAX_BYTES:
        raise _refused(f"it has {len(data)} bytes, more than {MAX_BYTES}")
    model = _parsed(data)
    domains = {used.domain for used in model.opset_import}
    if not domains <= DOMAINS:
        raise _refused(f"its operators are of {', '.join(sorted(domains - DOMAINS))}")
    if model.functions or model.training_info:
        raise _refused("it brings functions or training of its own")
    nodes = 0
    for graph in _graphs(model.graph, 0):
        nodes += len(graph.node)
        if nodes > MAX_NODES:
            raise _refused(f"it has more than {MAX_NODES} nodes")
        for tensor in _tensors(graph):
            _check_tensor(tensor)
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {each.name: _shape(each) for each in model.graph.input if each.name not in constants}
    for name, shape in inputs.items():
        if prod(abs(side) for side in shape) > MAX_INPUT_VALUES:
            raise _refused(f"its input {name} has more than {MAX_INPUT_VALUES} values")
    outputs = {each.name: _shape(each) for each in model.graph.output}
    opset = max((used.version for used in model.opset_import), default=0)
    return Facts(len(data), nodes, opset, inputs, outputs)


def _parsed(data: bytes) -> ModelProto:
    try:
        from google.protobuf.message import DecodeError  # noqa: PLC0415  an extra
        from onnx import ModelProto  # noqa: PLC0415
    except ImportError as missing:
        raise not_installed("onnx") from missing
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as problem:
        raise _refused(f"it cannot be read ({problem})") from problem
    if not model.graph.node:
        raise _refused("it has no nodes")
    return model


def _graphs(graph: GraphProto, depth: int) -> Iterator[GraphProto]:
    """The graph and those in its nodes' attributes."""
    if depth > MAX_DEPTH:
        raise _refused(f"its graphs lie more than {MAX_DEPTH} deep in each other")
    yield graph
    for node in graph.node:
        if node.domain not in DOMAINS:
            raise _refused(f"its operator {node.op_type} is of {node.domain}")
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graphs(inner, depth + 1)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from attribute.tensors
            if attribute.HasField("t"):
                yield attribute.t


def _check_tensor(tensor: TensorProto) -> None:
    if tensor.data_location != tensor.DEFAULT or tensor.external_data:
        raise _refused(f"its tensor {tensor.name} lies in another file")
    if any(side < 0 for side in tensor.dims) or prod(tensor.dims) > MAX_BYTES:
        raise _refused(f"its tensor {tensor.name} has impossible dimensions")


def _shape(value: Any) -> tuple[int, ...]:
    sides = value.type.tensor_type.shape.dim
    return tuple(side.dim_value if side.HasField("dim_value") else -1 for side in sides)


def not_installed(package: str) -> DeviceUnavailable:
    """The error where a package of the extra is missing."""
    return DeviceUnavailable(
        what="models cannot be run",
        why=f"the package {package} is not installed",
        fix="Run `pip install 'framemesh[models]'`.",
    )


def _refused(why: str) -> ContentRefused:
    return ContentRefused(
        what="the model is not taken",
        why=why,
        fix="Give one ONNX file with all its weights inside, of standard operators.",
    )
