from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def build() -> Callable[..., Any]:
    """A model that doubles float32 (n, 3): its parts may be changed before it is serialised."""

    def build(*, domain: str = "", opset: int = 17) -> Any:
        node = helper.make_node("Mul", ["x", "two"], ["y"], domain=domain)
        two = numpy_helper.from_array(np.float32([2.0]), "two")
        graph = helper.make_graph(
            [node],
            "double",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
            [two],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)])

    return build
