import pytest

from infer.models.store import ModelStore
from mesh.core.errors import ContentRefused, Misuse


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path / "models", quota_bytes=100)


def test_a_model_is_read_by_name_and_by_digest(store):
    kept = store.add("detector", b"weights")
    assert store.read("detector") == store.read(kept.digest) == b"weights"
    assert list(store) == [kept]


def test_a_name_can_be_given_to_another_model(store):
    store.add("detector", b"old")
    store.add("detector", b"new")
    assert store.read("detector") == b"new"


def test_the_quota_counts_each_model_once(store):
    store.add("one", b"x" * 60)
    store.add("same", b"x" * 60)
    with pytest.raises(ContentRefused, match="60 bytes"):
        store.add("two", b"y" * 60)
    assert [kept.name for kept in store] == ["one", "same"]


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a/b", "x" * 65, "a b"])
def test_names_that_could_be_paths_are_refused(store, name):
    with pytest.raises(Misuse, match="cannot name"):
        store.add(name, b"weights")


def test_damage_on_disk_is_noticed(store, tmp_path):
    kept = store.add("detector", b"weights")
    (tmp_path / "models" / f"{kept.digest}.onnx").write_bytes(b"weighty")
    with pytest.raises(ContentRefused, match="damaged"):
        store.read("detector")


def test_a_name_without_its_model_is_passed_over(store, tmp_path):
    kept = store.add("detector", b"weights")
    (tmp_path / "models" / f"{kept.digest}.onnx").unlink()
    assert list(store) == []
    with pytest.raises(ContentRefused, match="no model"):
        store.read("detector")


def test_a_model_goes_with_its_last_name(store):
    kept = store.add("one", b"weights")
    store.add("two", b"weights")
    store.remove("one")
    assert store.read(kept.digest) == b"weights"
    store.remove("two")
    with pytest.raises(ContentRefused, match="no model"):
        store.read(kept.digest)
    with pytest.raises(ContentRefused, match="no model"):
        store.remove("two")
