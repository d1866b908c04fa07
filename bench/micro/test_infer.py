"""How long a sweep's parts take on the CPU: kernel by kernel, stage by stage, and its result.

One thread; everything is compiled before the first round. Each kernel is called with what the
pipeline gave it for one whole sweep, or for the same sweep in four sectors where it is the
gateway's; its arguments are laid out anew before each round, which is not timed.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infer.codec import decode_result, encode_result
from infer.kernels import cpu, uplink
from infer.session import InferSession, SweepFrame
from infer.sweep import decode_sweep, encode_sweep
from infer.uplink.packing import pack_sweep, unpack_sweep
from infer.workload import create
from mesh.core.workload import CutHint, SessionRequest

NOTHING = memoryview(b"")
CLOUD = 4096  # points that go with the result for people to look at
KERNELS = [
    name
    for module in cpu.LOOPS
    if module is not uplink  # these work on a sweep on its way, and are timed as one below
    for name, function in vars(module).items()
    if isinstance(function, FunctionType) and function.__module__ == module.__name__
]


class Call:
    """A call that a kernel got, to be repeated: its arguments before it and after."""

    def __init__(self, kernel: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.kernel, self.arguments = kernel, arguments
        self._before = self._contents()
        self._returned = kernel(*arguments)
        self._after = self._contents()

    def lay_out(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for array, contents in zip(self._written(), self._before, strict=True):
            np.copyto(array, contents)
        return self.arguments, {}

    def check(self, returned: Any) -> None:
        """A repeated call does what the first one did."""
        assert returned == self._returned
        for array, contents in zip(self._written(), self._after, strict=True):
            np.testing.assert_array_equal(array, contents)

    def _written(self) -> list[NDArray[Any]]:
        return [a for a in self.arguments if isinstance(a, np.ndarray) and a.flags.writeable]

    def _contents(self) -> list[NDArray[Any]]:
        return [array.copy() for array in self._written()]


class Pipeline:
    """A gateway's session and a device's executor, without a network between them."""

    def __init__(self, points: NDArray[np.float32], sectors: int) -> None:
        workload = create({"api": "cpu"})
        options = {"sectors": sectors, "points": CLOUD}
        self.session: InferSession = workload.open_session(SessionRequest("infer", options))
        self.executor = workload.open_executor(workload.find_devices()[0])
        self.executor.prepare("s", self.session.setup.spec, {})
        self._sweep, self._stamps = memoryview(encode_sweep(points)), itertools.count()

    def open(self) -> SweepFrame:
        self.session.offer_input(next(self._stamps), self._sweep)
        return self.session.open_frame(0, 0, CutHint(1), NOTHING, NOTHING)

    def answer(self, frame: SweepFrame, index: int) -> bytes:
        piece = frame.pieces[index]
        output, inputs = memoryview(bytearray(piece.output_bytes)), memoryview(piece.inputs)
        nbytes = self.executor.run("s", piece.spec, inputs.toreadonly(), output)
        return bytes(output[:nbytes])

    def answers(self) -> list[bytes]:
        frame = self.open()
        return [self.answer(frame, index) for index in range(len(frame.pieces))]


def merge(frame: SweepFrame, answers: Sequence[bytes]) -> bytes:
    for index, answer in enumerate(answers):
        frame.accept(index, memoryview(answer))
    return frame.finish()


@pytest.fixture(scope="module")
def calls(sweep: NDArray[np.float32]) -> dict[str, Call]:
    """The first call that each kernel got."""
    found: dict[str, Call] = {}

    def watched(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if name not in found:
                found[name] = Call(kernel, arguments)
                found[name].lay_out()
            return kernel(*arguments)

        return call

    device, gateway = Pipeline(sweep, 1), Pipeline(sweep, 4)
    kernels = cpu.kernels
    stand_in = SimpleNamespace(**{name: watched(name, getattr(kernels, name)) for name in KERNELS})
    with pytest.MonkeyPatch.context() as patch:
        for module in list(sys.modules.values()):
            if getattr(module, "kernels", None) is kernels:
                patch.setattr(module, "kernels", stand_in)
        device.answers()
        merge(gateway.open(), gateway.answers())
    return found


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel(benchmark: Any, calls: dict[str, Call], kernel: str) -> None:
    call = calls[kernel]
    returned = benchmark.pedantic(call.kernel, setup=call.lay_out, rounds=50, warmup_rounds=2)
    call.check(returned)


def test_check_a_sweep(benchmark: Any, sweep: NDArray[np.float32]) -> None:
    data = encode_sweep(sweep)
    assert len(benchmark(decode_sweep, 0, data).points) == len(sweep)


def test_pack_a_sweep(benchmark: Any, sweep: NDArray[np.float32]) -> None:
    assert len(benchmark(pack_sweep, sweep)) < sweep.nbytes / 4


def test_unpack_a_sweep(benchmark: Any, sweep: NDArray[np.float32]) -> None:
    assert len(benchmark(unpack_sweep, 0, pack_sweep(sweep)).points) == len(sweep)


@pytest.mark.parametrize("sectors", [1, 2, 4, 8])
def test_check_and_cut(benchmark: Any, sweep: NDArray[np.float32], sectors: int) -> None:
    assert len(benchmark(Pipeline(sweep, sectors).open).pieces) == sectors


@pytest.mark.parametrize("sectors", [1, 2, 4, 8])
def test_one_sector_on_a_device(benchmark: Any, sweep: NDArray[np.float32], sectors: int) -> None:
    """All stages, and the answer written for the way back."""
    pipeline = Pipeline(sweep, sectors)
    frame = pipeline.open()
    assert len(benchmark(pipeline.answer, frame, 0)) > 1000


@pytest.mark.parametrize("sectors", [1, 2, 4, 8])
def test_merge(benchmark: Any, sweep: NDArray[np.float32], sectors: int) -> None:
    """Read the answers, join them, fit what crosses borders, and write the result."""
    pipeline = Pipeline(sweep, sectors)
    answers = pipeline.answers()
    result = benchmark.pedantic(
        merge, setup=lambda: ((pipeline.open(), answers), {}), rounds=50, warmup_rounds=2
    )
    assert len(decode_result(result).boxes.yaws) > 20


@pytest.mark.parametrize("way", ["encode", "decode"])
def test_result(benchmark: Any, sweep: NDArray[np.float32], way: str) -> None:
    pipeline = Pipeline(sweep, 1)
    data = merge(pipeline.open(), pipeline.answers())
    result = decode_result(data)
    if way == "encode":
        assert benchmark(encode_result, result) == data
    else:
        assert len(benchmark(decode_result, data).boxes.yaws) == len(result.boxes.yaws)
