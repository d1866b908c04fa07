from concurrent.futures import ThreadPoolExecutor

import pytest

from mesh.core.files import create_private, write_private


def test_a_written_file_is_private_and_so_is_the_directory_made_for_it(tmp_path):
    path = tmp_path / "state" / "membership"
    write_private(path, b"content")
    assert path.read_bytes() == b"content"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_writing_again_replaces_the_content_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "membership"
    write_private(path, b"old, and longer")
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["membership"]


def test_a_write_that_fails_leaves_the_old_content(tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").write_bytes(b"old")
    with pytest.raises(OSError):
        write_private(tmp_path / "taken", b"new")
    assert (tmp_path / "taken" / "inside").read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_of_many_that_create_a_file_at_once_exactly_one_wins(tmp_path):
    path = tmp_path / "key"
    contents = [f"content {i}".encode() for i in range(16)]
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda content: create_private(path, content), contents))
    assert created.count(True) == 1
    assert path.read_bytes() == contents[created.index(True)]
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
