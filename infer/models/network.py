"""A checked model in ONNX Runtime: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infer.models.checks import Facts, check_model, not_installed
from mesh.core.errors import ContentRefused, PieceFailed

# In order of preference; what is not there is passed over.
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
FREE_SIDE = 1  # what a free dimension is taken for when a model is warmed


class Network:
    """One model, ready to run. Not for two threads at once."""

    def __init__(self, data: bytes, *, threads: int = 1) -> None:
        """threads: of the CPU. Raises as `check_model`, and ContentRefused if it cannot be run."""
        self.facts: Facts = check_model(data)
        try:
            import onnxruntime  # noqa: PLC0415  an extra
        except ImportError as missing:
            raise not_installed("onnxruntime") from missing
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # Threads that wait by spinning would take the devices' time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        there = set(onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(
                data, options, providers=[name for name in PROVIDERS if name in there]
            )
        except Exception as problem:  # its errors share no class of their own
            raise ContentRefused(
                what="the model cannot be run",
                why=str(problem).splitlines()[0],
                fix="Check it with `onnx.checker`, and that ONNX Runtime knows its operators.",
            ) from problem
        self._types = {each.name: _TYPES.get(each.type) for each in self._session.get_inputs()}

    @property
    def provider(self) -> str:
        """What runs it."""
        return str(self._session.get_providers()[0])

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """All outputs by name. Raises PieceFailed, also for inputs that do not fit."""
        try:
            found = self._session.run(None, dict(inputs))
        except Exception as problem:
            raise PieceFailed(
                what="a model failed",
                why=str(problem).splitlines()[0],
                fix="Give inputs of the types and dimensions that `framemesh models list` tells.",
            ) from problem
        return dict(zip(self.facts.outputs, found, strict=True))

    def warm(self) -> None:
        """Run it once, so that the first real input does not pay for what is made on first use."""
        self.run(
            {
                name: np.zeros(
                    [side if side > 0 else FREE_SIDE for side in shape], self._type(name)
                )
                for name, shape in self.facts.inputs.items()
            }
        )

    def _type(self, name: str) -> Any:
        found = self._types[name]
        if found is None:
            raise ContentRefused(
                what="the model cannot be warmed",
                why=f"its input {name} is of a type that is no array's",
                fix="Give a model whose inputs are tensors of numbers.",
            )
        return found


_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}
