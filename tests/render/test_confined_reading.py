"""What decoders ask of the system beside memory, they are given in a confined process too."""

from __future__ import annotations

from pathlib import Path

from bench.fuzz import seeds
from mesh.core.workload import SessionRequest
from mesh.device.launch import DeviceLimits, Plugins
from mesh.device.supervisor import open_device
from render.workload import create


async def test_a_compressed_scene_under_an_openexr_sky_is_read_in_a_device_process(
    tmp_path: Path,
) -> None:
    """Draco's memory is bounded by what /proc says is taken; OpenEXR opens its file through it."""
    [scene] = [glb for glb in seeds.scenes() if b"KHR_draco" in glb][:1]
    [sky] = [data for data in seeds.skies() if data[:4] == b"\x76\x2f\x31\x01"][:1]
    (tmp_path / "sheet.glb").write_bytes(scene)
    (tmp_path / "sky.exr").write_bytes(sky)
    settings = {
        "scenes": {"sheet": str(tmp_path / "sheet.glb")},
        "environments": {"sky": str(tmp_path / "sky.exr")},
    }
    options = {"scene": "sheet", "environment": "sky", "width": 64, "height": 64}
    setup = create(settings).open_session(SessionRequest("render", options)).setup
    assert len(setup.assets) == 2
    async with open_device(
        "confined",
        create({}).find_devices()[:1],
        {"render": {}},
        limits=DeviceLimits(cache_dir=tmp_path / "cache"),
        changed=lambda _: None,
        plugins=Plugins({"render": "render.workload:create"}),
    ) as device:
        await device.ready()
        assert "files" in device.sandbox.in_force
        assets = {asset.digest: asset.data for asset in setup.assets}
        await device.prepare("s", "render", setup.spec, assets)
