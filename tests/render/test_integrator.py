"""Sessions that path trace: what they ask of devices, what their ladder saves, tiles that join."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from mesh.core.errors import ContentRefused, PieceAbandoned, SessionRefused
from mesh.core.workload import CutHint, SessionRequest
from render.executor import RenderExecutor
from render.pieces import decode_session, decode_tile
from render.session import RenderSession
from render.workload import create

NOTHING = memoryview(b"")


def session(**options: object) -> RenderSession:
    small = {"width": 96, "height": 64, "turntable": 0, "tiles": 3}
    return create({}).open_session(SessionRequest("render", small | options))


def canvas_of(work: RenderSession) -> memoryview:
    return memoryview(bytearray(work.picture.nbytes))


def test_a_session_s_tiles_carry_its_samples():
    work = session(integrator="pathtrace", samples=12, bounces=3)
    spec = decode_session(work.setup.spec)
    assert spec.traced
    frame = work.open_frame(0, 0, CutHint(1), canvas_of(work), NOTHING)
    tiles = [decode_tile(piece.spec, spec) for piece in frame.pieces]
    assert {(tile.samples, tile.bounces) for tile in tiles} == {(12, 3)}
    assert all(piece.kind.startswith("pathtrace-") for piece in frame.pieces)


def test_the_raster_pass_is_what_one_gets_without_asking():
    work = session()
    assert not decode_session(work.setup.spec).traced
    [piece, *_] = work.open_frame(0, 0, CutHint(1), canvas_of(work), NOTHING).pieces
    assert decode_tile(piece.spec, decode_session(work.setup.spec)).samples == 0


@pytest.mark.parametrize("options", [{"integrator": "photons"}, {"samples": 0}, {"bounces": 65}])
def test_options_that_are_none_are_refused(options: dict):
    with pytest.raises(SessionRefused):
        session(**({"integrator": "pathtrace"} | options))


def test_a_lower_rung_has_fewer_samples_and_says_so_in_units():
    work = session(integrator="pathtrace", samples=8, tiles=1)
    spec = decode_session(work.setup.spec)
    units = []
    for rung, samples in ((0, 8), (2, 2)):
        frame = work.open_frame(0, 0, CutHint(1, rung=rung), canvas_of(work), NOTHING)
        assert {decode_tile(piece.spec, spec).samples for piece in frame.pieces} == {samples}
        units.append(sum(piece.units for piece in frame.pieces))
    assert units[0] == pytest.approx(4 * units[1], rel=0.1)


@pytest.mark.parametrize("tiles", [1, 4])
def test_a_session_s_pieces_make_its_picture(executor: RenderExecutor, tiles: int):
    pictures = []
    for count in (tiles, 2):
        work = session(integrator="pathtrace", samples=1, tiles=count)
        assets = {asset.digest: memoryview(asset.data) for asset in work.setup.assets}
        executor.prepare(f"s{count}", work.setup.spec, assets)
        canvas = canvas_of(work)
        frame = work.open_frame(0, 0, CutHint(1), canvas, NOTHING)
        for piece in frame.pieces:
            output = memoryview(bytearray(piece.output_bytes))
            written = executor.run(f"s{count}", piece.spec, NOTHING, output)
            frame.accept(piece.index, output[:written])
        pictures.append(bytes(canvas))
    assert pictures[0] == pictures[1]
    assert np.ptp(np.frombuffer(pictures[0], np.uint8)) > 100


def test_a_scene_serves_both_integrators_in_either_order(executor: RenderExecutor):
    drawn, traced = session(), session(integrator="pathtrace", samples=1)
    assets = {asset.digest: memoryview(asset.data) for asset in drawn.setup.assets}
    executor.prepare("drawn", drawn.setup.spec, assets)
    executor.prepare("traced", traced.setup.spec, assets)
    executor.forget("drawn")
    [piece, *_] = traced.open_frame(0, 0, CutHint(1), canvas_of(traced), NOTHING).pieces
    assert executor.run("traced", piece.spec, NOTHING, memoryview(bytearray(piece.output_bytes)))


def test_a_traced_tile_of_a_session_that_draws_is_refused(executor: RenderExecutor):
    work = session()
    assets = {asset.digest: memoryview(asset.data) for asset in work.setup.assets}
    executor.prepare("s", work.setup.spec, assets)
    [piece, *_] = work.open_frame(0, 0, CutHint(1), canvas_of(work), NOTHING).pieces
    tile = decode_tile(piece.spec, decode_session(work.setup.spec))
    spec = msgspec.msgpack.encode(msgspec.structs.replace(tile, samples=1))
    with pytest.raises(ContentRefused, match="traced"):
        executor.run("s", spec, NOTHING, memoryview(bytearray(piece.output_bytes)))


def test_an_abandoned_piece_ends_between_submissions_and_the_next_is_whole(
    executor: RenderExecutor,
):
    work = session(integrator="pathtrace", samples=3, tiles=1)
    assets = {asset.digest: memoryview(asset.data) for asset in work.setup.assets}
    executor.prepare("s", work.setup.spec, assets)
    [piece] = work.open_frame(0, 0, CutHint(1), canvas_of(work), NOTHING).pieces
    calls = 0

    def second_thoughts() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise PieceAbandoned("the piece ends here", "its frame is over", "Nothing to be done.")

    outputs = [memoryview(bytearray(piece.output_bytes)) for _ in range(3)]
    executor.heed(second_thoughts)
    with pytest.raises(PieceAbandoned):
        executor.run("s", piece.spec, NOTHING, outputs[0])
    assert calls == 2
    executor.run("s", piece.spec, NOTHING, outputs[1])
    executor.prepare("fresh", work.setup.spec, assets)
    executor.run("fresh", piece.spec, NOTHING, outputs[2])
    assert outputs[1] == outputs[2]
