"""Packing: one file with all it refers to, and nothing from outside the scene's folder."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from mesh.core.errors import ContentRefused
from render.gltf.container import join_glb, split_glb
from render.gltf.writer import GlbWriter
from render.package import DEFAULT_SCENE, load_scene, pack

TRIANGLE = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32).tobytes()
WriteScene = Callable[..., Path]


def png() -> bytes:
    packed = io.BytesIO()
    Pillow.new("RGB", (2, 2), (1, 2, 3)).save(packed, "PNG")
    return packed.getvalue()


def open_files() -> set[str]:
    """What this process has open under the tests' folders."""
    links = (
        str(link.readlink()) for link in list(Path("/proc/self/fd").iterdir()) if link.exists()
    )
    return {target for target in links if "folder" in target}


@pytest.fixture
def write_scene(tmp_path: Path) -> WriteScene:
    """A textured triangle in folder/scene.gltf with a buffer and an image beside it."""
    folder = tmp_path / "folder"
    (folder / "maps").mkdir(parents=True)
    (folder / "triangle.bin").write_bytes(TRIANGLE)
    (folder / "maps" / "a map.png").write_bytes(png())

    def write(buffer: str = "triangle.bin", image: str = "maps/a%20map.png", **more: Any) -> Path:
        primitive = {"attributes": {"POSITION": 0}, "material": 0}
        document = {
            "asset": {"version": "2.0"},
            "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [primitive]}],
            "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
            "bufferViews": [{"buffer": 0, "byteLength": 36}],
            "buffers": [{"uri": buffer, "byteLength": 36}],
            "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
            "textures": [{"source": 0}],
            "images": [{"uri": image}],
        }
        path = folder / "scene.gltf"
        path.write_text(json.dumps(document | more))
        return path

    return write


def test_a_scene_with_files_beside_it_becomes_one_asset(write_scene: WriteScene) -> None:
    asset = pack(write_scene())
    scene = load_scene(asset.data)
    assert asset.name == "scene"
    assert bytes(asset.data[:4]) == b"glTF"
    assert scene.triangles == 1
    assert scene.images[0].rgba8[0, 0].tolist() == [1, 2, 3, 255]


def test_equal_files_have_equal_digests(write_scene: WriteScene) -> None:
    first = pack(write_scene())
    again = pack(write_scene())
    other = pack(write_scene(extras={"note": "another"}))
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_embedded_data_needs_no_files(write_scene: WriteScene) -> None:
    buffer = "data:application/octet-stream;base64," + base64.b64encode(TRIANGLE).decode()
    image = "data:image/png;base64," + base64.b64encode(png()).decode()
    assert load_scene(pack(write_scene(buffer, image)).data).triangles == 1


def test_a_self_contained_glb_is_taken_as_it_is(tmp_path: Path) -> None:
    writer = GlbWriter()
    positions = writer.accessor(np.frombuffer(TRIANGLE, np.float32).reshape(3, 3))
    writer.mesh([{"attributes": {"POSITION": positions}}])
    writer.add("nodes", {"mesh": 0})
    (tmp_path / "made.glb").write_bytes(writer.glb())
    assert pack(tmp_path / "made.glb").data == writer.glb()


def test_a_glb_with_files_beside_it_is_gathered(write_scene: WriteScene) -> None:
    path = write_scene()
    document = json.loads(path.read_text())
    document["buffers"][0].pop("uri")
    glb = path.with_suffix(".glb")
    glb.write_bytes(join_glb(json.dumps(document).encode(), TRIANGLE))
    assert len(load_scene(pack(glb).data).images) == 1


def test_packing_changes_nothing_of_what_is_drawn(tmp_path: Path) -> None:
    """The same document as one file, and with its bytes and its picture in files beside it."""
    writer = GlbWriter()
    corners = np.frombuffer(TRIANGLE, np.float32).reshape(3, 3)
    uv = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    slot = {"index": writer.texture(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))}
    material = writer.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": slot}})
    attributes = {"POSITION": writer.accessor(corners), "TEXCOORD_0": writer.accessor(uv)}
    writer.mesh([{"attributes": attributes, "material": material}])
    writer.add("nodes", {"mesh": 0, "translation": [1, 2, 3]})
    whole = load_scene(writer.glb())

    json_chunk, binary = split_glb(writer.glb())
    document = json.loads(bytes(json_chunk))
    view = document["bufferViews"][document["images"][0].pop("bufferView")]
    start = view["byteOffset"]
    (tmp_path / "a.png").write_bytes(binary[start : start + view["byteLength"]])
    (tmp_path / "a.bin").write_bytes(binary)
    document["images"][0]["uri"], document["buffers"][0]["uri"] = "a.png", "a.bin"
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    packed = load_scene(pack(tmp_path / "a.gltf").data)

    assert packed.materials == whole.materials
    assert packed.textures == whole.textures
    np.testing.assert_array_equal(packed.images[0].rgba8, whole.images[0].rgba8)
    np.testing.assert_array_equal(packed.draws[0].world_from_mesh, whole.draws[0].world_from_mesh)
    for name in ("positions", "normals", "uv0", "indices"):
        ours, theirs = (getattr(scene.primitives[0], name) for scene in (packed, whole))
        np.testing.assert_array_equal(ours, theirs)


