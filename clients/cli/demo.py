"""`framemesh demo`: a gateway and two workers that find each other, and a URL to open."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.parse
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp

from clients.cli.feeding import News, feed, feedable, recorded
from clients.cli.realm import admit, viewer_token
from clients.sdk.connect import connect
from mesh.core.errors import MeshError
from mesh.core.home import NodeHome, Signer
from mesh.core.membership import Role
from mesh.core.token import Scope
from mesh.core.workload import Recording

if TYPE_CHECKING:
    from clients.cli.options import Commands

START_TIMEOUT_S = 60.0
TOKEN_LIFETIME_S = 12 * 3600
# Software rendering on a busy machine: rather a frame a little later than one with a hole.
DEADLINE_MS = 120
FED = "infer"  # the workload beside it
SWEEPS_HZ = 5.0  # leaves two cores something to render with


class DemoFailed(MeshError):
    """The demo's own nodes did not come up, or the check did not hold."""

    code = "demo"


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("demo", help="start a small mesh on this machine and open a page")
    parser.add_argument("--scene", type=Path, metavar="FILE", help="a .gltf or .glb to show")
    parser.add_argument("--port", type=int, default=8080, help="of the page (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, choices=range(1, 9), metavar="N")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument(
        "--sweeps",
        type=Path,
        nargs="?",
        const=True,
        metavar="FOLDER",
        help="LiDAR sweeps to feed beside it: KITTI velodyne files (default: a made-up drive, but"
        " with --check none)",
    )
    parser.add_argument("--check", action="store_true", help="drive Chromium, then exit 0 or 1")
    parser.add_argument(
        "--screenshot", type=Path, default=Path("out/demo.png"), help="where --check puts it"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run until interrupted, or until the check is through."""
    # Told to end by whatever started it, it takes its nodes along as it does on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return asyncio.run(_demo(arguments))


async def _demo(arguments: argparse.Namespace) -> int:
    sweeps = arguments.sweeps if isinstance(arguments.sweeps, Path) else None
    fed = arguments.sweeps is not None or not arguments.check
    if fed:
        # What is wrong with it is said before anything starts.
        feedable(FED).read_inputs(Recording(sweeps))
    with tempfile.TemporaryDirectory(prefix="framemesh-demo-") as folder:
        mesh = DemoMesh.lay_out(
            Path(folder),
            workers=arguments.workers,
            port=arguments.port,
            scene=arguments.scene,
            workloads=("render", "infer"),
        )
        async with mesh.running():
            await mesh.ready()
            url = mesh.page_url(
                scene=mesh.scene_name,
                width=arguments.width,
                height=arguments.height,
                fps=arguments.fps,
                tiles=4,
                deadline_ms=DEADLINE_MS,
                barcode=int(arguments.check),
            )
            if not arguments.check:
                print(f"\n  framemesh is up: {arguments.workers} workers found. Open\n\n  {url}\n")
                print("  Ctrl-C ends it.", flush=True)
            task = _check(url, arguments.screenshot) if arguments.check else mesh.watch()
            return await _first_to_end(task, *([_feed(mesh, sweeps)] if fed else []))


async def _first_to_end(*coroutines: Coroutine[None, None, int]) -> int:
    """What the first of them returns or raises; the others are cancelled."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _feed(mesh: DemoMesh, sweeps: Path | None) -> int:
    """Feed sweeps, for ever, and say where to look at what is found in them."""
    plugin = feedable(FED)
    options: dict[str, Any] = dict(plugin.options_for(Recording(sweeps), SWEEPS_HZ))
    inputs = recorded(plugin, Recording(sweeps), loops=0)
    async with connect(mesh.page_url(), FED, results="link", **options) as session:
        print("\n  The same workers find boxes in LiDAR sweeps. Seen from above:\n")
        print(f"  {mesh.page_url(session=session.id)}\n", flush=True)
        await feed(session, inputs, SWEEPS_HZ, told=_nobody)
    return 0


async def _nobody(_: News) -> None:
    """Whoever looks sees it on the page."""


async def _check(url: str, screenshot: Path) -> int:
    from clients.check import check  # noqa: PLC0415  Chromium is needed for this alone

    screenshot.parent.mkdir(parents=True, exist_ok=True)
    report = await check(url, screenshot=screenshot)
    print(report)
    return 0 if report.passed else 1


@dataclass
class DemoMesh:
    """Homes, configurations and processes of a mesh on one machine; tests use it too."""

    folder: Path
    names: Sequence[str]
    port: int
    scene_name: str

    def __post_init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.token = viewer_token(
            Signer.of(NodeHome(self.folder / "admin").realm_key()),
            subject="demo",
            lifetime_s=TOKEN_LIFETIME_S,
            scopes=(Scope.VIEW, Scope.CONTROL, Scope.INFER),
        )

    @classmethod
    def lay_out(
        cls,
        folder: Path,
        *,
        workers: int,
        port: int,
        scene: Path | None = None,
        workloads: Sequence[str] = ("render",),
        extra: str = "",
    ) -> DemoMesh:
        """Make a realm, one home per node and their configuration files in `folder`.

        workloads: what every node serves. extra: TOML appended to each configuration.
        """
        if scene is not None and not scene.is_file():
            raise DemoFailed(
                what=f"no scene to show at {scene}",
                why="there is no such file",
                fix="Give the path of a .gltf or .glb file.",
            )
        realm = NodeHome(folder / "admin").create_realm_key()
        names = ["gateway", *(f"worker-{i + 1}" for i in range(workers))]
        for name in names:
            role = Role.GATEWAY if name == "gateway" else Role.WORKER
            admit(realm, NodeHome(folder / name), name, (role,))
            toml = _node_toml(folder, name, role, port=port, workloads=workloads, scene=scene)
            (folder / f"{name}.toml").write_text(toml + extra, "utf-8")
        return cls(folder, names, port, "courtyard" if scene is None else "yours")

    @contextlib.asynccontextmanager
    async def running(self, names: Sequence[str] = ()) -> AsyncIterator[DemoMesh]:
        """`names` (all, by default) started; whatever still runs ends with the block."""
        try:
            for name in names or self.names:
                self.start(name)
            yield self
        finally:
            for process in self.processes.values():
                process.terminate()
            for process in self.processes.values():
                try:
                    process.wait(timeout=10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def start(self, name: str) -> None:
        """Start (or start again) one node's process; its log is NAME.log in the folder."""
        environment = dict(os.environ)
        # Software Vulkan would otherwise start a thread per core in every worker.
        workers = max(1, len(self.names) - 1)
        environment.setdefault("LP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // workers)))
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(  # noqa: S603  our own interpreter and arguments
                [sys.executable, "-m", "clients.cli", "node", "--config", self._toml(name)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    async def status(self) -> dict[str, object]:
        """What the gateway says of itself. Raises aiohttp.ClientError while it is not up."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://127.0.0.1:{self.port}/status", headers=headers) as answer,
        ):
            answer.raise_for_status()
            found: dict[str, object] = await answer.json()
            return found

    async def ready(self) -> None:
        """Wait until the gateway has found every worker. Raises DemoFailed with a log's end."""
        wanted = len(self.names) - 1
        deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
        seen: object = "no answer from the gateway"
        while asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(aiohttp.ClientError):
                seen = (await self.status())["workers"]
                if isinstance(seen, list) and sum(bool(w["devices"]) for w in seen) >= wanted:
                    return
            self._raise_if_dead()
            await asyncio.sleep(0.1)
        raise DemoFailed(
            what="the mesh did not come up",
            why=f"after {START_TIMEOUT_S:.0f} s the gateway sees: {seen}",
            fix=f"Read the logs:\n{self._log_ends()}",
        )

    async def watch(self) -> NoReturn:
        """Until cancelled. Raises DemoFailed when a node ends."""
        while True:
            self._raise_if_dead()
            await asyncio.sleep(1)

    def page_url(self, **options: object) -> str:
        """The page with session options; the token is in the fragment, which no log sees."""
        query = urllib.parse.urlencode(options)
        return f"http://127.0.0.1:{self.port}/?{query}#token={self.token}"

    def _toml(self, name: str) -> str:
        return str(self.folder / f"{name}.toml")

    def _raise_if_dead(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise DemoFailed(
                    what=f"{name} ended with status {process.returncode}",
                    why=self._log_end(name),
                    fix="`framemesh devices` says whether this machine can render at all.",
                )

    def _log_end(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")[-1500:].strip()

    def _log_ends(self) -> str:
        return "\n".join(f"--- {name}\n{self._log_end(name)}" for name in self.names)


def _node_toml(
    folder: Path,
    name: str,
    role: Role,
    *,
    port: int,
    workloads: Sequence[str],
    scene: Path | None,
) -> str:
    # A JSON string is a TOML basic string.
    lines = [
        f"name = {json.dumps(name)}",
        f"roles = [{json.dumps(role)}]",
        f"state_dir = {json.dumps(str(folder / name))}",
        f"[http]\nport = {port}",
        "[discovery.mdns]",
        *(f"[workloads.{workload}]" for workload in workloads),
    ]
    if scene is not None:
        lines.append(f"[workloads.render.scenes]\nyours = {json.dumps(str(scene.resolve()))}")
    return "\n".join(lines) + "\n"
