"""`framemesh infer`: feed recorded sweeps to a gateway, and say what comes back and how soon."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from clients.cli.feeding import Answer, NotTaken, Tally, feed, feedable, recorded
from clients.sdk.connect import connect
from mesh.core.errors import ConfigError
from mesh.core.workload import Recording

if TYPE_CHECKING:
    from clients.cli.options import Commands
    from mesh.core.workload import Feedable

FORMS = {
    "kitti": "a KITTI folder: a raw drive, the object or tracking benchmark, or .bin files",
    "av2": "an Argoverse 2 log",
    "nuscenes": "a nuScenes-style folder of .pcd.bin files",
    "mcap": "an MCAP file of ROS 2 messages",
}


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "infer", help="feed recorded LiDAR sweeps to a gateway: boxes, times per stage, makers"
    )
    recordings = parser.add_mutually_exclusive_group(required=True)
    recordings.add_argument(
        "path", type=Path, nargs="?", metavar="PATH", help="a recording, its format told from it"
    )
    for form, what in FORMS.items():
        recordings.add_argument(f"--{form}", type=Path, metavar="PATH", help=what)
    parser.add_argument(
        "--url",
        default=os.environ.get("FRAMEMESH_URL", ""),
        help="as `framemesh demo` prints it, with the token (default: $FRAMEMESH_URL)",
    )
    parser.add_argument("--rate", type=hertz, metavar="HZ", help="default: the session's own")
    parser.add_argument(
        "--loop", type=count, default=1, metavar="N", help="go through it N times; 0: for ever"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="write a line of JSON for each sweep, with boxes"
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
    if not arguments.url:
        raise ConfigError(
            what="no gateway to feed",
            why="neither --url nor FRAMEMESH_URL names one",
            fix="Give --url what `framemesh demo` prints.",
        )
    with _writer(arguments.out) as write:
        uvloop.run(_infer(arguments, feedable(arguments.workload), write))
    return 0


async def _infer(
    arguments: argparse.Namespace, plugin: Feedable, write: Callable[[str], None]
) -> None:
    recording = recording_of(arguments)
    await asyncio.to_thread(plugin.read_inputs, recording)  # whether it can be read at all
    options: dict[str, Any] = dict(plugin.options_for(recording, arguments.rate))
    inputs = recorded(plugin, recording, loops=arguments.loop)
    async with connect(arguments.url, arguments.workload, results="link", **options) as session:
        tally = Tally(session.description["deadline_us"])

        def told(news: Answer | NotTaken) -> None:
            tally.add(news)
            facts = record(news, plugin)
            write(json.dumps(facts))
            print(json.dumps(facts) if arguments.json else line(facts), flush=True)

        try:
            rate_hz = arguments.rate or session.description["fps"]
            await feed(session, inputs, rate_hz, told)
        finally:
            summary = tally.summary()
            print(
                json.dumps({"summary": summary}) if arguments.json else "\n".join(report(summary))
            )


def recording_of(arguments: argparse.Namespace) -> Recording:
    """What the command line names."""
    for form in FORMS:
        if (path := getattr(arguments, form)) is not None:
            return Recording(path, form, arguments.compress)
    return Recording(arguments.path, compress=arguments.compress)


def record(news: Answer | NotTaken, plugin: Feedable) -> dict[str, Any]:
    """One sweep's line as JSON has it. Raises ContentRefused if its result cannot be read."""
    if isinstance(news, NotTaken):
        problem = news.problem
        return {"sweep": news.index, "refused": {"code": problem.code, "why": problem.why}}
    return {
        "sweep": news.index,
        "frame": news.result.frame,
        "latency_ms": news.latency_us / 1000,
        "stages_us": news.stages(),
        "pieces": len(news.pieces),
        "missing": news.missing,
        "result": plugin.explain(news.result.data),
    }


def line(facts: Mapping[str, Any]) -> str:
    """The same for people."""
    if "refused" in facts:
        return f"sweep {facts['sweep']:4}  refused: {facts['refused']['why']}"
    return (
        f"sweep {facts['sweep']:4}  frame {facts['frame']:4}  {facts['latency_ms']:6.1f} ms"
        f"  missing {facts['missing']} of {facts['pieces']}  {facts['result']['summary']}"
    )


def report(summary: Mapping[str, Any]) -> list[str]:
    """A few lines for people."""
    lines = [
        f"{summary['answered']} answered, {summary['refused']} refused;"
        f" {summary['late']} later than {summary['deadline_ms']:.0f} ms,"
        f" {summary['incomplete']} with parts missing"
    ]
    times = {"latency": summary["latency_ms"], **summary["stages_ms"]}
    for stage, cuts in times.items():
        figures = "  ".join(f"{name} {ms:6.1f}" for name, ms in cuts.items())
        lines.append(f"  {stage:8} ms  {figures or '-'}")
    lines += [f"  {maker}: {share:.0%} of the parts" for maker, share in summary["makers"].items()]
    return lines


@contextlib.contextmanager
def _writer(path: Path | None) -> Iterator[Callable[[str], None]]:
    """What writes a line to the file, or nowhere if there is none. Raises ConfigError."""
    if path is None:
        yield lambda _: None
        return
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as problem:
        raise ConfigError(
            what=f"{path} cannot be written",
            why=problem.strerror or str(problem),
            fix="Choose a folder that can be written to.",
        ) from problem
    with file:
        yield lambda text: print(text, file=file)


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
