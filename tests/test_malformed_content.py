"""Bad content through a whole mesh of real processes: one clear error each, and life goes on."""

from __future__ import annotations

import json
import socket
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiortc import RTCConfiguration, RTCPeerConnection

from clients.cli.demo import DemoMesh


def png_bomb() -> bytes:
    """A PNG header that claims 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


def gltf(**changes: Any) -> bytes:
    """A triangle whose buffer is in triangle.bin, with top-level changes."""
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"uri": "triangle.bin", "byteLength": 36}],
    }
    return json.dumps(document | changes).encode()


SCENES = {
    "good": gltf(),
    "not-json": b"{",
    "count": gltf(accessors=[{"bufferView": 0, "componentType": 5126, "count": 10**9,
                              "type": "VEC3"}]),
    "cycle": gltf(nodes=[{"children": [0], "mesh": 0}]),
    "escape": gltf(buffers=[{"uri": "../../etc/passwd", "byteLength": 36}]),
    "extension": gltf(extensionsRequired=["EXT_unheard_of"]),
    "bomb": gltf(
        images=[{"uri": "bomb.png"}],
        textures=[{"source": 0}],
        materials=[{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        meshes=[{"primitives": [{"attributes": {"POSITION": 0, "TEXCOORD_0": 0}, "material": 0}]}],
    ),
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoMesh]:
    folder = tmp_path_factory.mktemp("mesh")
    (folder / "triangle.bin").write_bytes(struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0))
    (folder / "bomb.png").write_bytes(png_bomb())
    paths = []
    for name, text in SCENES.items():
        (folder / f"{name}.gltf").write_bytes(text)
        paths.append(f"{name} = {json.dumps(str(folder / f'{name}.gltf'))}")
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    extra = f"scenes = {{ {', '.join(paths)} }}\n"
    mesh = DemoMesh.lay_out(folder, workers=1, port=port, extra=extra)
    async with mesh.running():
        await mesh.ready()
        yield mesh


async def offer() -> str:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    connection.addTransceiver("video", direction="recvonly")
    connection.createDataChannel("frames", negotiated=True, id=1)
    await connection.setLocalDescription(await connection.createOffer())
    sdp: str = connection.localDescription.sdp
    await connection.close()
    return sdp


async def post(mesh: DemoMesh, body: str | bytes, **options: object) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{mesh.port}/whep/render"
    headers = {"Authorization": f"Bearer {mesh.token}", "Content-Type": "application/sdp"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=body, headers=headers, params=options) as answer,
    ):
        text = await answer.text()
        return answer.status, json.loads(text) if answer.status >= 400 else text


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        ("not-json", "JSON"),
        ("count", "accessors[0]"),
        ("cycle", "nodes"),
        ("escape", "passwd"),
        ("extension", "EXT_unheard_of"),
        ("bomb", "100000"),
    ],
)
async def test_a_malformed_scene_costs_its_viewer_one_clear_error(
    mesh: DemoMesh, scene: str, reason: str
) -> None:
    status, problem = await post(mesh, await offer(), scene=scene)
    assert 400 <= status < 500
    said = f"{problem['what']} {problem['why']} {problem['fix']}".replace(",", "")
    assert reason in said
    assert problem["fix"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("body", "status"),
    [("", 400), ("v=0\r\nnonsense", 400), ("\x00" * 100, 400), ("a" * 200_000, 413)],
)
async def test_a_malformed_offer_costs_its_sender_one_clear_error(
    mesh: DemoMesh, body: str, status: int
) -> None:
    found, problem = await post(mesh, body, scene="good")
    assert found == status
    assert problem["what"]
    assert problem["fix"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "options", [{"width": 641}, {"width": 10**9}, {"fps": "nan"}, {"tiles": 0}, {"colour": "red"}]
)
async def test_an_option_out_of_bounds_is_refused_by_name(
    mesh: DemoMesh, options: dict[str, object]
) -> None:
    status, problem = await post(mesh, await offer(), scene="good", **options)
    assert status == 400
    [name] = options
    assert name in f"{problem['why']} {problem['fix']}"


@pytest.mark.asyncio(loop_scope="module")
async def test_after_all_that_the_same_mesh_opens_a_good_scene(mesh: DemoMesh) -> None:
    status, answer = await post(mesh, await offer(), scene="good")
    assert status == 201
    assert "m=video" in answer
    assert all(process.poll() is None for process in mesh.processes.values())
    [session] = (await mesh.status())["sessions"]  # type: ignore[misc]
    url = f"http://127.0.0.1:{mesh.port}/whep/sessions/{session['session']}"
    headers = {"Authorization": f"Bearer {mesh.token}"}
    async with aiohttp.ClientSession() as http, http.delete(url, headers=headers) as gone:
        assert gone.status == 200
    assert (await mesh.status())["sessions"] == []
