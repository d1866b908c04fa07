"""Pipelines are kept between processes, and nothing damaged or foreign is given to a driver."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from render.vulkan import pipelinecache
from render.vulkan.device import open_device
from render.vulkan.instance import open_instance
from render.vulkan.pipelinecache import PipelineCacheFile

UUID = bytes(range(16))


def blob(rest: bytes = b"pipelines", uuid: bytes = UUID) -> bytes:
    return struct.pack("<IIII16s", 32, 1, 0x10005, 0, uuid) + rest


@pytest.fixture
def file(tmp_path: Path) -> PipelineCacheFile:
    return PipelineCacheFile(tmp_path / "new", 0x10005, 0, UUID)


def test_what_was_saved_is_loaded_by_the_next_process(file: PipelineCacheFile):
    assert file.load() == b""
    assert file.save(blob())
    assert PipelineCacheFile(file.path.parent, 0x10005, 0, UUID).load() == blob()
    assert list(file.path.parent.iterdir()) == [file.path]


def test_what_is_there_already_is_not_written_again(file: PipelineCacheFile):
    file.save(blob())
    again = PipelineCacheFile(file.path.parent, 0x10005, 0, UUID)
    again.load()
    assert not again.save(blob())
    assert again.save(blob(b"more"))


def test_another_drivers_pipelines_are_neither_kept_nor_loaded(file: PipelineCacheFile):
    assert not file.save(blob(uuid=bytes(16)))
    file.save(blob())
    other = PipelineCacheFile(file.path.parent, 0x10005, 0, bytes(16))
    assert other.load() == b""
    file.path.rename(other.path)
    assert other.load() == b""


def test_too_much_is_neither_kept_nor_loaded(
    file: PipelineCacheFile, monkeypatch: pytest.MonkeyPatch
):
    file.save(blob(bytes(1000)))
    monkeypatch.setattr(pipelinecache, "MAX_BYTES", 500)
    assert file.load() == b""
    assert not file.save(blob(bytes(999)))


def test_a_folder_that_cannot_be_written_is_no_error(file: PipelineCacheFile):
    file.path.parent.write_bytes(b"")
    assert not file.save(blob())
    assert file.load() == b""


@given(data=st.data())
def test_a_damaged_file_counts_as_missing(data: st.DataObject, tmp_path_factory):
    file = PipelineCacheFile(tmp_path_factory.mktemp("cache"), 0x10005, 0, UUID)
    file.save(blob())
    whole = file.path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    damaged = bytearray(whole)
    damaged[at] ^= 1 << bit
    for broken in (bytes(damaged), whole[:at]):
        file.path.write_bytes(broken)
        assert file.load() == b""


def test_a_device_is_given_what_the_last_one_left(tmp_path: Path):
    with open_instance(validate=True) as instance:
        physical = instance.choose()
        with open_device(instance, physical, tmp_path) as device:
            assert device.save_pipelines()
        [kept] = tmp_path.iterdir()
        with open_device(instance, physical, tmp_path) as device:
            assert not device.save_pipelines(), "what was loaded is there already"
        assert list(tmp_path.iterdir()) == [kept]
    assert instance.messages == []
