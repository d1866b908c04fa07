"""The configuration: strict, and described in full by docs/configuration.md."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from mesh.core.config import NodeConfig, read_config
from mesh.core.errors import ConfigError

TABLES = ("link", "http", "device", "gateway", "relay")


def documented(repository: Path) -> dict[str, set[str]]:
    """Keys by table ("" at the top) as docs/configuration.md lists them."""
    text = (repository / "docs" / "configuration.md").read_text("utf-8")
    found: dict[str, set[str]] = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        table = "" if title == "Top level" else (re.findall(r"\[(\w+)\]", title) or ["other"])[0]
        found[table] = set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))
    return found


def test_every_key_is_documented_and_nothing_else_is(repository: Path) -> None:
    told = documented(repository)
    plugin_tables = {"workloads", "discovery"}
    assert told[""] == set(NodeConfig.__struct_fields__) - set(TABLES) - plugin_tables
    for table in TABLES:
        assert told[table] == set(type(getattr(NodeConfig(), table)).__struct_fields__)


def test_documented_defaults_are_the_defaults(repository: Path) -> None:
    text = (repository / "docs" / "configuration.md").read_text("utf-8")
    config = NodeConfig()
    for table in TABLES:
        for key in type(getattr(config, table)).__struct_fields__:
            value = getattr(getattr(config, table), key)
            if isinstance(value, tuple):
                continue
            section = text.split(f"## `[{table}]`")[1].split("## ")[0]
            [row] = re.findall(rf"^\| `{key}` \|.*$", section, flags=re.MULTILINE)
            shown = f'`"{value}"`' if isinstance(value, str) else f"`{value}`"
            assert shown in row


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nome = 'x'", "nome"),
        ("name = 'Upper'", "name"),
        ("roles = ['king']", "king"),
        ("roles = []", "roles"),
        ("[link]\nport = 70000", "port"),
        ("[http]\nport = '8080'", "port"),
        ("[device]\nqueue = 'lifo'", "lifo"),
        ("= 3", "line 1"),
    ],
)
def test_a_bad_file_is_refused_by_the_key_that_is_wrong(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        read_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"node\.toml"):
        read_config(tmp_path / "node.toml")


def test_no_file_means_the_defaults() -> None:
    assert read_config(None) == msgspec.convert({}, NodeConfig)
