"""A PointPillars network as one ONNX model, from weights by OpenPCDet's names.

`python -m infer.pillars.graph WEIGHTS.npz MODEL.onnx`: the arrays of a checkpoint's `model_state`,
saved by `numpy.savez`. Batch normalisation is folded into what it follows.

Inputs: `pillars` float32 (n, points, 10), see `infer.perception.voxels.VoxelBatch`; `cells` int64
(n, 1), each pillar's cell in the canvas, along x first. Outputs, by rows and columns of places:
`classes`, `boxes` and `directions`, float32 (1, rows, columns, values of all anchors).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from infer.pillars.design import BOX_VALUES, DIRECTIONS, Block, Design
from mesh.core.errors import ContentRefused

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 17
EPSILON = 1e-3  # of all its normalisations

Weights = Mapping[str, NDArray[Any]]
Folded = tuple[NDArray[np.float32], NDArray[np.float32]]


def build(weights: Weights, design: Design | None = None) -> bytes:
    """The model's bytes. Raises ContentRefused if a weight is missing or of another shape."""
    return bytes(_Builder(weights, design or Design()).model().SerializeToString())


class _Builder:
    """Nodes and constants, in order."""

    def __init__(self, weights: Weights, design: Design) -> None:
        self._weights, self._design = weights, design
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def model(self) -> ModelProto:
        from onnx import TensorProto, helper  # noqa: PLC0415  an extra

        design = self._design
        scales = self._backbone(self._canvas())
        joined = self._add("Concat", scales, axis=1) if len(scales) > 1 else scales[0]
        heads = {
            "classes": ("cls", len(design.kinds)),
            "boxes": ("box", BOX_VALUES),
            "directions": ("dir_cls", DIRECTIONS),
        }
        for output, (name, values) in heads.items():
            self._head(joined, output, f"dense_head.conv_{name}", values * design.anchors_a_place)
        points, features = design.space.most_points, design.space.features
        inputs = [
            helper.make_tensor_value_info("pillars", TensorProto.FLOAT, ["n", points, features]),
            helper.make_tensor_value_info("cells", TensorProto.INT64, ["n", 1]),
        ]
        rows, columns = design.places
        outputs = [
            helper.make_tensor_value_info(
                output, TensorProto.FLOAT, [1, rows, columns, values * design.anchors_a_place]
            )
            for output, (_, values) in heads.items()
        ]
        graph = helper.make_graph(self._nodes, "pointpillars", inputs, outputs, self._constants)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)

    # --- parts -----------------------------------------------------------------------------

    def _canvas(self) -> str:
        """A pillar's points made into one column of channels, and that put in its place."""
        space, channels = self._design.space, self._design.pillar_channels
        layer = "vfe.pfn_layers.0"
        weight = self._weight(f"{layer}.linear.weight", (channels, space.features))
        scale, shift = self._normalisation(f"{layer}.norm", channels)
        each = self._add("MatMul", ["pillars", self._constant((weight * scale[:, None]).T)])
        each = self._add("Relu", [self._add("Add", [each, self._constant(shift)])])
        pillars = self._add("ReduceMax", [each], axes=[1], keepdims=0)
        columns, rows, _ = space.cells
        empty = self._constant(np.zeros((rows * columns, channels), np.float32))
        filled = self._add("ScatterND", [empty, "cells", pillars])
        shape = self._constant(np.array([1, rows, columns, channels], np.int64))
        return self._add("Transpose", [self._add("Reshape", [filled, shape])], perm=[0, 3, 1, 2])

    def _backbone(self, canvas: str) -> list[str]:
        """Each block's output, brought to the size of the first's."""
        found, channels = [], self._design.pillar_channels
        for number, block in enumerate(self._design.blocks):
            for layer in range(block.layers + 1):
                convolution = f"backbone_2d.blocks.{number}.{1 + 3 * layer}.weight"
                weight = self._weight(convolution, (block.channels, channels, 3, 3))
                norm = f"backbone_2d.blocks.{number}.{2 + 3 * layer}"
                canvas = self._convolved(canvas, weight, norm, 1 if layer else block.stride)
                channels = block.channels
            found.append(self._enlarged(canvas, f"backbone_2d.deblocks.{number}", block))
        return found

    def _convolved(self, data: str, weight: NDArray[np.float32], norm: str, stride: int) -> str:
        scale, shift = self._normalisation(norm, len(weight))
        inputs = [data, self._constant(weight * scale[:, None, None, None]), self._constant(shift)]
        made = self._add("Conv", inputs, strides=[stride] * 2, pads=[1] * 4, kernel_shape=[3, 3])
        return self._add("Relu", [made])

    def _enlarged(self, data: str, name: str, block: Block) -> str:
        side, given = block.enlarged, block.up_channels
        weight = self._weight(f"{name}.0.weight", (block.channels, given, side, side))
        scale, shift = self._normalisation(f"{name}.1", given)
        inputs = [data, self._constant(weight * scale[:, None, None]), self._constant(shift)]
        made = self._add("ConvTranspose", inputs, strides=[side] * 2, kernel_shape=[side] * 2)
        return self._add("Relu", [made])

    def _head(self, data: str, output: str, name: str, values: int) -> None:
        from onnx import helper  # noqa: PLC0415

        taken = sum(block.up_channels for block in self._design.blocks)
        weight = self._constant(self._weight(f"{name}.weight", (values, taken, 1, 1)))
        bias = self._constant(self._weight(f"{name}.bias", (values,)))
        made = self._add("Conv", [data, weight, bias], kernel_shape=[1, 1])
        self._nodes.append(helper.make_node("Transpose", [made], [output], perm=[0, 2, 3, 1]))

    # --- nodes and numbers -----------------------------------------------------------------

    def _add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        from onnx import helper  # noqa: PLC0415

        output = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def _constant(self, values: NDArray[Any]) -> str:
        from onnx import numpy_helper  # noqa: PLC0415

        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _normalisation(self, name: str, channels: int) -> Folded:
        """What a batch normalisation multiplies by, and adds."""
        weight, bias, mean, variance = (
            self._weight(f"{name}.{part}", (channels,))
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + np.float32(EPSILON))
        return scale, bias - mean * scale

    def _weight(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        found = self._weights.get(name)
        if found is None or found.shape != shape:
            raise ContentRefused(
                what=f"the weight {name} does not fit",
                why="it is missing" if found is None else f"it is {found.shape}, not {shape}",
                fix="Give the weights of the same design, by OpenPCDet's names.",
            )
        return found.astype(np.float32)


def main(arguments: Sequence[str]) -> int:
    """From a file of arrays to a model."""
    source, target = arguments
    with np.load(source, allow_pickle=False) as weights:
        Path(target).write_bytes(build({name: weights[name] for name in weights.files}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
