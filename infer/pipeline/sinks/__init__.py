"""Where what was perceived is written to, for programs of others to open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from infer.pipeline.perceived import Perceived
from mesh.core.errors import ConfigError


class Sink(Protocol):
    """Takes what was perceived, in order."""

    def write(self, perceived: Perceived) -> None:
        """One instant. Raises ContentRefused where the format cannot hold it."""
        ...

    def close(self) -> None:
        """Complete the file."""
        ...


@contextmanager
def open_sinks(files: Mapping[str, Path]) -> Iterator[tuple[Sink, ...]]:
    """The sinks by name (`SINKS`), and where each is to write; closed at the end.

    Raises ConfigError for a name that is not known, a package that is not installed, or a place
    that cannot be written to.
    """
    with ExitStack() as stack:
        sinks = []
        for name, path in files.items():
            sinks.append(_open(name, path))
            stack.callback(sinks[-1].close)
        yield tuple(sinks)


def _open(name: str, path: Path) -> Sink:
    if (opener := SINKS.get(name)) is None:
        raise ConfigError(
            what=f"nothing is written for '{name}'",
            why="there is no such format",
            fix=f"Formats are {', '.join(SINKS)}.",
        )
    try:
        return opener(path)
    except ImportError as problem:
        raise ConfigError(
            what=f"{path} is not written",
            why=f"{problem.name or name} is not installed",
            fix=f"pip install 'framemesh[{name}]'",
        ) from problem
    except OSError as problem:
        raise ConfigError(
            what=f"{path} cannot be written",
            why=problem.strerror or str(problem),
            fix="Choose a place that can be written to.",
        ) from problem


# Their packages are imported where they are asked for, and only then.


def _arrays(folder: Path) -> Sink:
    from infer.pipeline.sinks.arrays import ArrayFolder  # noqa: PLC0415

    return ArrayFolder(folder)


def _rerun(path: Path) -> Sink:
    from infer.pipeline.sinks.rerun_file import RerunFile  # noqa: PLC0415

    return RerunFile(path)


def _foxglove(path: Path) -> Sink:
    from infer.pipeline.sinks.foxglove_file import FoxgloveFile  # noqa: PLC0415

    return FoxgloveFile(path)


SINKS: Mapping[str, Callable[[Path], Sink]] = {
    "arrays": _arrays,
    "rerun": _rerun,
    "foxglove": _foxglove,
}
