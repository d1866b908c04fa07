"""The contract between clients and workloads that answer every cycle, with the mesh or without it.

A client knows how to reach gateways; what to do between two sweeps, and when the mesh does not
answer, the workload knows. They meet here: `framemesh.offload` hands its gateways as doors to an
installed workload that is `Offloading`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias, runtime_checkable

from mesh.core.errors import MeshError
from mesh.core.workload import Buffer

Options: TypeAlias = Mapping[str, int | float | str]


class FedResult(Protocol):
    """A workload's result for one input."""

    @property
    def data(self) -> memoryview:
        """In the workload's own encoding."""
        ...


class FedRefusal(Protocol):
    """An input that was not taken."""

    @property
    def number(self) -> int:
        """The input's, as `send` returned it."""
        ...

    @property
    def problem(self) -> MeshError:
        """Why."""
        ...


class FedNotice(Protocol):
    """The gateway will end the session, and takes no others."""

    @property
    def within_us(self) -> int:
        """In so long."""
        ...


class FedSession(Protocol):
    """One open session at one gateway. Its iterators raise MeshError when it ends otherwise."""

    @property
    def results(self) -> AsyncIterator[FedResult]:
        """In order."""
        ...

    @property
    def refusals(self) -> AsyncIterator[FedRefusal]:
        """Of inputs."""
        ...

    @property
    def notices(self) -> AsyncIterator[FedNotice]:
        """Of the session's end."""
        ...

    async def send(self, data: Buffer, *, stamp_us: int) -> int:
        """Send a bulk input; returns its number when the bytes may be changed again.

        Raises MeshError when the session has ended.
        """
        ...


# Opens a session at one gateway, with these options; it ends with the block. Raises MeshError.
Door: TypeAlias = Callable[[Options], AbstractAsyncContextManager[FedSession]]


@runtime_checkable
class Offloading(Protocol):
    """What a workload may offer beside mesh.core.workload.Workload."""

    def offload(
        self, doors: Mapping[str, Door], options: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[Any]:
        """Something of the workload's own that answers each cycle, for the block.

        doors: of gateways by name, those to be tried first first. options: the caller's, unchecked.
        Raises Misuse for wrong options.
        """
        ...
