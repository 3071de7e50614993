"""Opening a store by its name."""

from pathlib import Path

import pytest

from sessionlog import FileStore, MemoryStore, UnknownStore, open_store


@pytest.mark.parametrize(
    ("where", "root"),
    [
        ("logs", "logs"),
        ("./a:b", "a:b"),
        ("a/b:c", "a/b:c"),
        ("c:", "c:"),
        ("file:logs", "logs"),
        ("file:2024:logs", "2024:logs"),
        ("FILE:logs", "logs"),
        ("file:../logs", "../logs"),
        ("file:/srv/logs", "/srv/logs"),
        ("file:///srv/my%20logs", "/srv/my logs"),
        ("file://localhost/srv/logs", "/srv/logs"),
    ],
)
def test_a_directory_is_named_with_and_without_a_scheme(where: str, root: str) -> None:
    store = open_store(where)
    assert isinstance(store, FileStore)
    assert store.root == Path(root).absolute().resolve()
    assert store.durability == "disk"


def test_a_path_is_a_directory_whatever_it_looks_like(tmp_path: Path) -> None:
    store = open_store(Path("memory:"), durability="os")
    assert isinstance(store, FileStore)
    assert store.root.name == "memory:"
    assert store.durability == "os"


def test_nothing_is_made_before_it_is_used(tmp_path: Path) -> None:
    open_store(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_memory_is_a_store_of_its_own_each_time() -> None:
    one, other = open_store("memory:"), open_store("memory:")
    assert isinstance(one, MemoryStore)
    assert one is not other


@pytest.mark.parametrize(
    ("where", "advice"),
    [
        ("s3://bucket/logs", "'file:s3://bucket/logs'"),
        ("logs:2024", "'file:logs:2024'"),
        ("", "path of a directory"),
        ("file:", "path of a directory"),
        ("lo\0gs", "path of a directory"),
        ("file://host/logs", "'file:///'"),
        ("file://", "'file:///'"),
        ("memory:x", "'memory:'"),
    ],
)
def test_what_cannot_be_opened_says_what_to_write(where: str, advice: str) -> None:
    with pytest.raises(UnknownStore) as caught:
        open_store(where)
    assert caught.value.where == where
    assert advice in str(caught.value)
