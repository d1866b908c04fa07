"""Constants and structure types against Khronos' own header: the binding has wrong ones."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from render.vulkan import api

HEADERS = [
    Path("/usr/include/vulkan/vulkan_core.h"),
    Path("/usr/local/include/vulkan/vulkan_core.h"),
]
NUMBER = re.compile(r"^\(?~?(-?(0x)?[0-9A-Fa-f]+(\.\d+)?)[UL]*F?\)?$")


@pytest.fixture(scope="module")
def header() -> dict[str, float]:
    """Every constant of vulkan_core.h by name."""
    path = next((path for path in HEADERS if path.exists()), None)
    if path is None:
        pytest.skip("no vulkan_core.h here (apt install libvulkan-dev)")
    text = path.read_text()
    named = re.findall(r"^\s*(VK_\w+)\s*=\s*([^,\n/]+?),?\s*$", text, re.M)
    named += re.findall(r"^#define\s+(VK_\w+)\s+(\S+)\s*$", text, re.M)
    named += re.findall(r"^static const \w+ (VK_\w+) = (\w+);", text, re.M)
    spelled = dict(named)
    return {
        name: value for name in spelled if (value := resolve(spelled, spelled[name])) is not None
    }


def resolve(spelled: dict[str, str], word: str) -> float | None:
    """A constant's number, or that of the constant it is an alias of."""
    if found := NUMBER.match(word):
        number = float(found[1]) if "." in word else int(found[1], 0)
        return 2**32 - 1 - int(number) if "~" in word else number
    return resolve(spelled, spelled[word]) if word in spelled else None


def used(folder: Path) -> Iterator[tuple[str, str]]:
    """(file, name) of each attribute `vk.NAME`, and of each structure that `new` is asked for."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "vk"
                and node.attr.startswith("VK_")
            ):
                yield path.name, node.attr
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "new"
                and isinstance(node.args[0], ast.Constant)
            ):
                yield path.name, node.args[0].value


def test_every_constant_we_use_has_the_headers_value(repository: Path, header: dict[str, float]):
    names = {name for _, name in used(repository / "render") if name.startswith("VK_")}
    names.discard("VK_MAKE_VERSION")  # a macro
    assert len(names) > 80
    assert {name: getattr(api.vk, name) for name in names} == {name: header[name] for name in names}


def test_every_structure_we_make_has_the_headers_type(repository: Path, header: dict[str, float]):
    structs = {name for _, name in used(repository / "render") if name.startswith("Vk")}
    made = {name: api.new(name) for name in structs}
    typed = {name: made[name].sType for name in structs if "sType" in dir(made[name])}
    assert len(typed) > 25
    words = {name.replace("_", "").lower(): name for name in header}
    for struct, value in typed.items():
        name = words["vkstructuretype" + struct.removeprefix("Vk").lower()]
        assert (struct, value) == (struct, header[name])


def test_results_are_named_as_in_the_header(header: dict[str, float]):
    for value, name in api._RESULTS.items():
        assert header[name] == value
