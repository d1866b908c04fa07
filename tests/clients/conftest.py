"""A real node that serves a small fed workload, and tokens of its realm."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvloop

from mesh.core.config import GatewayConfig, HttpConfig, LinkConfig, NodeConfig
from mesh.core.home import NodeHome
from mesh.core.identity import RealmKey
from mesh.core.membership import Role, Scope, sign_membership, sign_token
from mesh.node import Node, open_node

MIRROR = Path(__file__).parent / "plugins" / "mirror.py"
ALL = (Scope.VIEW, Scope.CONTROL, Scope.INFER)


def pytest_asyncio_loop_factories(config: object, item: pytest.Item) -> dict[str, Any]:
    """What `asyncio.run` gives a program and, where it may matter, what uvloop's users have."""
    loops = {"asyncio": asyncio.new_event_loop}
    return loops | {"uvloop": uvloop.new_event_loop} if item.path.stem.endswith("_fed") else loops


@dataclass
class Host:
    """A running node and the key of its realm."""

    node: Node
    realm: RealmKey

    def url(self, *scopes: Scope, query: str = "", lifetime_s: int = 3600) -> str:
        """The address to open it with; every scope unless some are named."""
        now_s = int(time.time())
        token = sign_token(
            self.realm,
            realm_public=self.realm.public_key,
            subject="tester",
            scopes=scopes or ALL,
            not_before=now_s - 7200,
            not_after=now_s + lifetime_s,
        )
        return f"http://127.0.0.1:{self.node.http_port}/?{query}#token={token}"

    @property
    def sessions(self) -> list[dict]:
        assert self.node.gateway is not None
        return self.node.gateway.status()["sessions"]


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    plugin = tmp_path / "plugin"  # as installed: a device process may read nothing but packages
    metadata = plugin / "mirror-1.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(MIRROR, plugin)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mirror\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[framemesh.workloads]\nmirror = mirror:create\n")
    monkeypatch.syspath_prepend(str(plugin))
    realm, home = RealmKey.generate(), NodeHome(tmp_path / "state")
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
        gateway=GatewayConfig(),
        workloads={"mirror": {}},
        discovery={},
    )
    async with open_node(config) as node:
        yield Host(node, realm)
    sys.modules.pop("mirror", None)
