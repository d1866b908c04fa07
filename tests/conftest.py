"""What every test folder shares: the loop, bounds on threads, real inputs, a node, skips."""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before any test imports what starts threads: a busy small machine must not be oversubscribed.
os.environ.setdefault("LP_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")

import numpy as np
import pytest
import uvloop
from hypothesis import settings

from mesh.core.config import DeviceConfig, GatewayConfig, HttpConfig, LinkConfig, NodeConfig
from mesh.core.home import NodeHome
from mesh.core.identity import RealmKey
from mesh.core.membership import Role, sign_membership
from mesh.core.token import Scope, sign_token
from mesh.core.workload import Settings
from mesh.node import Node, open_node
from render.gltf.writer import GlbWriter

# No deadline: how long one example takes says more about the machine's other work.
settings.register_profile("default", deadline=None)
settings.register_profile("nightly", deadline=None, max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FRAMEMESH_DATA") or ROOT / "../shared/data").resolve()
ASYNC_TEST_S = 90.0
MUST_HAVE_DATA = os.environ.get("FRAMEMESH_REQUIRE_DATA") == "1"


def pytest_asyncio_loop_factories(config: object, item: object) -> Mapping[str, Any]:
    """The loop of production, unless a folder says otherwise (only a conftest can)."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real inputs; without it the test is skipped, or fails where it is required."""
    if not DATA.is_dir():
        reason = f"no real inputs: {DATA} does not exist (FRAMEMESH_DATA names the folder)"
        if MUST_HAVE_DATA:
            pytest.fail(reason)
        pytest.skip(reason)
    return DATA


@pytest.fixture(scope="session")
def confetti(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright triangles all around, some decimetres long, at depths of 2 to 8 metres."""
    rng = np.random.default_rng(5)
    corners = rng.uniform(-2.5, 2.5, (400, 1, 3)) + rng.uniform(-0.3, 0.3, (400, 3, 3))
    colours = np.repeat(rng.uniform(0.1, 1, (400, 3)), 3, axis=0)
    glb = GlbWriter()
    attributes = {
        "POSITION": glb.accessor(corners.reshape(-1, 3).astype(np.float32)),
        "COLOR_0": glb.accessor(colours.astype(np.float32)),
    }
    material = glb.add("materials", {"doubleSided": True})
    glb.add("nodes", {"mesh": glb.mesh([{"attributes": attributes, "material": material}])})
    path = tmp_path_factory.mktemp("scenes") / "confetti.glb"
    path.write_bytes(glb.glb())
    return path


# --- a node ---------------------------------------------------------------------------------------


@dataclass
class Host:
    """A running node, gateway and worker in one, and the key of its realm."""

    node: Node
    realm: RealmKey

    def token(self, *scopes: Scope, lifetime_s: int = 3600) -> str:
        """A client's token; for every scope unless some are named."""
        now_s = int(time.time())
        return sign_token(
            self.realm,
            realm_public=self.realm.public_key,
            subject="tester",
            scopes=scopes or (Scope.VIEW, Scope.CONTROL, Scope.INFER),
            not_before=now_s - 7200,
            not_after=now_s + lifetime_s,
        )

    def url(self, *scopes: Scope, query: str = "", lifetime_s: int = 3600) -> str:
        """The address to open it with."""
        token = self.token(*scopes, lifetime_s=lifetime_s)
        return f"http://127.0.0.1:{self.node.http_port}/?{query}#token={token}"

    @property
    def sessions(self) -> list[dict[str, Any]]:
        """What its gateway says of them."""
        assert self.node.gateway is not None
        found: list[dict[str, Any]] = self.node.gateway.status()["sessions"]
        return found


@pytest.fixture
def open_host(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Host]]:
    """open_host(NAME={settings}): a node that serves these workloads, after a [device] table."""

    count = itertools.count()  # a test may open several

    @asynccontextmanager
    async def make(
        device: DeviceConfig = DeviceConfig(),  # noqa: B008  frozen
        /,
        **workloads: Settings,
    ) -> AsyncIterator[Host]:
        home = NodeHome(tmp_path / (f"state-{opened}" if (opened := next(count)) else "state"))
        realm = RealmKey.generate()
        now_s = int(time.time())
        home.install_membership(
            sign_membership(
                realm,
                node_public=home.identity().public_key,
                roles=[Role.GATEWAY, Role.WORKER],
                not_before=now_s - 60,
                not_after=now_s + 3600,
                name="both",
            )
        )
        config = NodeConfig(
            state_dir=str(home.path),
            link=LinkConfig(host="127.0.0.1"),
            http=HttpConfig(port=0),
            device=device,
            gateway=GatewayConfig(),
            workloads=dict(workloads),
            discovery={},
        )
        async with open_node(config, static=ROOT / "clients" / "web") as node:
            yield Host(node, realm)

    return make


@pytest.fixture
def install_workload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """install_workload(name, code): a package of one module as `pip install --target` leaves it.

    Elsewhere it would not do: a device process may read nothing but packages.
    """
    folder = tmp_path / "plugin"
    installed: list[str] = []

    def install(name: str, code: str) -> None:
        metadata = folder / f"{name}-1.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{name}.py").write_text(code)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(
            f"[framemesh.workloads]\n{name} = {name}:create\n"
        )
        monkeypatch.syspath_prepend(str(folder))
        installed.append(name)

    yield install
    for name in installed:
        sys.modules.pop(name, None)


# --- skips and bounds -----------------------------------------------------------------------------


def pytest_itemcollected(item: pytest.Item) -> None:
    """Bound every async test: uvloop lets nothing through that pytest-timeout raises."""
    test = getattr(item, "obj", None)
    if inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def bounded(*arguments: Any, **fixtures: Any) -> None:
            async with asyncio.timeout(ASYNC_TEST_S):
                await test(*arguments, **fixtures)

        item.obj = bounded  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what this machine cannot run, with the reason (`-ra` lists and counts them)."""
    lacking = {"gpu": _no_gpu, "net": _no_namespaces, "browser": _no_browser}
    for mark, why_not in lacking.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        reason = why_not() if marked else ""
        for item in marked if reason else ():
            item.add_marker(pytest.mark.skip(reason=reason))


def _no_gpu() -> str:
    found = any(Path("/dev").glob("nvidia[0-9]*")) or any(Path("/dev/dri").glob("renderD*"))
    return "" if found else "no GPU here"


def _no_namespaces() -> str:
    """Tried, because root in a container may not be allowed to make them."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need `ip` (apt install iproute2)"
    name = f"fm-trial-{os.getpid()}"
    for words in (("add", name), ("exec", name, "true"), ("delete", name)):
        tried = subprocess.run(["ip", "netns", *words], capture_output=True, text=True, check=False)
        if tried.returncode:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
            return f"no network namespaces here: {tried.stderr.strip()}"
    return ""


def _no_browser() -> str:
    names = ("chromium", "chromium-browser", "google-chrome")
    if any(map(shutil.which, names)):
        return ""
    return "no Chromium (apt install chromium)"