def test_several_buffers_become_one(write_scene: WriteScene) -> None:
    path = write_scene(
        buffers=[
            {"uri": "maps/a%20map.png", "byteLength": 5},
            {"uri": "triangle.bin", "byteLength": 36},
        ],
        bufferViews=[{"buffer": 1, "byteLength": 36}],
    )
    scene = load_scene(pack(path).data)
    np.testing.assert_array_equal(scene.bounds_max, (1, 1, 0))


def test_an_image_that_nothing_samples_is_left_behind(write_scene: WriteScene) -> None:
    images = [{"uri": "maps/a%20map.png"}, {"uri": "https://example.com/unused.webp"}]
    assert len(load_scene(pack(write_scene(images=images)).data).images) == 1


@pytest.mark.parametrize(
    "uri",
    [
        "../secret.bin",
        "maps/../../secret.bin",
        "%2e%2e/secret.bin",
        "..%2fsecret.bin",
        "/etc/hostname",
        "%2Fetc%2Fhostname",
        "file:///etc/hostname",
        "https://example.com/a.bin",
        "..\\secret.bin",
        "link.bin",
        "linked/secret.bin",
        "maps",
        "",
        ".",
        "missing.bin",
        "a%00b.bin",
        "data:application/octet-stream;base64,####",
        "data:application/octet-stream,plain",
    ],
)
def test_references_stay_inside_the_folder(write_scene: WriteScene, uri: str) -> None:
    path = write_scene(buffer=uri)
    secret = path.parent.parent / "secret.bin"
    secret.write_bytes(TRIANGLE)
    (path.parent / "link.bin").symlink_to(secret)
    (path.parent / "linked").symlink_to(path.parent.parent)
    with pytest.raises(ContentRefused, match=r"buffers\[0\]"):
        pack(path)


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(write_scene: WriteScene) -> None:
    path = write_scene(buffer="pipe.bin")
    os.mkfifo(path.parent / "pipe.bin")
    with pytest.raises(ContentRefused, match="not a regular file"):
        pack(path)


def test_the_scene_file_itself_may_be_a_link(write_scene: WriteScene, tmp_path: Path) -> None:
    (tmp_path / "alias.gltf").symlink_to(write_scene())
    assert load_scene(pack(tmp_path / "alias.gltf").data).triangles == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "truncated"),
        (b"<html>", "malformed"),
        (b"\xff\xfe{}", "malformed"),
        (b"[]", "object"),
        (b"{}", "asset"),
        (b'{"asset": {"version": "2.0"}, "buffers": 3}', "array"),
        (b'{"asset": {"version": "2.0"}, "buffers": [null]}', "object"),
        (b'{"asset": {"version": "2.0"}, "images": [{"uri": 5}], "buffers": []}', "str"),
        (b'{"x":' * 100_000, "truncated|nested|recursion|depth"),
        (b'{"x":' * 990 + b"1" + b"}" * 990, "asset|nested|recursion|depth"),
    ],
)
def test_what_is_no_gltf_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "scene.gltf").write_bytes(content)
    with pytest.raises(ContentRefused, match=f"(?i){why}"):
        pack(tmp_path / "scene.gltf")


def test_a_view_of_a_buffer_that_is_not_there_is_refused(write_scene: WriteScene) -> None:
    with pytest.raises(ContentRefused, match=r"bufferViews\[0\]"):
        pack(write_scene(bufferViews=[{"buffer": 4, "byteLength": 36}]))


def test_a_buffer_shorter_than_announced_is_refused(write_scene: WriteScene) -> None:
    with pytest.raises(ContentRefused, match="announces 37 bytes and 36 are there"):
        pack(write_scene(buffers=[{"uri": "triangle.bin", "byteLength": 37}]))


def test_a_texture_of_another_kind_is_refused_by_its_name(write_scene: WriteScene) -> None:
    with pytest.raises(ContentRefused, match=r"'triangle\.bin' is neither PNG nor JPEG"):
        pack(write_scene(image="triangle.bin"))


def test_a_missing_scene_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentRefused, match="cannot be opened"):
        pack(tmp_path / "nothing.gltf")


def test_more_than_a_message_can_carry_is_refused_early(write_scene: WriteScene) -> None:
    path = write_scene()
    buffers = [{"uri": "vast.bin", "byteLength": 40 * 2**20}] * 2
    with (path.parent / "vast.bin").open("wb") as vast:
        vast.truncate(40 * 2**20)
    with pytest.raises(ContentRefused, match="over the limit"):
        pack(write_scene(buffers=buffers))
    with (path.parent / "vast.bin").open("wb") as vast:
        vast.truncate(2**40)
    with pytest.raises(ContentRefused, match="the limit is"):
        pack(write_scene(buffers=buffers))


def test_packing_leaves_no_file_open(write_scene: WriteScene) -> None:
    pack(write_scene())
    for uri in ("maps", "missing.bin"):
        with pytest.raises(ContentRefused):
            pack(write_scene(buffer=uri))
    assert open_files() == set()


def test_an_unknown_built_in_scene_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ContentRefused, match="courtyard"):
        pack("procedural:moon")


def test_the_default_scene_packs_off_the_main_thread() -> None:
    made: list[str] = []
    thread = threading.Thread(target=lambda: made.append(pack(DEFAULT_SCENE).name))
    thread.start()
    thread.join()
    assert made == ["courtyard"]
