"""The `vulkan` package's `ffi` and `lib`, with results checked and structures kept alive.

What is used of the package and what is not: its `vkX()` helpers and structure functions let nested
temporaries dangle (use after free), and 34 of its constants differ from vulkan_core.h. Here
functions are called through `lib`, structures are made by `new`, which owns what they point to,
and a test compares every constant this folder uses with Khronos' header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

from mesh.core.errors import DeviceLost, DeviceUnavailable, MeshError, Misuse

INSTALL = (
    "Install a Vulkan loader and driver: `sudo apt install libvulkan1 mesa-vulkan-drivers` "
    "(lavapipe, on the CPU), or the GPU vendor's driver."
)

try:
    import vulkan as vk
except (ImportError, OSError) as problem:
    raise DeviceUnavailable(
        what="Vulkan cannot be used on this machine", why=str(problem), fix=INSTALL
    ) from problem

CData: TypeAlias = Any  # a cffi object; the binding has no type information

ffi: Any = vk.ffi
lib: Any = vk.lib
NULL: CData = ffi.NULL

__all__ = ["INSTALL", "NULL", "CData", "array", "check", "ffi", "lib", "new", "text", "vk"]

# vulkan_core.h, VkResult. Listed here because four of the binding's VK_ERROR_* are wrong.
_RESULTS = {
    1: "VK_NOT_READY",
    2: "VK_TIMEOUT",
    5: "VK_INCOMPLETE",
    -1: "VK_ERROR_OUT_OF_HOST_MEMORY",
    -2: "VK_ERROR_OUT_OF_DEVICE_MEMORY",
    -3: "VK_ERROR_INITIALIZATION_FAILED",
    -4: "VK_ERROR_DEVICE_LOST",
    -5: "VK_ERROR_MEMORY_MAP_FAILED",
    -6: "VK_ERROR_LAYER_NOT_PRESENT",
    -7: "VK_ERROR_EXTENSION_NOT_PRESENT",
    -8: "VK_ERROR_FEATURE_NOT_PRESENT",
    -9: "VK_ERROR_INCOMPATIBLE_DRIVER",
    -10: "VK_ERROR_TOO_MANY_OBJECTS",
    -11: "VK_ERROR_FORMAT_NOT_SUPPORTED",
    -12: "VK_ERROR_FRAGMENTED_POOL",
    -13: "VK_ERROR_UNKNOWN",
}
_OUT_OF_MEMORY = (-1, -2)
_UNAVAILABLE = (-3, -6, -7, -8, -9)
_LOST = -4


def check(result: int, call: str) -> None:
    """Raise unless a VkResult is VK_SUCCESS.

    Raises DeviceLost (lost, or timed out), DeviceUnavailable (loader, driver or feature missing),
    or MeshError (anything else, out of memory included).
    """
    if result == 0:
        return
    name = _RESULTS.get(result, f"VkResult {result}")
    what = f"{call} failed"
    if result == _LOST:
        raise DeviceLost(what, name, "The device process is replaced; see the kernel log.")
    if result in _UNAVAILABLE:
        raise DeviceUnavailable(what, name, INSTALL)
    if result in _OUT_OF_MEMORY:
        raise MeshError(what, name, "Use a smaller picture or scene, or fewer sessions.")
    raise MeshError(what, name, "Run the tests with validation layers; they say more.")


def new(struct: str, **fields: Any) -> CData:
    """A structure with `sType` set, owning everything its pointer fields were given.

    struct: its C name. Field values: numbers; tuples or results of `new` for structures held by
    value; str for `const char *`; lists for `const T *` arrays, of numbers, handles, strings or
    results of `new`; other cffi objects as they are. Returns an owning `struct *`.
    """
    made = ffi.new(f"{struct}*")
    members = _members(struct)
    s_type = _structure_type(struct) if "sType" in members else None
    if s_type is not None:
        made.sType = s_type
    kept: list[CData] = []
    for name, given in fields.items():
        if isinstance(given, str):
            value = ffi.new("char[]", given.encode())
        elif isinstance(given, list):
            value = array(members[name].type.item.cname, given)
        else:
            value = given
        if isinstance(value, ffi.CData):
            kept.append(value)
            if members[name].type.kind == "struct":
                value = value[0]
        setattr(made, name, value)
    # The destructor is what holds `kept` for as long as the structure lives.
    return ffi.gc(made, lambda _: kept.clear())


def array(item: str, values: Sequence[Any]) -> CData:
    """An owning pointer to the first `item` of numbers, handles, strings or results of `new`.

    (A pointer, because cffi forgets an array's length in `ffi.gc` and then reads garbage for it.)
    """
    kept = [
        ffi.new("char[]", value.encode()) if isinstance(value, str) else value for value in values
    ]
    if values and _is_struct(values[0]):
        made = ffi.new(f"{item}[]", len(values))
        for index, value in enumerate(kept):
            made[index] = value[0]
    else:
        made = ffi.new(f"{item}[]", kept)
    kept.append(made)
    return ffi.gc(ffi.cast(f"{item}*", made), lambda _: kept.clear())


def text(chars: CData) -> str:
    """A C string as Python's."""
    return str(ffi.string(chars).decode("utf-8", "replace"))


def _is_struct(value: Any) -> bool:
    if not isinstance(value, ffi.CData):
        return False
    kind = ffi.typeof(value)
    # Handles are pointers to structures too, but to incomplete ones, always named ..._T. (Asking
    # cffi 2.1.1 for the fields of an incomplete structure aborts the process.)
    return bool(
        kind.kind == "pointer" and kind.item.kind == "struct" and not kind.item.cname.endswith("_T")
    )


@cache
def _members(struct: str) -> dict[str, Any]:
    return dict(ffi.typeof(struct).fields)


@cache
def _structure_type(struct: str) -> int:
    """The VkStructureType of a structure, by the registry's naming rule."""
    words = re.sub(
        r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])",
        "_",
        struct.removeprefix("Vk"),
    )
    name = f"VK_STRUCTURE_TYPE_{words.upper()}"
    value = getattr(vk, name, None)
    if value is None:
        raise Misuse(f"no structure type for {struct}", f"{name} is unknown", "Set it by hand.")
    return int(value)
