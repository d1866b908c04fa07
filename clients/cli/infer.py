"""`framemesh infer`: feed recorded sweeps to a gateway, and say what comes back and how soon."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from clients.cli.feeding import InOrder, Tally, feed, feedable, recorded
from clients.cli.telling import Telling
from clients.sdk.connect import connect
from mesh.core.errors import ConfigError, Misuse
from mesh.core.loop import monotonic_us
from mesh.core.workload import Followable, Following, Recording

if TYPE_CHECKING:
    from clients.cli.options import Commands
    from mesh.core.workload import Feedable

FORMS = {
    "kitti": "a KITTI folder: a raw drive, the object or tracking benchmark, or .bin files",
    "av2": "an Argoverse 2 log",
    "nuscenes": "a nuScenes-style folder of .pcd.bin files",
    "mcap": "an MCAP file of ROS 2 messages",
}
FILES = {"rerun": ("FILE.rrd", "for Rerun's viewer"), "foxglove": ("FILE.mcap", "for Foxglove")}
LINES = "sweeps.jsonl"  # in a folder that --out names


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "infer",
        help="feed recorded LiDAR sweeps to a gateway: boxes, tracks, occupancy, times per stage",
    )
    recordings = parser.add_mutually_exclusive_group(required=True)
    recordings.add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="a recording, its format told from it"
    )
    for form, what in FORMS.items():
        recordings.add_argument(f"--{form}", type=Path, metavar="PATH", help=what)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--url",
        default=os.environ.get("FRAMEMESH_URL", ""),
        help="as `framemesh demo` prints it, with the token (default: $FRAMEMESH_URL)",
    )
    where.add_argument(
        "--local", action="store_true", help="find boxes in this program too, without a gateway"
    )
    parser.add_argument("--rate", type=hertz, metavar="HZ", help="default: the session's own")
    parser.add_argument(
        "--loop", type=count, default=1, metavar="N", help="go through it N times; 0: for ever"
    )
    parser.add_argument(
        "--out",
        metavar="FILE|DIR/",
        help="write a line of JSON for each sweep; into a folder, with its arrays as .npz",
    )
    for name, (metavar, whom) in FILES.items():
        parser.add_argument(
            f"--{name}", type=Path, metavar=metavar, help=f"write a recording {whom}"
        )
    parser.add_argument(
        "--track",
        default="",
        metavar="WHAT",
        help="boxes, or objects fused here from whole sweeps (default: boxes)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print such lines, and the summary as the last"
    )
    parser.add_argument(
        "--compress",
        default="none",
        metavar="HOW",
        help="how inputs travel: none, delta (default: %(default)s)",
    )
    parser.add_argument("--workload", default="infer", metavar="NAME", help="default: %(default)s")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Feed until the end or until interrupted."""
    if not arguments.url and not arguments.local:
        raise ConfigError(
            what="no gateway to feed",
            why="neither --url nor FRAMEMESH_URL names one",
            fix="Give --url what `framemesh demo` prints, or --local.",
        )
    lines, files = outputs_of(arguments)
    plugin = feedable(arguments.workload)
    recording = recording_of(arguments)
    plugin.read_inputs(recording)  # whether it can be read at all
    with (
        _writer(lines) as write,
        _following(plugin, recording, files, arguments) as following,
    ):
        telling = Telling(plugin, following, write, as_json=arguments.json)
        feeding = _local if arguments.local else _infer
        uvloop.run(feeding(arguments, plugin, recording, telling))
    return 0


async def _infer(
    arguments: argparse.Namespace, plugin: Feedable, recording: Recording, telling: Telling
) -> None:
    """Through a gateway."""
    options: dict[str, Any] = dict(plugin.options_for(recording, arguments.rate))
    inputs = recorded(telling.following or plugin, recording, loops=arguments.loop)
    async with connect(arguments.url, arguments.workload, results="link", **options) as session:
        telling.tally = Tally(session.description["deadline_us"])
        try:
            rate_hz = arguments.rate or session.description["fps"]
            await feed(session, inputs, rate_hz, InOrder(telling.tell))
        finally:
            telling.sum_up()


async def _local(
    arguments: argparse.Namespace, plugin: Feedable, recording: Recording, telling: Telling
) -> None:
    """In this program, as fast as it goes or as --rate says."""
    assert telling.following is not None
    inputs = recorded(telling.following, recording, loops=arguments.loop)
    period_us = round(1e6 / arguments.rate) if arguments.rate else 0
    index, due_us = 0, monotonic_us()
    try:
        async for stamp_us, _ in inputs:
            await asyncio.sleep((due_us - monotonic_us()) / 1e6)
            await telling.tell_local(index, stamp_us)
            index, due_us = index + 1, max(due_us + period_us, monotonic_us())
    finally:
        telling.sum_up()


def recording_of(arguments: argparse.Namespace) -> Recording:
    """What the command line names."""
    for form in FORMS:
        if (path := getattr(arguments, form)) is not None:
            return Recording(path, form, arguments.compress)
    return Recording(arguments.path, compress=arguments.compress)


def outputs_of(arguments: argparse.Namespace) -> tuple[Path | None, dict[str, Path]]:
    """Where lines go, and the files of what follows, by format. Raises ConfigError."""
    files = {name: getattr(arguments, name) for name in FILES}
    files = {name: path for name, path in files.items() if path is not None}
    if arguments.out is None:
        return None, files
    path = Path(arguments.out)
    if not (path.is_dir() or arguments.out.endswith(os.sep)):
        return path, files
    with _written_to(path):
        path.mkdir(exist_ok=True)
    return path / LINES, {"arrays": path, **files}


@contextlib.contextmanager
def _following(
    plugin: Feedable,
    recording: Recording,
    files: Mapping[str, Path],
    arguments: argparse.Namespace,
) -> Iterator[Following | None]:
    """What makes more of results, if the workload does. Raises ConfigError, Misuse."""
    if isinstance(plugin, Followable):
        local, way = arguments.local, arguments.track
        with plugin.follow(recording, files, local=local, way=way) as following:
            yield following
    elif files or arguments.local or arguments.track:
        raise Misuse(
            what="nothing can be made of the results here",
            why="the workload's plug-in does not say how (mesh.core.workload.Followable)",
            fix="Leave out --local, --track, --rerun, --foxglove, and a folder for --out.",
        )
    else:
        yield None


@contextlib.contextmanager
def _writer(path: Path | None) -> Iterator[Callable[[str], None]]:
    """What writes a line to the file, or nowhere if there is none. Raises ConfigError."""
    if path is None:
        yield lambda _: None
        return
    with _written_to(path):
        file = path.open("w", encoding="utf-8")
    with file:
        yield lambda text: print(text, file=file)


@contextlib.contextmanager
def _written_to(path: Path) -> Iterator[None]:
    """Raises ConfigError for what the system says of writing there."""
    try:
        yield
    except OSError as problem:
        raise ConfigError(
            what=f"{path} cannot be written",
            why=problem.strerror or str(problem),
            fix="Choose a folder that can be written to.",
        ) from problem


def hertz(text: str) -> float:
    """For argparse."""
    value = float(text)
    if not 0.1 <= value <= 100:
        raise argparse.ArgumentTypeError("rates are 0.1 to 100 Hz")
    return value


def count(text: str) -> int:
    """For argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("it is 0 or more")
    return value
